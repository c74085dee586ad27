"""Post-processing: from a network's output to an answer, in the shapes of huggingface_hub's InferenceClient.

The handlers answer with these functions, and training records the answers to its test set with them. Their keyword arguments and
defaults are those of a caller's parameters.
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
    from model_defs.vision import ImageSample  # imports torchvision, which a worker for texts does not need

TOP_K = 5
THRESHOLD = 0.5  # of a detection's score
MAX_DETECTIONS = 100
SCORES = {"softmax": lambda logits: logits.softmax(-1), "sigmoid": torch.sigmoid, "none": lambda logits: logits}
NOT_FINITE = "the model gave scores that are not finite numbers"
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def top(logits: Tensor, labels: list[str], top_k: int | None = TOP_K, function: str | None = None) -> list[dict]:
    """(num_classes,) logits -> `[{"label", "score"}, ...]`, best first, at most `top_k`.

    For (windows, num_classes) logits, a score is the mean over the windows' scores.

    Args:
        top_k: all labels if None.
        function: from logits to scores: "softmax", "sigmoid" or "none"; softmax if None.

    Raises:
        OutputError: a score is NaN or infinite, which JSON cannot express.
    """
    scores = SCORES[function or "softmax"](logits)
    scores, class_ids = (scores if scores.dim() == 1 else scores.mean(dim=0)).topk(min(top_k or len(labels), len(labels)))
    best = scores.tolist()
    if not all(map(math.isfinite, best)):  # torch's isfinite takes a tenth of a text's time, Python's does not
        raise OutputError(NOT_FINITE)
    return [{"label": labels[class_id], "score": score} for class_id, score in zip(class_ids.tolist(), best, strict=True)]


def value(output: Tensor) -> dict[str, float]:
    """A regressor's (1,) -> `{"value": 151.3}`.

    Raises:
        OutputError: it is not a finite number.
    """
    check_finite(output)
    return {"value": float(output)}


def forecast(output: Tensor, horizon: int | None = None) -> dict[str, list[float]]:
    """A forecaster's (steps,) -> `{"forecast": [...]}`, the next step first.

    Args:
        horizon: how many steps to answer; all if None.

    Raises:
        OutputError: one is not a finite number.
    """
    check_finite(output)
    return {"forecast": output[:horizon].tolist()}


def boxes(
    found: Tensor, sample: "ImageSample", labels: list[str], threshold: float = THRESHOLD, max_detections: int = MAX_DETECTIONS
) -> list[dict]:
    """A detector's output -> `[{"label", "score", "box": {"xmin", "ymin", "xmax", "ymax"}}, ...]`, best first.

    The answer's boxes are in pixels of the picture that was sent, upright.

    Args:
        found: (detections, 6 or more), as in `detection.Detector`. Its boxes are in pixels of the sample.
        sample: the network's input.
        threshold: the minimum score.
        max_detections: the maximum number of detections.

    Raises:
        OutputError: a number is NaN or infinite.
    """
    found = best_detections(found, threshold, max_detections)
    columns = (found[:, 5].long().tolist(), found[:, 4].tolist(), in_picture(found[:, :4], sample).tolist())
    return [
        {"label": labels[class_id], "score": score, "box": dict(zip(CORNERS, corners, strict=True))}
        for class_id, score, corners in zip(*columns, strict=True)
    ]


def by_label(answer: list[dict]) -> dict[str, float]:
    """A classifier's answer -> `{label: score, ...}`, as TorchServe's stock handler gives it."""
    return {each["label"]: each["score"] for each in answer}


def corners_by_label(answer: list[dict]) -> list[dict]:
    """A detector's answer -> `[{label: [xmin, ymin, xmax, ymax], "score": score}, ...]`, as TorchServe's stock handler."""
    return [{each["label"]: [each["box"][name] for name in CORNERS], "score": each["score"]} for each in answer]


def instances(
    found: Tensor, sample: "ImageSample", labels: list[str], threshold: float = THRESHOLD, max_detections: int = MAX_DETECTIONS
) -> list[dict]:
    """An instance segmenter's output -> `[{"label", "score", "mask"}, ...]`, best first.

    A mask is a PNG in base64, of the size of the picture that was sent, and white inside the instance. For the arguments and
    errors see `boxes`.
    """
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    found = best_detections(found, threshold, max_detections)
    corners = in_picture(found[:, :4], sample)
    side = round((found.shape[1] - 6) ** 0.5)
    answers = []
    for row, box in zip(found, corners, strict=True):  # one at a time: each mask is as large as the picture
        mask = paste_masks_in_image(row[6:].view(1, 1, side, side), box[None], (sample.height, sample.width))[0, 0]
        answers.append({"label": labels[int(row[5])], "score": float(row[4]), "mask": png_base64((mask > 0.5).numpy())})
    return answers


def masks(logits: Tensor, sample: "ImageSample", labels: list[str], threshold: float = 0.0) -> list[dict]:
    """(1 + num_classes, H, W) logits -> `[{"label", "score", "mask"}, ...]` for the labels that the picture has, in their order.

    A mask is a PNG in base64, of the size of the picture that was sent. It is white where its label is the most likely class; the
    background is class 0. The score is the mean probability inside the mask.

    Args:
        threshold: the minimum score.

    Raises:
        OutputError: a logit is NaN or infinite.
    """
    check_finite(logits)
    height, width = sample.pixels.shape[1:]
    scores = logits.float().softmax(0)[:, :height, :width]  # without the padding of the frame
    best, class_ids = None, torch.zeros(sample.height, sample.width, dtype=torch.int16)
    for class_id, score in enumerate(scores):  # one at a time: each is as large as the picture
        score = interpolate(score[None, None], (sample.height, sample.width), mode="bilinear")[0, 0]
        if best is None:
            best = score
        else:
            class_ids[score > best] = class_id
            best = torch.maximum(best, score)
    given = [(label, class_ids == class_id) for class_id, label in enumerate(labels, start=1)]
    answers = [
        {"label": label, "score": float(best[mask].mean()), "mask": png_base64(mask.numpy())}
        for label, mask in given
        if mask.any()
    ]
    return [answer for answer in answers if answer["score"] >= threshold]


def label_masks(logits: Tensor, sample: "ImageSample", labels: list[str], threshold: float = 0.0) -> list[dict]:
    """(num_classes, h, w) logits without a background -> as `masks`, for a network that has learned from logits at the size of
    the picture: these, not their probabilities, are interpolated, as transformers does.

    Raises:
        OutputError: a logit is NaN or infinite.
    """
    check_finite(logits)
    size = (sample.height, sample.width)
    class_ids, best = torch.zeros(size, dtype=torch.int32), torch.full(size, -math.inf)
    total = torch.full(size, -math.inf)  # the logarithm of the sum over the classes
    for class_id, logit in enumerate(logits.float()):  # one at a time: each is as large as the picture
        logit = interpolate(logit[None, None], size, mode="bilinear", align_corners=False)[0, 0]
        class_ids[logit > best] = class_id
        best, total = torch.maximum(best, logit), torch.logaddexp(total, logit)
    scores = (best - total).exp()
    given = [(label, class_ids == class_id) for class_id, label in enumerate(labels)]
    answers = [
        {"label": label, "score": float(scores[mask].mean()), "mask": png_base64(mask.numpy())}
        for label, mask in given
        if mask.any()
    ]
    return [answer for answer in answers if answer["score"] >= threshold]


def vector(output: Tensor) -> list[float]:
    """(size,) -> its numbers.

    Raises:
        OutputError: one is not a finite number.
    """
    check_finite(output)
    return output.tolist()


def best_detections(found: Tensor, threshold: float, max_detections: int) -> Tensor:
    """The rows to answer with. Rows of score 0 are padding."""
    check_finite(found)
    found = found[found[:, 4] > 0]
    return found[found[:, 4] >= threshold][:max_detections]


def in_picture(corners: Tensor, sample: "ImageSample") -> Tensor:
    """(boxes, 4) in pixels of the sample -> in pixels of the picture that was sent, clipped at its edges."""
    height, width = sample.pixels.shape[1:]
    scale = torch.tensor([sample.width / width, sample.height / height] * 2)
    most = torch.tensor([sample.width, sample.height] * 2)
    return torch.minimum((corners * scale).clamp(min=0), most)


def png_base64(pixels: np.ndarray) -> str:
    """(height, width) uint8, or bool for black and white -> a grey PNG in base64. `answer_diff.pixels` is the inverse."""
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def check_finite(values: Tensor) -> None:
    """
    Raises:
        OutputError: a value is NaN or infinite.
    """
    if not values.isfinite().all():
        raise OutputError(NOT_FINITE)
