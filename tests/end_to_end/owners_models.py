"""An owner's own script, which does not import the bundle: one model of each kind, 20 varied inputs, and its own answers to them.

Run it with the folder to write into. `kinds.json` says what there is: by name, the file, the inputs and the flags.
"""

import io
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchvision
import transformers
from PIL import Image
from torch import nn
from transformers import pipeline

sys.path.append(str(Path(__file__).parents[1] / "importers"))
import hugging_face_tasks_owner as tasks

LABELS = ["tench", "Golden Retriever", "café crème"]  # not in alphabetical order
NAMED = {"id2label": dict(enumerate(LABELS)), "label2id": {label: index for index, label in enumerate(LABELS)}}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "initializer_range": 0.3}
WORDS = ["a", "round", "thing", "with", "corners", "five", "é"]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
T = torchvision.transforms
READ = T.Compose([T.Resize(256), T.CenterCrop(224), T.ToTensor(), T.Normalize(MEAN, STD)])
COUNT = 20
random = np.random.default_rng(0)
MY_NET = """
import torch
from torch import nn


class MyNet(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten())
        self.head = nn.Linear(72, n_classes)

    def forward(self, x):
        return 5 * self.head(self.net(x))
"""
HANDLER = """
import io, torch
from PIL import Image
from torchvision import transforms as T
from ts.torch_handler.base_handler import BaseHandler


class Pets(BaseHandler):
    read = T.Compose([T.Resize(64), T.CenterCrop(56), T.ToTensor(), T.Normalize([0.5] * 3, [0.5] * 3)])

    def preprocess(self, data):
        rows = [row.get("data") or row.get("body") for row in data]
        return torch.stack([self.read(Image.open(io.BytesIO(row)).convert("RGB")) for row in rows])

    def postprocess(self, data):
        return [dict(zip(self.mapping.values(), scores)) for scores in data.softmax(1).tolist()]
"""


