"""Explanations of pictures: a map of pixels, laid over the picture that was sent."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from handlers.explain import render
from handlers.explain.method import Found, Unsuitable
from handlers.explain.subject import Subject, stacked
from handlers.explain.views import Dense, Parts, Rest, Scored, in_runs
from model_defs.errors import WrongValue
from model_defs.image_file import turn_upright

CELLS = 8  # of the grid of parts, along each axis
PER_RUN = 8  # pictures per run of the network
BASELINES = ("grey", "black", "white", "blur")
LEVELS = {"grey": 127.5, "black": 0.0, "white": 255.0}
CORNERS = ("xmin", "ymin", "xmax", "ymax")


class PictureSubject(Subject):
    """A label of a picture."""

    usual: ClassVar[tuple[str, ...]] = ("deep_lift", "integrated_gradients", "occlusion")

    def inputs(self) -> Tensor:
        """(1, C, H, W) float, in 0..255: what the network sees, its frame included."""
        return self.transform.collate([self.sample])[0].float().to(self.handler.device)

    def seen(self) -> tuple[int, int]:
        """Height and width of the picture within the frame, which begins in the upper left corner."""
        pixels = getattr(self.sample, "pixels", self.sample)
        return tuple(pixels.shape[-2:])

    def baseline(self, inputs: Tensor) -> Tensor:
        name = self.baseline_name(BASELINES[0])
        return blurred(inputs) if name == "blur" else torch.full_like(inputs, LEVELS[name])

    def dense(self) -> Dense:
        inputs = self.inputs()
        found = [self.transform.collate([sample])[0][0] for sample in self.background_samples()]
        return Dense(Scored(Rest(self.eager), self.score), inputs, self.baseline(inputs), stacked(found, inputs[0]))

    def parts(self) -> Parts:
        height, width = self.seen()
        return self.masked((min(CELLS, height), min(CELLS, width)))

    def masked(self, shape: tuple[int, int]) -> Parts:
        """The picture under masks of this shape, which are stretched over it. Where a mask is 0, the baseline is seen."""
        inputs, seen = self.inputs(), self.seen()
        baseline, kind = self.baseline(inputs), self.transform.collate([self.sample])[0].dtype

        def score(masks: Tensor) -> Tensor:
            stretched = interpolate(masks[:, None], seen, mode="nearest").to(inputs.device)
            whole = torch.ones(len(masks), 1, *inputs.shape[-2:], device=inputs.device)
            whole[..., : seen[0], : seen[1]] = stretched
            masked = baseline + whole * (inputs - baseline)
            return self.scores(masked.to(kind) if self.is_in_a_file else masked).float().cpu()

        return Parts(in_runs(score, PER_RUN), shape)

    def scores(self, pictures: Tensor) -> Tensor:
        """(N, C, H, W) -> (N,)."""
        return self.score(self.network((pictures,)))

    def units(self) -> Parts:
        return self.masked(self.seen())

    def unit_weights(self, found: Found) -> Tensor:
        return torch.from_numpy(self.pixel_map(found))

    def pixel_map(self, found: Found) -> np.ndarray:
        """(height, width) of the picture within the frame: each pixel's weight."""
        height, width = self.seen()
        values, needs = found.values, found.method.needs
        if needs == "forwards":
            weights = interpolate(values[None, None], (height, width), mode="nearest")[0, 0]
            return (weights * (values.numel() / (height * width) if found.method.is_additive else 1)).numpy()
        if needs == "layer":
            values = stretched(values, tuple(self.inputs().shape[-2:]), found.method.is_additive)
        return values.sum((0, 1))[:height, :width].numpy()

    def fields(self, found: Found) -> dict:
        """`heatmap` and `scale`, see `render.heatmap`; `region`: where the map lies in the picture that was sent, upright."""
        width, height = self.transform.size_of(self.payload())
        region = self.region(width, height)
        placed = {"region": dict(zip(CORNERS, region, strict=True))} if region else {}
        return render.heatmap(self.pixel_map(found)) | {"size": {"width": width, "height": height}} | placed

    def picture(self, found: Found) -> dict:
        """`picture`: a PNG of the map over the picture that was sent."""
        opened = self.transform.open(self.payload())
        opened.draft(None, (render.MAX_PIXELS, render.MAX_PIXELS))
        opened.load()
        if self.transform.is_upright:
            turn_upright(opened)
        region = self.region(*opened.size)
        if region is None:
            drawn = self.transform.draw(self.sample)
            opened = Image.fromarray(np.clip(drawn, 0, 255).astype(np.uint8))
            region = (0, 0, *opened.size)
        return {"picture": render.as_png(render.overlay(opened, self.pixel_map(found), region))}

    def region(self, width: int, height: int) -> tuple[float, float, float, float] | None:
        found = self.transform.region(width, height)
        return None if found is None else tuple(round(edge, 2) for edge in found)

    def payload(self) -> bytes:
        return self.request.payload


