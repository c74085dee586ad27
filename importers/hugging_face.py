"""A Hugging Face folder, as `save_pretrained` writes it: a classifier of texts, pictures or sounds.

Its config.json says which; its own tokenizer or processor reads the inputs; the labels are its `id2label`, in their own order.
"""

import io
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import soundfile
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from importers import hugging_face_folder, labels
from importers.found import Found, ImportRefused, Question
from importers.hugging_face_folder import Folder, quiet
from model_defs.build import build
from model_defs.postprocess import top
from model_defs.transformers_image import PILLOW, TORCHVISION, ProcessedImageTransform

WRAPPED = "network."  # the prefix of transformers' own network in ours
MOST_TOKENS = 4096
ONE_LABEL = "single_label_classification"


def find(question: Question) -> Found | None:
    """The model of the folder, or None if it is no folder with a config.json of transformers.

    Raises:
        ImportRefused: a task that is not served, code of its own, weights that do not fit, or no labels.
    """
    config = hugging_face_folder.read_config(question.source) if question.source.is_dir() else None
    if config is None or "model_type" not in config or question.flags.network:
        return None
    task = task_of(question, config)
    folder = Folder(question.source, config, *hugging_face_folder.read_weights(question.source))
    count, extras = outputs_of(config), {"id2label": config.get("id2label")}
    names, source = labels.find(question, count, extras)
    hugging_face_folder.check_size(folder, count, task.auto_class)
    network = hugging_face_folder.load(folder, count)
    floats = {str(tensor.dtype).removeprefix("torch.") for tensor in folder.tensors.values() if tensor.is_floating_point()}
    lines = [
        f"{question.source}: {folder.kind}, {len(folder.tensors)} tensors: {type(network).__name__} with {count} classes",
        labels.line(names, source),
        *(f"weights in {kind}: become float32" for kind in sorted(floats - {"float32"})),
    ]
    found = task.read(question, folder, network, lines, names)
    found.built.network.load_state_dict(network.state_dict())
    return found


class Task(NamedTuple):
    """A task of transformers.

    Args:
        suffix: of the name in `architectures`, for people.
        auto_class: in transformers.
        mapping: in transformers: which architecture each model type has for this task.
        read: makes the model.
    """

    suffix: str
    auto_class: str
    mapping: str
    read: Callable[[Question, Folder, nn.Module, list[str], list[str]], Found]


def task_of(question: Question, config: dict[str, Any]) -> Task:
    """The task of the config's `architectures`.

    Raises:
        ImportRefused: none, several, or one that is not served.
    """
    given = config.get("architectures")
    known = ", ".join(task.suffix for task in TASKS)
    if not isinstance(given, list) or len(given) != 1 or not isinstance(given[0], str):
        raise ImportRefused(f"{question.source}/config.json: 'architectures' does not name one class; served are {known}")
    with quiet(question.source):
        from transformers.models.auto import modeling_auto

        for task in TASKS:
            classes = getattr(modeling_auto, task.mapping).get(config["model_type"], ())
            if given[0] == (classes if isinstance(classes, str) else next(iter(classes), None)):  # what the auto class makes
                check_kind(question, config)
                return task
    raise ImportRefused(
        f"{question.source}/config.json: {given[0]} of model_type {config['model_type']!r} is not served; served are {known}"
    )


def check_kind(question: Question, config: dict[str, Any]) -> None:
    """
    Raises:
        ImportRefused: the answers are not one label out of many.
    """
    kind = config.get("problem_type") or ONE_LABEL
    if kind != ONE_LABEL or outputs_of(config) < 2:
        raise ImportRefused(
            f"{question.source}/config.json: {kind} with {outputs_of(config)} outputs; served is one label out of two or more "
            "(problem_type single_label_classification)"
        )


def outputs_of(config: dict[str, Any]) -> int:
    """The number of outputs: that of `id2label`, or `num_labels`, or 2, which is transformers' own default."""
    names = config.get("id2label")
    count = len(names) if isinstance(names, dict) and names else config.get("num_labels", 2)
    return count if isinstance(count, int) and 0 < count <= 1_000_000 else 2


def answered(output: Tensor, sample: Any, labels: list[str]) -> list[dict]:
    return top(output, labels)


# --- texts


def text(question: Question, folder: Folder, network: nn.Module, lines: list[str], names: list[str]) -> Found:
    with quiet(folder.path) as transformers:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
        if not getattr(tokenizer, "is_fast", False):
            raise ImportRefused(
                f"{folder.path}: {type(tokenizer).__name__} has no tokenizer.json; save it again: "
                "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
            )
        written = tokenizer.backend_tokenizer.to_str()
    most = most_tokens(tokenizer, network, len(tokenizer))
    transform = {
        "class_path": "model_defs.transformer.SubwordTransform",
        "init_args": {"max_tokens": most} | ({"pad_token": tokenizer.pad_token} if tokenizer.pad_token else {}),
    }
    reads = build(transform)
    reads.written = written
    lines.append(f"texts: {type(tokenizer).__name__} of the folder, the first {most:,} tokens")
    spec = {
        "class_path": "model_defs.transformer.TransformersClassifier",
        "init_args": {"num_classes": len(names), "vocab_size": len(tokenizer), "pad": reads.pad, "config": folder.config},
    }

    def reference(payload: bytes) -> Tensor:
        return network(**tokenizer(payload.decode(), truncation=True, max_length=most, return_tensors="pt")).logits[0]

    return Found(
        lines=lines, network=spec, built=build(spec).eval(), transform=transform, reads=reads, labels=names,
        handler="handlers.text.TextClassifier", answer=partial(answered, labels=names), inputs="texts", reference=reference,
    )  # fmt: skip


