"""From tensors to what the wire says, in the shapes that huggingface_hub's InferenceClient expects.

Training writes down the answers to its test set with these functions, and the handlers answer with them. A caller's
parameters are theirs, and so are the defaults.
"""

import base64
import io
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from model_defs.errors import OutputError

if TYPE_CHECKING:
    from model_defs.vision import ImageSample  # brings torchvision along, which a worker for texts has no use for

TOP_K = 5
NOT_FINITE = "the model gave scores that are not finite numbers"
THRESHOLD = 0.5  # of a detection's score
MOST_DETECTIONS = 100
SCORES = {"softmax": lambda logits: logits.softmax(-1), "sigmoid": torch.sigmoid, "none": lambda logits: logits}
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def top(logits: Tensor, labels: list[str], top_k: int = TOP_K, function: str = "softmax") -> list[dict]:
    """(num_classes,) logits -> `[{"label", "score"}, ...]`, best first, at most `top_k`.

    Of (windows, num_classes) each score is the mean of its windows' scores.

    Raises:
        OutputError: a score is NaN or infinite, which JSON cannot hold.
    """
    scores = SCORES[function](logits)
    scores, places = (scores if scores.dim() == 1 else scores.mean(dim=0)).topk(min(top_k, len(labels)))
    best = scores.tolist()
    if not all(map(math.isfinite, best)):  # in Python: of a text's answer torch's isfinite would be a tenth
        raise OutputError(NOT_FINITE)
    return [{"label": labels[place], "score": score} for place, score in zip(places.tolist(), best, strict=True)]


def boxes(
    found: Tensor, sample: "ImageSample", labels: list[str], threshold: float = THRESHOLD, max_detections: int = MOST_DETECTIONS
) -> list[dict]:
    """What a detector found -> `[{"label", "score", "box": {"xmin", "ymin", "xmax", "ymax"}}, ...]`, best first.

    Args:
        found: (detections, 6 or more): see `TorchvisionDetector`; boxes in pixels of the sample.
        sample: the picture that was looked at; the boxes given are in pixels of the picture that was sent, upright.
        threshold: the least score.
        max_detections: the best so many.

    Raises:
        OutputError: a number is NaN or infinite.
    """
    found = kept(found, threshold, max_detections)
    numbers = found[:, 5].long().tolist()
    return [
        {"label": labels[number], "score": score, "box": dict(zip(CORNERS, corners, strict=True))}
        for number, score, corners in zip(numbers, found[:, 4].tolist(), in_picture(found[:, :4], sample).tolist(), strict=True)
    ]


def instances(
    found: Tensor, sample: "ImageSample", labels: list[str], threshold: float = THRESHOLD, max_detections: int = MOST_DETECTIONS
) -> list[dict]:
    """What an instance segmenter found -> `[{"label", "score", "mask"}, ...]`, best first; each mask a PNG of the size of the
    picture that was sent, white where the thing is. For the arguments and errors see `boxes`."""
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    found = kept(found, threshold, max_detections)
    corners = in_picture(found[:, :4], sample)
    side = round((found.shape[1] - 6) ** 0.5)
    answers = []
    for row, box in zip(found, corners, strict=True):  # one after the other: each is of the whole picture's size
        mask = paste_masks_in_image(row[6:].view(1, 1, side, side), box[None], (sample.height, sample.width))[0, 0]
        answers.append({"label": labels[int(row[5])], "score": float(row[4]), "mask": png((mask > 0.5).numpy())})
    return answers


def masks(logits: Tensor, sample: "ImageSample", labels: list[str], threshold: float = 0.0) -> list[dict]:
    """(1 + num_classes, H, W) logits -> `[{"label", "score", "mask"}, ...]` of the labels that are there, in their order.

    A mask is a PNG of the size of the picture that was sent, white where its label is likelier than all others and than the
    background, number 0; the score is its mean probability there. For the other arguments and the errors see `boxes`.
    """
    check(logits)
    height, width = sample.pixels.shape[1:]
    scores = logits.float().softmax(0)[:, :height, :width]  # without what collate has filled up
    best, number = None, torch.zeros(sample.height, sample.width, dtype=torch.int16)
    for place, score in enumerate(scores):  # one after the other: each is of the whole picture's size
        score = interpolate(score[None, None], (sample.height, sample.width), mode="bilinear")[0, 0]
        if best is None:
            best = score
        else:
            number[score > best] = place
            best = torch.maximum(best, score)
    given = [(label, number == place) for place, label in enumerate(labels, start=1)]
    answers = [
        {"label": label, "score": float(best[mask].mean()), "mask": png(mask.numpy())} for label, mask in given if mask.any()
    ]
    return [answer for answer in answers if answer["score"] >= threshold]


def kept(found: Tensor, threshold: float, max_detections: int) -> Tensor:
    """The rows that are answered with; those of score 0 only fill up."""
    check(found)
    found = found[found[:, 4] > 0]
    return found[found[:, 4] >= threshold][:max_detections]


def in_picture(corners: Tensor, sample: "ImageSample") -> Tensor:
    """(boxes, 4) in pixels of the sample -> in pixels of the picture that was sent, none beyond its edges."""
    height, width = sample.pixels.shape[1:]
    scale = torch.tensor([sample.width / width, sample.height / height] * 2)
    most = torch.tensor([sample.width, sample.height] * 2)
    return torch.minimum((corners * scale).clamp(min=0), most)


def png(pixels: np.ndarray) -> str:
    """(height, width) uint8, or bool for black and white -> a grey PNG in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def check(values: Tensor) -> None:
    if not values.isfinite().all():
        raise OutputError(NOT_FINITE)
