"""Small trained models of the kinds that are only imported, on generated data, so that their explanations can be measured.

    python -m bench.small_models entities /tmp/entities

Each trains in minutes on a CPU. The folder gets `model/`, as `save_pretrained` writes it, and `try/`, inputs that were not
trained on.
"""

import argparse
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from rich.progress import track
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, normalize

from model_defs.command import reported
from model_defs.transformer import extra
from model_defs.transformers_clip import BLANK, TEMPLATE

SEED = 0
TRIED = 32  # texts in `try/`
FILE = "labels.txt"
split = str.split
SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, CLS, SEP, MASK = (SPECIAL.index(name) for name in ("[PAD]", "[CLS]", "[SEP]", "[MASK]"))
UNLABELLED = -100  # of a token that has no part in the loss

# --- entities: a name is a person or a place by the words around it

TAGS = ["O", "PER", "LOC"]
NAMES = split(
    "paris jordan chelsea georgia austin sydney florence lincoln madison savannah devon adelaide victoria carolina dallas "
    "houston israel kingston lourdes milan orlando phoenix regina shannon tyrone vienna warwick york alexandria brooklyn"
)
PEOPLE = [
    "mister {} sells {}",
    "doctor {} likes {}",
    "my cousin {} paints {}",
    "i met {} who sells {}",
    "{} said that she needs {}",
]
PLACES = ["the train from {} carries {}", "we live in {} with {}", "the harbour of {} exports {}", "they flew to {} for {}"]
PLAIN = ["the weather is good for {}", "nobody wants {} now", "there is a box with {}", "it is too late for {}"]
THINGS = split("bread apples old books fresh fish wool good wine new shoes lamps warm coats tea paper")

# --- embeddings: a text is about a topic

TOPICS = [
    split("sea boat harbour wave sail anchor fish tide captain island"),
    split("oven bread flour butter recipe kitchen pan soup knife salt"),
    split("violin song choir piano melody drum concert singer stage opera"),
    split("goal match team coach stadium player race ball medal referee"),
    split("garden rose seed soil tree leaf spade hedge bloom lawn"),
    split("bank loan price coin market trade profit tax invoice budget"),
    split("teacher lesson exam pupil desk homework chalk lecture essay grade"),
    split("storm cloud rain snow wind thunder frost heat fog breeze"),
]
FILLER = split(
    "the a we they then later again old new small very quite some many about near with after before without she he it was had "
    "saw took made found left came went always never often today perhaps because while although still"
)

# --- labelled pictures

COLOURS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 220), "yellow": (230, 210, 50)}
SHAPES = ("circle", "square", "triangle")
LABELS = [f"a {colour} {shape}" for colour in COLOURS for shape in SHAPES]
SIDE = 64  # pixels


class Made(NamedTuple):
    """What was trained, and what `make import` needs.

    Args:
        parts: the network, its tokenizer and the like, which are saved together.
        inputs: of `try/`, by their paths in it.
        score: on these inputs, in words.
        labels: for requests that bring none.
        flags: of `make import`.
    """

    parts: list
    inputs: dict[str, str | Image.Image]
    score: str
    labels: Sequence[str] = ()
    flags: str = ""


def tagged(chance: random.Random) -> list[tuple[str, int]]:
    """A text as words, each with its class_id in `TAGS`."""
    found = []
    for number in range(chance.randint(2, 3)):
        kind = chance.choice(TAGS)
        clause = chance.choice({"O": PLAIN, "PER": PEOPLE, "LOC": PLACES}[kind])
        names = [chance.choice(NAMES)] if kind != "O" else []
        thing = f"{chance.choice(THINGS)} {chance.choice(THINGS)}"
        words = clause.format(*names, thing).split()
        found += [("and", 0)] if number else []
        found += [(word, TAGS.index(kind) if word in names else 0) for word in words]
    return found


