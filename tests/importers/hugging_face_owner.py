"""An owner's own script, which does not import the bundle: small models of transformers, inputs, and what `pipeline` answers.

Run it with the folder to write into.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
import soundfile
import torch
import transformers
from PIL import Image
from transformers import pipeline

ID2LABEL = {0: "tench", 1: "Golden Retriever", 2: "café crème"}  # not in alphabetical order
LABELS = {"id2label": ID2LABEL, "label2id": {label: index for index, label in ID2LABEL.items()}}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "initializer_range": 0.3}
WORDS = ["a", "round", "thing", "with", "corners", "five", "é"]
random = np.random.default_rng(0)


def pictures(folder: Path) -> None:
    """Plain, grey, transparent, with a palette, turned by its EXIF, in another colour space, tall and very small."""
    folder.mkdir()

    def made(mode: str, width: int = 90, height: int = 70) -> Image.Image:
        channels = {"L": (), "RGB": (3,), "RGBA": (4,), "CMYK": (4,)}[mode]
        small = Image.fromarray(random.integers(0, 256, (4, 5, *channels), dtype=np.uint8), mode)
        return small.resize((width, height), Image.Resampling.BICUBIC)

    for index in range(4):
        made("RGB", 60 + 30 * index).save(folder / f"plain{index}.png")
    made("L").save(folder / "grey.png")
    made("RGBA").save(folder / "transparent.png")
    made("RGB").quantize(16).save(folder / "palette.png")
    made("CMYK").save(folder / "cmyk.jpg")
    made("RGB", 40, 300).save(folder / "tall.webp", lossless=True)
    made("RGB", 3, 2).save(folder / "tiny.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    made("RGB").save(folder / "turned.jpg", exif=exif)


def sounds(folder: Path) -> None:
    folder.mkdir()
    for index in range(4):
        shape = (8_000 + 1_000 * index, 2) if index == 3 else (8_000 + 1_000 * index,)
        soundfile.write(folder / f"{index}.wav", random.uniform(-0.5, 0.5, shape) * (0.2 + 0.2 * index), 16_000)


def texts(folder: Path) -> None:
    folder.mkdir()
    for index in range(5):
        (folder / f"{index}.txt").write_text(" ".join(random.choice(WORDS, 2 + 9 * index)), encoding="utf-8")


def save(folder: Path, network: torch.nn.Module, *parts) -> None:
    network.eval().save_pretrained(folder)
    for part in parts:
        part.save_pretrained(folder)


def bert_tokenizer():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    return transformers.BertTokenizer(vocab={word: index for index, word in enumerate(words)}, model_max_length=64)


def roberta_tokenizer():
    letters = sorted({*"abcdefghijklmnopqrstuvwxyz", "Ġ", "Ã", "©"})
    vocab = {token: index for index, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *letters])}
    return transformers.RobertaTokenizer(vocab=vocab, merges=[], model_max_length=298)


def models(root: Path) -> dict[str, str]:
    """Write the folders; the kind of each."""
    resnet = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    convolutions = {"conv_dim": (16, 16), "conv_kernel": (10, 3), "conv_stride": (5, 2)}
    positions = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    t = transformers
    vit = t.ViTForImageClassification(t.ViTConfig(**SMALL, **LABELS, image_size=32, patch_size=8))
    save(root / "vit", vit, t.ViTImageProcessor(size={"height": 32, "width": 32}))
    network = t.ResNetForImageClassification(t.ResNetConfig(**resnet, **LABELS))
    with torch.no_grad():  # the statistics of one batch, without which its answers are all alike
        network.train()(torch.nn.functional.interpolate(torch.randn(8, 3, 4, 4), 64, mode="bicubic"))
        network.classifier[-1].weight *= 20
    crop = {"size": {"shortest_edge": 48}, "crop_pct": 0.875, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.2, 0.2, 0.3]}
    save(root / "resnet", network, t.ConvNextImageProcessor(**crop))
    convnext = t.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, initializer_range=0.5, **LABELS)
    sized = {"size": {"shortest_edge": 40}, "do_center_crop": False, "do_normalize": False}  # pictures keep their shape
    save(root / "convnext", t.ConvNextForImageClassification(convnext), t.BitImageProcessor(**sized))
    bert = t.BertConfig(vocab_size=12, max_position_embeddings=64, **SMALL, **LABELS)
    save(root / "bert", t.BertForSequenceClassification(bert), bert_tokenizer())
    distil = {"dim": 32, "hidden_dim": 32, "n_layers": 2, "n_heads": 2, "initializer_range": 0.3}
    network = t.DistilBertForSequenceClassification(t.DistilBertConfig(vocab_size=12, **distil, **LABELS))
    save(root / "distilbert", network, bert_tokenizer())
    torch.save(network.state_dict(), root / "distilbert" / "pytorch_model.bin")
    (root / "distilbert" / "model.safetensors").unlink()
    roberta = t.RobertaConfig(vocab_size=40, max_position_embeddings=300, pad_token_id=1, **SMALL, **LABELS)
    save(root / "roberta", t.RobertaForSequenceClassification(roberta), roberta_tokenizer())
    wav2vec2 = t.Wav2Vec2Config(**SMALL, **convolutions, **positions, **LABELS)
    save(root / "wav2vec2", t.Wav2Vec2ForSequenceClassification(wav2vec2), t.Wav2Vec2FeatureExtractor())
    spectrogram = t.ASTConfig(**SMALL, **LABELS, max_length=64, num_mel_bins=32)
    save(root / "ast", t.ASTForAudioClassification(spectrogram), t.ASTFeatureExtractor(max_length=64, num_mel_bins=32))
    return dict.fromkeys(("vit", "resnet", "convnext"), "photos") | dict.fromkeys(("bert", "distilbert", "roberta"), "texts") | (
        dict.fromkeys(("wav2vec2", "ast"), "sounds")
    )  # fmt: skip


TASKS = {"photos": "image-classification", "texts": "text-classification", "sounds": "audio-classification"}


def main(root: Path) -> None:
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    pictures(root / "photos")
    sounds(root / "sounds")
    texts(root / "texts")
    for name, kind in models(root).items():
        ask = pipeline(TASKS[kind], model=str(root / name))
        own = {}
        for file in sorted((root / kind).iterdir()):
            given = file.read_text(encoding="utf-8") if kind == "texts" else str(file)
            if kind == "sounds":
                frames, rate = soundfile.read(io.BytesIO(file.read_bytes()), dtype="float32", always_2d=True)
                given = {"raw": frames.mean(axis=1), "sampling_rate": rate}
            own[file.name] = {each["label"]: each["score"] for each in ask(given, top_k=3)}
        (root / f"{name}.json").write_text(json.dumps(own, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
