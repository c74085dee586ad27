"""What Hugging Face folders of object detectors and of segmenters share: whole pictures by the folder's own processor."""

import io
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageOps
from torch import Tensor

from importers.found import Found, Question
from importers.hugging_face_folder import Folder, quiet
from model_defs.build import build
from model_defs.transformers_image import TORCHVISION


def found_of(
    question: Question,
    folder: Folder,
    lines: list[str],
    names: list[str],
    class_path: str,
    handler: str,
    answer: Callable[[Tensor, Any], Any],
    own: Callable[[dict[str, Any], tuple[int, int], Any], Tensor],
    **init_args: Any,
) -> Found:
    """
    Args:
        class_path, init_args: of the network.
        answer: (output, sample) -> what the wire says.
        own: (what the processor gives, height and width in pixels, the processor) -> the output by transformers itself.
    """
    upright, backend = question.flags.upright is not False, question.flags.backend or TORCHVISION
    transform = {
        "class_path": "model_defs.transformers_scenes.ProcessedWholeTransform",
        "init_args": {"upright": upright, "backend": backend},
    }
    reads = build(transform)
    with quiet(folder.path):
        reads.load(folder.path)
    mean, std = reads.normalization()
    lines.append(
        f"pictures: whole, {type(reads.processor).__name__} of the folder by {backend}; "
        + ("held upright, as pipeline does (--no-upright: they stay turned)" if upright else "turned pictures stay turned")
    )
    spec = {"class_path": class_path, "init_args": {"config": folder.config, "mean": mean, "std": std} | init_args}
    spec["init_args"]["num_classes"] = len(names)

    def reference(payload: bytes) -> Tensor:
        given = Image.open(io.BytesIO(payload))
        picture = (ImageOps.exif_transpose(given) if upright else given).convert("RGB")
        processed = reads.processor(picture, return_tensors="pt")
        return own(processed, processed["pixel_values"].shape[2:], reads.processor)

    return Found(
        lines=lines, network=spec, built=build(spec).eval(), transform=transform, reads=reads, labels=names,
        handler=handler, answer=answer, inputs="pictures", metric="", reference=reference, flags=("upright", "backend"),
    )  # fmt: skip