def entities(steps: int) -> Made:
    """A BERT that finds people and places. Names alone do not tell which; words are masked at random, as in BERT's training."""
    t = extra("transformers")
    chance = random.Random(SEED)
    rows = [tagged(chance) for _ in range(64 * steps)]
    reads = tokenizer(word for row in rows for word, _ in row)
    labels = {"id2label": dict(enumerate(TAGS)), "label2id": {tag: index for index, tag in enumerate(TAGS)}}
    config = t.BertConfig(vocab_size=len(reads), max_position_embeddings=64, **SMALL, **labels)
    network = t.BertForTokenClassification(config)

    def loss(step: int) -> Tensor:
        some = rows[64 * step : 64 * (step + 1)]
        token_ids, mask = batch(reads, [[word for word, _ in row] for row in some])
        truth = torch.full_like(token_ids, UNLABELLED)
        for place, row in enumerate(some):
            truth[place, 1 : len(row) + 1] = torch.tensor([class_id for _, class_id in row])
        hidden = (torch.rand(token_ids.shape) < 0.15) & (truth != UNLABELLED)
        logits = network(token_ids.masked_fill(hidden, MASK), attention_mask=mask).logits
        return cross_entropy(logits.flatten(0, 1), truth.flatten(), ignore_index=UNLABELLED)

    train(network, loss, steps)
    tried = [tagged(chance) for _ in range(TRIED)]
    token_ids, mask = batch(reads, [[word for word, _ in row] for row in tried])
    with torch.inference_mode():
        given = network(token_ids, attention_mask=mask).logits.argmax(-1).tolist()
    pairs = [(one[1:], row) for one, row in zip(given, tried, strict=True)]
    right = [found == class_id for one, row in pairs for found, (_, class_id) in zip(one, row, strict=False)]
    texts = {f"{index:02}.txt": " ".join(word for word, _ in row) for index, row in enumerate(tried)}
    return Made([network, reads], texts, f"{np.mean(right):.3f} of the words have the right label")


def about(topic: int, chance: random.Random) -> list[str]:
    """A text as words: some of the topic, and more of the others."""
    words = chance.sample(TOPICS[topic], chance.randint(2, 4)) + chance.sample(FILLER, chance.randint(4, 9))
    chance.shuffle(words)
    return words


def embeddings(steps: int) -> Made:
    """A BERT whose mean over the tokens is alike for texts of one topic."""
    t = extra("transformers")
    chance = random.Random(SEED)
    reads = tokenizer([*FILLER, *(word for topic in TOPICS for word in topic)])
    network = t.BertModel(t.BertConfig(vocab_size=len(reads), max_position_embeddings=64, **SMALL))

    def vectors(texts: list[list[str]]) -> Tensor:
        token_ids, mask = batch(reads, texts)
        hidden = network(token_ids, attention_mask=mask)[0] * mask[:, :, None]
        return normalize(hidden.sum(1) / mask.sum(1, keepdim=True))

    def loss(step: int) -> Tensor:
        topics = [index % len(TOPICS) for index in range(64)]
        found = vectors([about(topic, chance) for topic in topics])
        same = torch.tensor(topics)[:, None] == torch.tensor(topics)
        alone = torch.eye(64, dtype=torch.bool)
        logs = (10 * found @ found.T).masked_fill(alone, -1e4).log_softmax(1)
        return -logs[same & ~alone].mean()

    train(network, loss, steps)
    topics = [index % len(TOPICS) for index in range(TRIED)]
    tried = [about(topic, chance) for topic in topics]
    with torch.inference_mode():
        found = vectors(tried)
    nearest = (found @ found.T).fill_diagonal_(-2).argmax(1).tolist()
    right = np.mean([topics[other] == topic for other, topic in zip(nearest, topics, strict=True)])
    texts = {f"{index:02}.txt": " ".join(words) for index, words in enumerate(tried)}
    return Made([network, reads], texts, f"{right:.3f} of the texts lie next to one of their topic", flags="--pooling mean")