def most_tokens(tokenizer: Any, network: nn.Module, vocabulary: int) -> int:
    """The most tokens that both the tokenizer and the network take. A RoBERTa needs two positions for itself."""
    positions = next((getattr(network.config, name, None) for name in ("max_position_embeddings", "n_positions")), None)
    most = min(MOST_TOKENS, tokenizer.model_max_length, positions or MOST_TOKENS)
    pad = network.config.pad_token_id or 0
    for length in (most, most - pad - 1):
        try:
            with torch.inference_mode():
                network(input_ids=torch.full((1, length), (pad + 1) % vocabulary))
            return length
        except (IndexError, RuntimeError, ValueError):
            continue
    raise ImportRefused(f"a text of {most:,} tokens does not go through {type(network).__name__}; is config.json its own?")


# --- pictures


def image(question: Question, folder: Folder, network: nn.Module, lines: list[str], names: list[str]) -> Found:
    upright = question.flags.upright is not False
    backend = question.flags.backend or TORCHVISION
    transform = image_transform(folder, upright, backend)
    reads = ready(transform, folder)
    mean, std = reads.normalization()
    turned = "held upright, as pipeline does (--no-upright: they stay turned)" if upright else "stay turned"
    lines.append(
        f"pictures: {type(reads.processor).__name__} of the folder by {backend} (--backend to say otherwise); "
        f"turned pictures {turned}; transparency is dropped"
    )
    spec = {
        "class_path": "model_defs.transformers_image.TransformersImageClassifier",
        "init_args": {"num_classes": len(names), "config": folder.config, "mean": mean, "std": std},
    }

    def reference(payload: bytes) -> Tensor:
        given = Image.open(io.BytesIO(payload))
        picture = (ImageOps.exif_transpose(given) if upright else given).convert("RGB")
        return network(**reads.processor(picture, return_tensors="pt")).logits[0]

    other = PILLOW if backend == TORCHVISION else TORCHVISION
    turned_flag = "--no-upright" if upright else "--upright"
    variants = {
        f"--backend {other}": ready(image_transform(folder, upright, other), folder),
        turned_flag: ready(image_transform(folder, not upright, backend), folder),
    }
    return Found(
        lines=lines, network=spec, built=build(spec).eval(), transform=transform, reads=reads, labels=names,
        handler="handlers.vision.ImageClassifier", answer=partial(answered, labels=names), inputs="pictures",
        variants=variants, reference=reference,
    )  # fmt: skip


def image_transform(folder: Folder, upright: bool, backend: str) -> dict[str, Any]:
    return {
        "class_path": "model_defs.transformers_image.ProcessedImageTransform",
        "init_args": {"upright": upright, "backend": backend},
    }


def ready(transform: dict[str, Any], folder: Folder) -> ProcessedImageTransform:
    reads = build(transform)
    with quiet(folder.path):
        reads.load(folder.path)
    return reads


# --- sounds


def audio(question: Question, folder: Folder, network: nn.Module, lines: list[str], names: list[str]) -> Found:
    path = "model_defs.transformers_audio.ProcessedAudioTransform"
    with quiet(folder.path) as transformers:
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
        rate = int(extractor.sampling_rate)
    transform = {"class_path": path, "init_args": {"sample_rate": rate}}
    reads = build(transform)
    reads.extractor = extractor
    lines.append(f"sounds: {type(extractor).__name__} of the folder; mono, {rate:,} Hz, whole, {reads.max_seconds:g} s at most")
    spec = {
        "class_path": "model_defs.transformers_audio.TransformersAudioClassifier",
        "init_args": {"num_classes": len(names), "config": folder.config},
    }

    def reference(payload: bytes) -> Tensor:
        frames, own_rate = soundfile.read(io.BytesIO(payload), dtype="float32", always_2d=True)
        mono = frames.mean(axis=1) if own_rate == rate else reads(payload).numpy()  # owners resample in many ways
        return network(**extractor(mono, sampling_rate=rate, return_tensors="pt")).logits[0]

    return Found(
        lines=lines, network=spec, built=build(spec).eval(), transform=transform, reads=reads, labels=names,
        handler="handlers.audio.AudioClassifier", answer=partial(answered, labels=names), inputs="sounds", reference=reference,
    )  # fmt: skip


TASKS = (
    Task("ForAudioClassification", "AutoModelForAudioClassification", "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES", audio),
    Task("ForImageClassification", "AutoModelForImageClassification", "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES", image),
    Task(
        "ForSequenceClassification", "AutoModelForSequenceClassification", "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES", text
    ),
)
