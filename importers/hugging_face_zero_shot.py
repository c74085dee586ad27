"""A Hugging Face folder of CLIP: a picture is compared with labels that come with the request."""

import io
from pathlib import Path

from PIL import Image, ImageOps
from torch import Tensor, nn

from importers import labels
from importers.found import Found, ImportRefused, Question
from importers.hugging_face_folder import Folder, quiet
from importers.hugging_face_text import tokenizer_of
from model_defs.build import build
from model_defs.postprocess import top
from model_defs.transformers_clip import TEMPLATE
from model_defs.transformers_image import TORCHVISION

SERVED = "clip"  # the model_type


def read(question: Question, folder: Folder, network: nn.Module, lines: list[str], names: list[str]) -> Found:
    """
    Raises:
        ImportRefused: another model than CLIP, or no labels to try it with.
    """
    if folder.config["model_type"] != SERVED:
        raise ImportRefused(
            f"{folder.path}/config.json: zero-shot by {folder.config['model_type']} is not served; served is {SERVED}"
        )
    if not question.labels:
        raise ImportRefused(f"{folder.path}: give some labels, which are used where a request has none: {labels.WAY_OUT}")
    names = labels.read(Path(question.labels))
    tokenizer = tokenizer_of(folder)
    most, upright = network.config.text_config.max_position_embeddings, question.flags.upright is not False
    init_args = {"labels": names, "max_tokens": most, "upright": upright, "backend": question.flags.backend or TORCHVISION}
    pad = {"pad_token": tokenizer.pad_token} if tokenizer.pad_token else {}
    transform = {"class_path": "model_defs.transformers_clip.ZeroShotTransform", "init_args": init_args | pad}
    reads = build(transform)
    with quiet(folder.path):
        reads.load_processor(folder.path)
    reads.texts.written = tokenizer.backend_tokenizer.to_str()
    mean, std = reads.normalization()
    lines += [
        f"pictures: {type(reads.processor).__name__} of the folder; labels come with the request, as candidate_labels",
        labels.line(names, f"{question.labels}, for requests without any"),
    ]
    spec = {
        "class_path": "model_defs.transformers_clip.TransformersClip",
        "init_args": {"config": folder.config, "mean": mean, "std": std},
    }

    def reference(payload: bytes) -> Tensor:
        given = Image.open(io.BytesIO(payload))
        picture = (ImageOps.exif_transpose(given) if upright else given).convert("RGB")
        prompts = [TEMPLATE.format(name) for name in names]
        texts = tokenizer(prompts, padding=True, truncation=True, max_length=most, return_tensors="pt")
        return network(**texts, **reads.processor(picture, return_tensors="pt")).logits_per_image[0]

    return Found(
        lines=lines, network=spec, built=build(spec).eval(), transform=transform, reads=reads, labels=names,
        handler="handlers.zero_shot.ZeroShotImageClassifier", inputs="pictures", reference=reference,
        answer=lambda output, sample: top(output, sample.labels, top_k=None), flags=("labels", "upright", "backend"),
    )  # fmt: skip
