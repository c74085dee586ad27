"""A Hugging Face folder that classifies pictures."""

import io
from typing import Any

from PIL import Image, ImageOps
from torch import Tensor, nn

from importers.found import Found, Question
from importers.hugging_face_folder import Folder, quiet, with_labels
from model_defs.build import build
from model_defs.transformers_image import PILLOW, TORCHVISION, ProcessedImageTransform

CLASS_PATH = "model_defs.transformers_image.ProcessedImageTransform"


def read(question: Question, folder: Folder, network: nn.Module, lines: list[str], names: list[str]) -> Found:
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
        handler="handlers.vision.ImageClassifier", answer=with_labels(names), inputs="pictures",
        variants=variants, reference=reference, flags=("upright", "backend"),
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