def pictures(folder: Path) -> None:
    """Grey, transparent, with a palette, turned by EXIF, in other colour spaces, tall, wide, tiny and large."""
    folder.mkdir()

    def made(mode: str, width: int = 90, height: int = 70) -> Image.Image:
        channels = {"L": (), "RGB": (3,), "RGBA": (4,), "CMYK": (4,), "LA": (2,)}[mode]
        small = Image.fromarray(random.integers(0, 256, (4, 5, *channels), dtype=np.uint8), mode)
        return small.resize((width, height), Image.Resampling.BICUBIC)

    for index, side in enumerate((60, 224, 225, 256, 300, 640)):
        made("RGB", side, side + 40 * index).save(folder / f"plain{index}.png")
    for quality in (30, 95):
        made("RGB", 400, 300).save(folder / f"jpeg{quality}.jpg", quality=quality)
    for index, orientation in enumerate((3, 6, 8)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        made("RGB", 200, 120).save(folder / f"turned{index}.jpg", exif=exif)
    made("L").save(folder / "grey.png")
    made("L", 300, 200).save(folder / "grey.jpg")
    made("RGBA").save(folder / "transparent.png")
    made("LA").save(folder / "grey_transparent.png")
    made("RGB").quantize(16).save(folder / "palette.gif")
    made("CMYK").save(folder / "cmyk.jpg")
    made("RGB", 40, 300).save(folder / "tall.webp", lossless=True)
    made("RGB", 500, 30).save(folder / "wide.bmp")
    made("RGB", 3, 2).save(folder / "tiny.png")


def sounds(folder: Path) -> None:
    folder.mkdir()
    for index in range(COUNT):
        shape = (4_000 + 700 * index, 2) if index % 5 == 3 else (4_000 + 700 * index,)
        file = folder / f"{index:02}.{'flac' if index % 3 else 'wav'}"
        soundfile.write(file, random.uniform(-0.5, 0.5, shape) * (0.1 + 0.04 * index), 16_000)


def texts(folder: Path) -> None:
    folder.mkdir()
    for index in range(COUNT):
        (folder / f"{index:02}.txt").write_text(" ".join(random.choice(WORDS, 1 + 4 * index)), encoding="utf-8")


def varied(network: nn.Module, head: nn.Module, size: int = 96) -> nn.Module:
    """With the statistics of one batch, and a louder head: else a deep random network answers all inputs alike."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network.train()(nn.functional.interpolate(torch.randn(8, 3, 4, 4), size, mode="bicubic"))
        head.weight *= 4
    return network.eval()


def scores(logits: torch.Tensor) -> dict[str, float]:
    return dict(zip(LABELS, logits.softmax(-1)[0].tolist(), strict=True))


def each(folder: Path, answer) -> dict:
    with torch.inference_mode():
        return {file.name: answer(file) for file in sorted(folder.iterdir())}


def by_torchvision(root: Path) -> dict:
    network = torchvision.models.mobilenet_v3_small(num_classes=3)
    varied(network, network.classifier[-1])
    torch.save(nn.DataParallel(network).state_dict(), root / "torchvision.pth")
    torch.onnx.export(
        network, torch.rand(1, 3, 224, 224), root / "exported.onnx", input_names=["x"], output_names=["y"],
        dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, dynamo=False,
    )  # fmt: skip
    own = each(root / "photos", lambda file: scores(network(READ(Image.open(file).convert("RGB"))[None])))
    return {"torchvision": ("torchvision.pth", "photos", [], own), "onnx": ("exported.onnx", "photos", [], own)}


def by_stock_archives(root: Path) -> dict:
    """A classifier and a detector, each in an archive of torch-model-archiver, and the detector's bare weights."""
    network = torchvision.models.resnet18(num_classes=3)
    varied(network, network.fc)
    torch.save(network.state_dict(), root / "stock.pth")
    (root / "stock").mkdir()
    (root / "stock/index_to_name.json").write_text(json.dumps(dict(zip("012", LABELS, strict=True))))
    command = [
        sys.executable, "-m", "model_archiver.model_packaging", "--model-name", "stock", "--version", "1.0", "--handler",
        "image_classifier", "--serialized-file", root / "stock.pth", "--extra-files", root / "stock/index_to_name.json",
        "--export-path", root,
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, cwd=root)
    own = each(root / "photos", lambda file: scores(network(READ(Image.open(file).convert("RGB"))[None])))
    name = "ssdlite320_mobilenet_v3_large"
    detector = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=3).eval()
    with torch.no_grad():
        for layer in detector.head.classification_head.module_list:
            layer[-1].bias.view(-1, 3)[:, 2] += 3.0  # so that some boxes pass the threshold
    torch.save(detector.state_dict(), root / "detector.pth")
    (root / "animals.txt").write_text("cat\ndog")

    def boxes(file: Path) -> list[dict]:
        found = detector([T.functional.to_tensor(Image.open(file).convert("RGB"))])[0]
        rows = zip(found["labels"].tolist(), found["scores"].tolist(), found["boxes"].tolist(), strict=True)
        corners = ("xmin", "ymin", "xmax", "ymax")
        best = [
            {"label": ("cat", "dog")[label - 1], "score": score, "box": dict(zip(corners, box, strict=True))}
            for label, score, box in rows
            if score > 0.5
        ]
        return best[:100]

    flags = ["--network", name, "--labels", str(root / "animals.txt")]
    return {
        "stock": ("stock.mar", "photos", ["--answer-as", "torchserve"], own),
        "detector": ("detector.pth", "photos", flags, each(root / "photos", boxes)),
    }


def by_other_tasks(root: Path) -> dict:
    """A detector, a segmenter and CLIP of transformers, whose own answers another script of owners knows to ask for."""
    (root / "tasks").mkdir()
    tasks.models(root / "tasks")
    t = transformers
    sees = {name: t.AutoImageProcessor.from_pretrained(root / "tasks" / name) for name in ("yolos", "segformer")}
    yolos = t.YolosForObjectDetection.from_pretrained(root / "tasks/yolos")
    segformer = t.SegformerForSemanticSegmentation.from_pretrained(root / "tasks/segformer")
    clip = pipeline("zero-shot-image-classification", model=str(root / "tasks/clip"))

    shutil.copytree(root / "photos", root / "scenes")
    for name in ("tall.webp", "wide.bmp", "tiny.png"):  # transformers' own processor of YOLOS fails on some of these
        side = 40 + 7 * len(name)
        Image.open(root / "photos/plain3.png").resize((side, 90)).save(root / "scenes" / name, lossless=True)

    def asked(answer, folder: str = "photos"):
        return each(root / folder, lambda file: answer(tasks.opened(file)))

    seen = asked(lambda picture: tasks.detected(yolos, sees["yolos"], picture), "scenes")
    return {
        "yolos": ("tasks/yolos", "scenes", [], seen),
        "segformer": (
            "tasks/segformer", "photos", [], asked(lambda picture: tasks.segmented(segformer, sees["segformer"], picture)),
        ),
        "clip": (
            "tasks/clip", "photos", ["--labels", str(root / "tasks/labels.txt")],
            asked(lambda picture: clip(picture, candidate_labels=tasks.LABELS)),
        ),
    }  # fmt: skip


