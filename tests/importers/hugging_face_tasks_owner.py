"""An owner's own script for tasks beyond classification, which does not import the bundle: models, and what transformers answers.

Run it with the folder to write into.
"""

import base64
import io
import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image, ImageOps
from transformers import pipeline

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "initializer_range": 0.3}
TAGS = {0: "O", 1: "B-PER", 2: "I-PER", 3: "I-LOC"}
WORDS = ["anna", "lives", "in", "paris", "##ian", "and", "é"]
LABELS = ["a cat", "two dogs", "nothing"]
CLASSES = {0: "N/A", 1: "cat", 2: "N/A", 3: "dog"}
random = np.random.default_rng(0)


def pictures(folder: Path) -> None:
    folder.mkdir()
    shapes = {
        "plain.png": ("RGB", 90, 70),
        "grey.png": ("L", 64, 64),
        "transparent.png": ("RGBA", 40, 90),
        "tall.png": ("RGB", 50, 120),
    }
    for name, (mode, width, height) in shapes.items():
        channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
        small = Image.fromarray(random.integers(0, 256, (4, 5, *channels), dtype=np.uint8), mode)
        small.resize((width, height), Image.Resampling.BICUBIC).save(folder / name)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(folder / "plain.png").save(folder / "turned.jpg", exif=exif)


def texts(folder: Path) -> None:
    folder.mkdir()
    given = ["anna lives in paris", "in paris and in parisian é", "anna", "strange words and anna", "paris " * 9]
    for index, text in enumerate(given):
        (folder / f"{index}.txt").write_text(text, encoding="utf-8")


def save(folder: Path, network: torch.nn.Module, *parts) -> None:
    network.eval().save_pretrained(folder)
    for part in parts:
        part.save_pretrained(folder)


def tokenizer(length: int = 64):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    return transformers.BertTokenizer(vocab={word: index for index, word in enumerate(words)}, model_max_length=length)


def clip_tokenizer():
    letters = [*"abcdefghijklmnopqrstuvwxyz.", "é"]
    names = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    return transformers.CLIPTokenizer(vocab={name: index for index, name in enumerate(names)}, merges=[], model_max_length=77)


def models(root: Path) -> None:
    t = transformers
    labels = {"id2label": TAGS, "label2id": {label: index for index, label in TAGS.items()}}
    bert = t.BertConfig(vocab_size=12, max_position_embeddings=64, **SMALL)
    tags = t.BertForTokenClassification(t.BertConfig(vocab_size=12, max_position_embeddings=64, **SMALL, **labels))
    save(root / "tokens", tags, tokenizer())
    save(root / "embeddings", t.BertModel(bert), tokenizer(32))
    steps = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(steps)
    ]
    (root / "embeddings" / "modules.json").write_text(json.dumps(modules))
    (root / "embeddings" / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (root / "embeddings" / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    named = {"id2label": CLASSES, "label2id": {"cat": 1, "dog": 3}}
    yolos = t.YolosConfig(**SMALL, **named, image_size=[64, 64], patch_size=16, num_detection_tokens=6)
    sizes = t.YolosImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    save(root / "yolos", t.YolosForObjectDetection(yolos), sizes)
    widths = {
        "hidden_sizes": [8, 16, 16, 16],
        "decoder_hidden_size": 16,
        "num_attention_heads": [1, 1, 1, 1],
        "depths": [1, 1, 1, 1],
    }
    parts = {"id2label": {0: "sky", 1: "road", 2: "tree"}, "label2id": {"sky": 0, "road": 1, "tree": 2}}
    segformer = t.SegformerConfig(**widths, **parts, initializer_range=0.5)
    processor = t.SegformerImageProcessor(size={"height": 64, "width": 64})
    save(root / "segformer", t.SegformerForSemanticSegmentation(segformer), processor)
    text = {**SMALL, "vocab_size": 60, "max_position_embeddings": 77, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    clip = t.CLIPConfig(text_config=text, vision_config={**SMALL, "image_size": 32, "patch_size": 8}, projection_dim=16)
    crop = t.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    save(root / "clip", t.CLIPModel(clip), clip_tokenizer(), crop)
    (root / "labels.txt").write_text("\n".join(LABELS))


def opened(file: Path) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(file)).convert("RGB")


def png(mask: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def detected(network, processor, picture: Image.Image) -> list[dict]:
    with torch.inference_mode():
        outputs = network(**processor(picture, return_tensors="pt"))
    (found,) = processor.post_process_object_detection(outputs, threshold=0.5, target_sizes=[(picture.height, picture.width)])
    corners = ("xmin", "ymin", "xmax", "ymax")
    most = dict(zip(corners, (picture.width, picture.height) * 2, strict=True))
    order = found["scores"].argsort(descending=True)
    return [
        {
            "label": CLASSES[int(found["labels"][index])].replace("N/A", f"N/A {int(found['labels'][index])}"),
            "score": float(found["scores"][index]),
            "box": {
                name: min(max(float(value), 0.0), float(most[name]))
                for name, value in zip(corners, found["boxes"][index], strict=True)
            },
        }
        for index in order
    ]


def segmented(network, processor, picture: Image.Image) -> dict[str, str]:
    with torch.inference_mode():
        outputs = network(**processor(picture, return_tensors="pt"))
    (classes,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[(picture.height, picture.width)])
    return {network.config.id2label[index]: png((classes == index).numpy()) for index in classes.unique().tolist()}


def embedded(network, reads, text: str) -> list[float]:
    with torch.inference_mode():
        hidden = network(**reads(text, truncation=True, return_tensors="pt")).last_hidden_state[0]
    return torch.nn.functional.normalize(hidden.mean(0), dim=0).tolist()


def main(root: Path) -> None:
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    pictures(root / "photos")
    texts(root / "texts")
    models(root)
    t = transformers
    ask, clip = (
        pipeline("token-classification", model=str(root / "tokens")),
        pipeline("zero-shot-image-classification", model=str(root / "clip")),
    )
    yolos, segformer = (t.YolosForObjectDetection, t.SegformerForSemanticSegmentation)
    sees = {name: t.AutoImageProcessor.from_pretrained(root / name) for name in ("yolos", "segformer")}
    networks = {"yolos": yolos.from_pretrained(root / "yolos"), "segformer": segformer.from_pretrained(root / "segformer")}
    bert, reads = t.AutoModel.from_pretrained(root / "embeddings"), t.AutoTokenizer.from_pretrained(root / "embeddings")
    photos, sentences = sorted((root / "photos").iterdir()), sorted((root / "texts").iterdir())

    def tagged(file: Path, strategy: str) -> list[dict]:
        found = ask(file.read_text(), aggregation_strategy=strategy)
        return [{key: value.item() if hasattr(value, "item") else value for key, value in entity.items()} for entity in found]

    own = {
        "tokens": {file.name: tagged(file, "simple") for file in sentences},
        "each_token": {file.name: tagged(file, "none") for file in sentences},
        "embeddings": {file.name: embedded(bert, reads, file.read_text()) for file in sentences},
        "clip": {file.name: clip(opened(file), candidate_labels=LABELS) for file in photos},
        "clip_others": {
            file.name: clip(opened(file), candidate_labels=["a", "some words", "z z z z"], hypothesis_template="so {}")
            for file in photos
        },
        "yolos": {file.name: detected(networks["yolos"], sees["yolos"], opened(file)) for file in photos},
        "segformer": {file.name: segmented(networks["segformer"], sees["segformer"], opened(file)) for file in photos},
    }  # fmt: skip
    for name, answers in own.items():
        (root / f"{name}.json").write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
