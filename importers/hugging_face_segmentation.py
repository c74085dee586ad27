"""A Hugging Face folder that segments pictures: each pixel has one of the labels."""

from torch import nn

from importers.found import Found, Question
from importers.hugging_face_folder import Folder
from importers.hugging_face_scenes import found_of
from model_defs.postprocess import label_masks


def read(question: Question, folder: Folder, network: nn.Module, lines: list[str], names: list[str]) -> Found:
    return found_of(
        question, folder, lines, names, "model_defs.transformers_scenes.TransformersSegmenter", "handlers.vision.LabelSegmenter",
        lambda output, sample: label_masks(output, sample, names), lambda processed, *_: network(**processed).logits[0],
    )  # fmt: skip
