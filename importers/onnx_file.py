"""An ONNX file from elsewhere: a classifier of pictures, or of texts with its tokenizer.json next to it. ONNX Runtime runs it."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from importers import hugging_face_folder, labels
from importers.answers import FAILURES
from importers.found import Found, ImportRefused, Question
from importers.hugging_face_folder import quiet
from importers.preprocessing import FLAGS, Preprocessing, chosen, described
from model_defs.build import build
from model_defs.errors import first_line
from model_defs.onnx_image import DTYPES
from model_defs.onnx_text import IDS, MASK, TYPES
from model_defs.postprocess import top

SUFFIX = ".onnx"
SECONDS = 120  # to read it
MAX_BYTES = 2 << 30  # protobuf's own limit
USUAL_CROP = 0.875  # 224 of 256
UNNORMALIZED = {"mean": [0.0], "std": [1.0]}
PROJECT = Path(__file__).parents[1]


def find(question: Question) -> Found | None:
    """The network of the file, or None if it is no ONNX file.

    Raises:
        ImportRefused: a damaged file, or no classifier of pictures or texts.
    """
    file = onnx_file(question.source)
    if file is None or question.flags.network:
        return None
    probed = probe(file)
    spec = {"class_path": "model_defs.onnx_network.OnnxNetwork", "init_args": {}}
    built = build(spec).eval()
    built.content = file.read_bytes()
    lines = [f"{file}: an ONNX file of opset {probed['opset']}, by {probed['producer'] or 'nobody named'}; onnxruntime runs it"]
    if probed["outputs"][1:]:
        lines.append(f"of its {len(probed['outputs'])} outputs the first is served, {probed['outputs'][0][0]!r}")
    if probed["gives_probabilities"]:
        lines.append("its outputs come from a softmax: they are the scores")
    read = texts if {name for name, *_ in probed["inputs"]} <= {IDS, MASK, TYPES} else pictures
    found = read(question, file, probed, built, lines)
    found.network, found.runtime, found.device = spec, "onnxruntime", "cpu"
    return found


def onnx_file(source: Path) -> Path | None:
    """The file itself, or the only one in a folder without other weights, as exporters of transformers' models leave it."""
    if source.is_file():
        return source if source.suffix.lower() == SUFFIX else None
    files = sorted(source.glob(f"*{SUFFIX}")) if source.is_dir() else []
    is_only = len(files) == 1 and not any((source / name).exists() for name in hugging_face_folder.WEIGHTS)
    return files[0] if is_only else None


def probe(file: Path) -> dict[str, Any]:
    """What `onnx_probe` says of the file.

    Raises:
        ImportRefused: it cannot be read, or takes too long.
    """
    if file.stat().st_size > MAX_BYTES:
        raise ImportRefused(f"{file}: more than {MAX_BYTES >> 30} GiB, which no ONNX file can have")
    command = [sys.executable, "-m", "importers.onnx_probe", str(file.resolve())]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=PROJECT, errors="replace"
        )
    except subprocess.TimeoutExpired:
        raise ImportRefused(f"{file}: reading it took more than {SECONDS} s; simplify it") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"the reader ended with {done.returncode}"])[-1]
        hint = ": make setup EXTRAS=onnxruntime" if "No module named" in reason else "; export it again"
        raise ImportRefused(f"{file} cannot be read ({reason[:300]}){hint}")
    return json.loads(done.stdout.splitlines()[-1])


def count_of(built: torch.nn.Module, example: tuple[Tensor, ...], what: str) -> int:
    """The number of classes.

    Raises:
        ImportRefused: the file fails on the example, or answers no (1, classes).
    """
    try:
        output = built(*example)
    except FAILURES as error:
        raise ImportRefused(f"the ONNX file fails on {what}: {first_line(error, 200)}") from error
    if output.dim() != 2 or output.shape[0] != 1 or output.shape[1] < 2 or not output.is_floating_point():
        raise ImportRefused(
            f"the ONNX file answers {tuple(output.shape)} of {output.dtype} to {what}; a classifier answers (1, classes)"
        )
    return output.shape[1]