TEXT_NET = """
from torch import nn


class TextNet(nn.Module):
    def __init__(self, words=56, classes=3):
        super().__init__()
        self.embedding = nn.EmbeddingBag(words, 16)
        self.fc = nn.Linear(16, classes)

    def forward(self, text, offsets):
        return 4 * self.fc(self.embedding(text, offsets))
"""


def by_text_archive(root: Path) -> dict:
    """An archive with TorchServe's text_classifier, whose vocabulary is a dict."""
    names: dict = {"__name__": "text_net"}
    exec(TEXT_NET, names)
    network = names["TextNet"]().eval()
    plain = [word.replace("é", "e") for word in WORDS]  # as the handler does
    pairs = [f"{first} {second}" for first in plain for second in plain]
    vocabulary = {token: index for index, token in enumerate([*plain, *pairs])}
    folder = root / "text_archive"
    folder.mkdir()
    (folder / "text_net.py").write_text(TEXT_NET)
    (folder / "index_to_name.json").write_text(json.dumps(dict(zip("012", LABELS, strict=True))))
    torch.save(vocabulary, folder / "source_vocab.pt")
    torch.save(network.state_dict(), folder / "text.pt")
    command = [
        sys.executable, "-m", "model_archiver.model_packaging", "--model-name", "text_archive", "--version", "1.0", "--handler",
        "text_classifier", "--model-file", folder / "text_net.py", "--serialized-file", folder / "text.pt", "--extra-files",
        f"{folder / 'source_vocab.pt'},{folder / 'index_to_name.json'}", "--export-path", root,
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, cwd=root)

    def own(file: Path) -> dict[str, float]:
        words = file.read_text(encoding="utf-8").replace("é", "e").split()
        tokens = [*words, *(" ".join(pair) for pair in itertools.pairwise(words))]
        return scores(network(torch.tensor([vocabulary[token] for token in tokens]), torch.tensor([0])))

    return {"text_archive": ("text_archive.mar", "texts", [], each(root / "texts", own))}


def by_own_network(root: Path) -> dict:
    (root / "my_net.py").write_text(MY_NET)
    names: dict = {"__name__": "my_net"}
    exec(MY_NET, names)
    network = names["MyNet"](3).eval()
    torch.save({"model": network.state_dict(), "epoch": 3}, root / "own_network.pth")
    read = T.Compose([T.Resize((48, 48)), T.ToTensor(), T.Normalize([0.5] * 3, [0.25] * 3)])
    own = each(root / "photos", lambda file: scores(network(read(Image.open(file).convert("RGB"))[None])))
    flags = [
        "--network",
        f"{root}/my_net.py:MyNet(n_classes=3)",
        "--squash",
        "48",
        "--mean",
        *["0.5"] * 3,
        "--std",
        *["0.25"] * 3,
    ]
    (root / "model.py").write_text(MY_NET.replace("def __init__(self, n_classes)", "def __init__(self, n_classes=3)"))
    (root / "handler.py").write_text(HANDLER)
    (root / "old").mkdir()
    (root / "old" / "index_to_name.json").write_text(json.dumps(dict(zip("012", LABELS, strict=True))))
    torch.save(network.state_dict(), root / "state.pth")
    command = [
        sys.executable, "-m", "model_archiver.model_packaging", "--model-name", "custom", "--version", "1.0", "--handler",
        root / "handler.py", "--model-file", root / "model.py", "--serialized-file", root / "state.pth", "--extra-files",
        root / "old" / "index_to_name.json", "--export-path", root,
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, cwd=root)
    half = T.Compose([T.Resize(64), T.CenterCrop(56), T.ToTensor(), T.Normalize([0.5] * 3, [0.5] * 3)])
    old = each(root / "photos", lambda file: scores(network(half(Image.open(file).convert("RGB"))[None])))
    return {"own_network": ("own_network.pth", "photos", flags, own), "custom": ("custom.mar", "photos", [], old)}