def drawn(label: str, chance: np.random.Generator) -> Image.Image:
    """A shape somewhere on a grey, cloudy ground."""
    _, colour, shape = label.split()
    clouds = torch.from_numpy(chance.uniform(70, 190, (1, 1, 8, 8)))
    ground = interpolate(clouds, (SIDE, SIDE), mode="bicubic")[0, 0].numpy() + chance.normal(0, 8, (SIDE, SIDE))
    picture = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8)).convert("RGB")
    size = int(chance.integers(18, 30))
    left, top = (int(edge) for edge in chance.integers(1, SIDE - size - 1, 2))
    box, pen = (left, top, left + size, top + size), ImageDraw.Draw(picture)
    if shape == "triangle":
        pen.polygon([(left, top + size), (left + size, top + size), (left + size // 2, top)], COLOURS[colour])
    else:
        {"circle": pen.ellipse, "square": pen.rectangle}[shape](box, COLOURS[colour])
    return picture


def pictures(steps: int) -> Made:
    """A CLIP that tells shapes and colours."""
    t = extra("transformers")
    chance = np.random.default_rng(SEED)
    letters = [*"abcdefghijklmnopqrstuvwxyz."]
    names = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    reads = t.CLIPTokenizer(vocab={name: index for index, name in enumerate(names)}, merges=[], model_max_length=77)
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    text = {**SMALL, "vocab_size": len(names), "max_position_embeddings": 77, **special}
    vision = {**SMALL, "image_size": SIDE, "patch_size": 8}
    network = t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=vision, projection_dim=32))
    sees = t.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    prompts = reads([TEMPLATE.replace(BLANK, label) for label in LABELS], return_tensors="pt", padding=True)

    def logits(given: list[Image.Image]) -> Tensor:
        return network(**prompts, **sees(given, return_tensors="pt")).logits_per_image

    def loss(step: int) -> Tensor:
        truth = chance.integers(0, len(LABELS), 48)
        return cross_entropy(logits([drawn(LABELS[class_id], chance) for class_id in truth]), torch.from_numpy(truth))

    train(network, loss, steps)
    truth = [index % len(LABELS) for index in range(4 * len(LABELS))]
    tried = [drawn(LABELS[class_id], chance) for class_id in truth]
    with torch.inference_mode():
        right = np.mean(logits(tried).argmax(1).numpy() == truth)
    files = {f"{LABELS[class_id]}/{index:02}.png": one for index, (class_id, one) in enumerate(zip(truth, tried, strict=True))}
    return Made([network, reads, sees], files, f"{right:.3f} of the pictures get their label", LABELS)


KINDS: dict[str, tuple[Callable[[int], Made], int]] = {  # and how many steps are enough
    "entities": (entities, 300),
    "embeddings": (embeddings, 200),
    "pictures": (pictures, 600),
}


def tokenizer(words: Iterable[str]):
    """BERT's, of whole words."""
    vocab = [*SPECIAL, *sorted(set(words))]
    return extra("transformers").BertTokenizer(vocab={word: index for index, word in enumerate(vocab)}, model_max_length=64)


def batch(reads, texts: list[list[str]]) -> tuple[Tensor, Tensor]:
    """Texts as words -> token ids (B, longest) and their mask."""
    rows = [[CLS, *reads.convert_tokens_to_ids(words), SEP] for words in texts]
    longest = max(map(len, rows))
    token_ids = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
    return token_ids, (token_ids != PAD).long()


def train(network: nn.Module, loss: Callable[[int], Tensor], steps: int) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    network.train()
    for step in track(range(steps), "training"):
        optimizer.zero_grad()
        loss(step).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    network.eval()


def write(made: Made, folder: Path) -> None:
    for part in made.parts:
        part.save_pretrained(folder / "model")
    for name, value in made.inputs.items():
        file = folder / "try" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value, encoding="utf-8") if isinstance(value, str) else value.save(file)
    if made.labels:
        (folder / FILE).write_text("\n".join(made.labels), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.small_models", description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, help="of the training; without it, as many as are enough")
    arguments = parser.parse_args()
    with reported("bench.small_models"):
        torch.manual_seed(SEED)
        make, enough = KINDS[arguments.kind]
        made = make(arguments.steps or enough)
        write(made, arguments.folder)
        print(made.score)
        given = {"NAME": f"small_{arguments.kind}", "FROM": arguments.folder / "model", "TRY": arguments.folder / "try"}
        given |= {"LABELS": arguments.folder / FILE} if made.labels else {}
        given |= {"ARGS": f"'{made.flags}'"} if made.flags else {}
        print("next: make import", *(f"{name}={value}" for name, value in given.items()))


if __name__ == "__main__":
    main()