def pictures(question: Question, file: Path, probed: dict[str, Any], built: torch.nn.Module, lines: list[str]) -> Found:
    """
    Raises:
        ImportRefused: not one input of 4 axes with 1 or 3 channels.
    """
    _, kind, shape = probed["inputs"][0]
    dtype = kind.removeprefix("tensor(").removesuffix(")")
    is_last = len(shape) == 4 and shape[3] in (1, 3) and shape[1] not in (1, 3)
    channels = shape[3] if is_last else shape[1] if len(shape) == 4 else None
    if len(probed["inputs"]) != 1 or channels not in (1, 3) or dtype not in DTYPES:
        given = ", ".join(f"{each[0]} {each[1]} {each[2]}" for each in probed["inputs"])[:300]
        raise ImportRefused(
            f"{file} takes {given}; imported are classifiers of pictures, one input (N, 3, height, width), and of texts, "
            f"{IDS} and {MASK}"
        )
    usual = sized(shape[1:3] if is_last else shape[2:], dtype) | (UNNORMALIZED if channels == 1 else {})
    seen = chosen(question.flags, usual, is_grey=channels == 1)
    spec = spec_of(seen, dtype, is_last, probed["gives_probabilities"])
    reads = build(spec)
    sides = (seen.crop, seen.crop) if seen.crop else seen.resize
    example = reads.collate([torch.zeros(channels, *sides, dtype=torch.uint8)])
    count = count_of(built, example, f"a picture of {sides[0]} x {sides[1]} pixels (--crop or --squash to say otherwise)")
    names, source = labels.find(question, count, {})
    lines += [labels.line(names, source), *described(seen, "the usual, which no ONNX file tells", question.flags)]
    if dtype == "uint8":
        lines.append("the file takes pixels in 0 to 255, so mean and deviation are its own")
    variants = {
        flags: build(spec_of(other, dtype, is_last, probed["gives_probabilities"])) for flags, other in seen.others().items()
    }
    return Found(
        lines=lines, network={}, built=built, transform=spec, reads=reads, labels=names,
        handler="handlers.vision.ImageClassifier", answer=partial(answered, labels=names), inputs="pictures", variants=variants,
        flags=("labels", *FLAGS, *(("grey",) if channels == 1 else ())),
    )  # fmt: skip


def sized(sides: list[Any], dtype: str) -> dict[str, Any]:
    """How pictures usually come to that size."""
    height, width = (side if isinstance(side, int) and side > 0 else None for side in sides)
    if not height or not width:
        return {}
    if height != width:
        return {"resize": [height, width], "crop": None}
    return {"resize": round(height / USUAL_CROP), "crop": height}


def spec_of(seen: Preprocessing, dtype: str, is_last: bool, gives_probabilities: bool) -> dict[str, Any]:
    arguments = seen.spec()["init_args"] | {"mean": list(seen.mean), "std": list(seen.std)}
    arguments |= {"dtype": dtype} if dtype != "float" else {}
    arguments |= {"channels_last": True} if is_last else {}
    arguments |= {"gives_probabilities": True} if gives_probabilities else {}
    return {"class_path": "model_defs.onnx_image.OnnxImageTransform", "init_args": arguments}


def texts(question: Question, file: Path, probed: dict[str, Any], built: torch.nn.Module, lines: list[str]) -> Found:
    """
    Raises:
        ImportRefused: no tokenizer next to it.
    """
    folder = file.parent
    if not (folder / "tokenizer.json").is_file():
        raise ImportRefused(f"{file} takes {IDS}: put the folder's tokenizer.json next to it")
    with quiet(folder) as transformers:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        written, most = tokenizer.backend_tokenizer.to_str(), min(512, tokenizer.model_max_length)
    transform = {
        "class_path": "model_defs.onnx_text.OnnxTextTransform",
        "init_args": {
            "inputs": [name for name, *_ in probed["inputs"]], "max_tokens": most, "pad_token": tokenizer.pad_token,
            "gives_probabilities": probed["gives_probabilities"],
        },
    }  # fmt: skip
    reads = build(transform)
    reads.written = written
    count = count_of(built, reads.collate([reads.encode("a")]), "a short text")
    config = hugging_face_folder.read_config(folder) or {}
    names, source = labels.find(question, count, {"id2label": config.get("id2label")})
    lines += [labels.line(names, source), f"texts: {type(tokenizer).__name__} next to it, the first {most:,} tokens"]
    return Found(
        lines=lines, network={}, built=built, transform=transform, reads=reads, labels=names,
        handler="handlers.text.TextClassifier", answer=partial(answered, labels=names), inputs="texts", flags=("labels",),
    )  # fmt: skip


def answered(output: Tensor, sample: Any, labels: list[str]) -> list[dict]:
    return top(output, labels)