class SegmentSubject(PictureSubject):
    """A label of a segmentation. The other methods' maps are nearly the same under random weights, by measurement."""

    usual: ClassVar[tuple[str, ...]] = ("grad_cam", "occlusion")


class LabelledPicture(PictureSubject):
    """One of the labels with which a picture is compared. They are texts of the request, which stay as they are."""

    usual: ClassVar[tuple[str, ...]] = ("occlusion",)

    def scores(self, pictures: Tensor) -> Tensor:
        outputs = self.outputs([self.sample._replace(pixels=pixels) for pixels in pictures])
        return self.score(torch.cat(outputs))


def blurred(inputs: Tensor) -> Tensor:
    """The picture without details: the mean over a quarter of its side, three times."""
    size = max(1, min(inputs.shape[-2:]) // 8)
    for _ in range(3):
        inputs = avg_pool2d(inputs, 2 * size + 1, 1, size, count_include_pad=False)
    return inputs


def stretched(values: Tensor, size: tuple[int, int], keeps_sum: bool) -> Tensor:
    """A layer's (N, C, h, w) -> (N, 1, H, W).

    Raises:
        WrongValue: the layer's output has no height and width.
    """
    if values.dim() != 4:
        raise WrongValue(f"layer: its output, {tuple(values.shape)}, has no height and width; name a convolution")
    smaller = values.sum(1, keepdim=True)
    larger = interpolate(smaller, size, mode="bilinear", align_corners=False)
    total = larger.sum()
    return larger * (smaller.sum() / total) if keeps_sum and abs(total) > 1e-9 else larger


class FoundObject(PictureSubject):
    """One object that a detector found.

    Args:
        target: its row of the detector's output; `score` compares with it.
    """

    usual: ClassVar[tuple[str, ...]] = ("d_rise",)

    def parts(self) -> Parts:
        return self.masked(self.seen()) if self.parameters.method in (None, "d_rise") else super().parts()

    def dense(self) -> Dense:
        raise Unsuitable("a detector's choice of boxes has no gradients")


def chosen_object(target: int | str | None, answer: list[dict]) -> int:
    """The index of the object to explain: the best one, the one of that index, or the best of a label.

    Raises:
        WrongValue: nothing was found, or not this.
    """
    if not answer:
        raise WrongValue("nothing was found in this picture, so there is nothing to explain; send another")
    if target is None:
        return 0
    names = [entry["label"] for entry in answer]
    if isinstance(target, str) and target in names:
        return names.index(target)
    index = int(target) if isinstance(target, int) or (target.isascii() and target.isdigit()) else -1
    if not 0 <= index < len(answer):
        raise WrongValue(
            f"target {target!r}: {len(answer)} objects were found: {', '.join(names[:10])}; give a label or an index"
        )
    return index


def label_area(class_id: int, logits: Tensor, seen: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    """(N, 1 + num_classes, H, W) -> (N,): the label's mean probability where it is the best one now.

    Args:
        class_id: of the label; 0 is the background.
        logits: (1 + num_classes, H, W) of this picture. If the label is nowhere the best, the whole picture counts.
        seen: height and width of the picture within the frame.
    """
    area = torch.zeros(logits.shape[1:], dtype=torch.bool)
    area[: seen[0], : seen[1]] = True
    best = (logits.argmax(0) == class_id) & area
    area = best if best.any() else area
    return lambda found: found.softmax(1)[:, class_id].flatten(1)[:, area.flatten().to(found.device)].mean(1)