def by_timm(root: Path) -> dict:
    import timm

    network = timm.create_model("test_resnet", num_classes=3)
    varied(network, network.get_classifier(), 64)
    timm.models.save_for_hf(
        network, root / "timm", model_config={"pretrained_cfg": network.pretrained_cfg, "label_names": LABELS}
    )
    read = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    own = each(root / "photos", lambda file: scores(network(read(Image.open(file).convert("RGB"))[None])))
    return {"timm": ("timm", "photos", [], own)}


def save(folder: Path, network: nn.Module, *parts) -> None:
    network.eval().save_pretrained(folder)
    for part in parts:
        part.save_pretrained(folder)


def by_transformers(root: Path) -> dict:
    t = transformers
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = t.BertTokenizer(vocab={word: index for index, word in enumerate(words)}, model_max_length=64)
    vit = t.ViTForImageClassification(t.ViTConfig(**SMALL, **NAMED, image_size=32, patch_size=8))
    save(root / "vit", vit, t.ViTImageProcessor(size={"height": 32, "width": 32}))
    sizes = {"vocab_size": 12, "max_position_embeddings": 64}
    save(root / "bert", t.BertForSequenceClassification(t.BertConfig(**sizes, **SMALL, **NAMED)), tokenizer)
    save(root / "entities", t.BertForTokenClassification(t.BertConfig(**sizes, **SMALL, **NAMED)), tokenizer)
    save(root / "embeddings", t.BertModel(t.BertConfig(**sizes, **SMALL)), tokenizer)
    convolutions = {"conv_dim": (16, 16), "conv_kernel": (10, 3), "conv_stride": (5, 2)}
    positions = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    wav2vec2 = t.Wav2Vec2ForSequenceClassification(t.Wav2Vec2Config(**SMALL, **convolutions, **positions, **NAMED))
    save(root / "wav2vec2", wav2vec2, t.Wav2Vec2FeatureExtractor())
    see, read = (
        pipeline("image-classification", model=str(root / "vit")),
        pipeline("text-classification", model=str(root / "bert")),
    )
    tag, hear = (
        pipeline("token-classification", model=str(root / "entities")),
        pipeline("audio-classification", model=str(root / "wav2vec2")),
    )
    base = t.BertModel.from_pretrained(root / "embeddings").eval()

    def heard(file: Path) -> list[dict]:
        frames, rate = soundfile.read(io.BytesIO(file.read_bytes()), dtype="float32", always_2d=True)
        return hear({"raw": frames.mean(axis=1), "sampling_rate": rate}, top_k=3)

    def tagged(file: Path) -> list[dict]:
        found = tag(file.read_text(), aggregation_strategy="simple")
        return [{key: value.item() if hasattr(value, "item") else value for key, value in entity.items()} for entity in found]

    def embedded(file: Path) -> list[float]:
        given = tokenizer(file.read_text(), truncation=True, max_length=64, return_tensors="pt")
        return base(**given).last_hidden_state[0].mean(0).tolist()

    return {
        "vit": ("vit", "photos", [], each(root / "photos", lambda file: see(str(file), top_k=3))),
        "bert": ("bert", "texts", [], each(root / "texts", lambda file: read(file.read_text(), top_k=3, truncation=True))),
        "wav2vec2": ("wav2vec2", "sounds", [], each(root / "sounds", heard)),
        "entities": ("entities", "texts", [], each(root / "texts", tagged)),
        "embeddings": ("embeddings", "texts", ["--pooling", "mean"], each(root / "texts", embedded)),
    }


def main(root: Path) -> None:
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    (root / "classes.txt").write_text("\n".join(LABELS), encoding="utf-8")
    for write, name in ((pictures, "photos"), (sounds, "sounds"), (texts, "texts")):
        write(root / name)
    makers = (by_torchvision, by_stock_archives, by_text_archive, by_own_network, by_timm, by_transformers, by_other_tasks)
    kinds = {name: kind for make in makers for name, kind in make(root).items()}
    (root / "kinds.json").write_text(json.dumps(kinds), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
