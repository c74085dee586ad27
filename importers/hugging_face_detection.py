"""A Hugging Face folder that detects objects."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from importers.found import Found, Question
from importers.hugging_face_folder import Folder
from importers.hugging_face_scenes import found_of
from model_defs.postprocess import boxes
from model_defs.transformers_scenes import MAX_DETECTIONS

HAS_NONE = ("detr", "yolos", "table-transformer")  # networks whose last class means that there is nothing
EACH_CLASS = {"use_focal_loss": True, "top_k": MAX_DETECTIONS}  # for the processors of the others


def read(question: Question, folder: Folder, network: nn.Module, lines: list[str], names: list[str]) -> Found:
    has_none = folder.config["model_type"] in HAS_NONE

    def own(processed: dict[str, Any], size: tuple[int, int], processor: Any) -> Tensor:
        takes = inspect.signature(processor.post_process_object_detection).parameters
        options = {} if has_none else {name: value for name, value in EACH_CLASS.items() if name in takes}
        (found,) = processor.post_process_object_detection(network(**processed), threshold=0.0, target_sizes=[size], **options)
        rows = torch.cat([found["boxes"], found["scores"][:, None], found["labels"][:, None].float()], dim=1)
        best = rows[:, 4].argsort(descending=True, stable=True)
        return rows[best] if has_none else rows[best][:MAX_DETECTIONS]

    return found_of(
        question, folder, lines, names, "model_defs.transformers_scenes.TransformersDetector", "handlers.vision.ObjectDetector",
        lambda output, sample: boxes(output, sample, names), own, has_none=has_none,
    )  # fmt: skip
