"""A Hugging Face folder, as `save_pretrained` writes it.

Its config.json says which task it is for; its own tokenizer or processor reads the inputs; the labels are its `id2label`, in
their own order. One more task is a module with a `read`, and a line in `TASKS`.
"""

import importlib
from typing import Any, NamedTuple

from importers import hugging_face_folder, labels
from importers.found import Found, ImportRefused, Question
from importers.hugging_face_folder import Folder, quiet

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
    count = outputs_of(config)
    names, source = labels_of(question, config, count) if task.has_labels else ([], "")
    hugging_face_folder.check_size(folder, count, task.auto_class)
    network = hugging_face_folder.load(folder, count)
    floats = {str(tensor.dtype).removeprefix("torch.") for tensor in folder.tensors.values() if tensor.is_floating_point()}
    lines = [
        f"{question.source}: {folder.kind}, {len(folder.tensors)} tensors: {type(network).__name__}"
        + (f" with {count} classes" if names else ""),
        *([labels.line(names, source)] if names else []),
        *(f"weights in {kind}: become float32" for kind in sorted(floats - {"float32"})),
    ]
    found = importlib.import_module(f"importers.{task.module}").read(question, folder, network, lines, names)
    found.flags += ("labels",) if task.has_labels else ()
    found.built.network.load_state_dict(network.state_dict())
    return found


class Task(NamedTuple):
    """A task of transformers.

    Args:
        module: in this package. Its `read(question, folder, network, lines, labels)` makes the model.
        suffix: of the name in `architectures`, for people.
        auto_class: in transformers.
        mapping: in transformers: which architecture each model type has for this task.
        has_labels: whether its outputs are the classes of `id2label`.
        has_one_label: whether an answer is one of them.
    """

    module: str
    suffix: str
    auto_class: str
    mapping: str
    has_labels: bool = True
    has_one_label: bool = True


TASKS = (
    Task(
        "hugging_face_audio", "ForAudioClassification", "AutoModelForAudioClassification",
        "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES",
    ),
    Task(
        "hugging_face_image", "ForImageClassification", "AutoModelForImageClassification",
        "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    ),
    Task(
        "hugging_face_text", "ForSequenceClassification", "AutoModelForSequenceClassification",
        "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    ),
    Task(
        "hugging_face_tokens", "ForTokenClassification", "AutoModelForTokenClassification",
        "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES", has_one_label=False,
    ),
    Task(
        "hugging_face_detection", "ForObjectDetection", "AutoModelForObjectDetection",
        "MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES", has_one_label=False,
    ),
    Task(
        "hugging_face_segmentation", "ForSemanticSegmentation", "AutoModelForSemanticSegmentation",
        "MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES", has_one_label=False,
    ),
    Task(
        "hugging_face_zero_shot", "CLIPModel", "AutoModelForZeroShotImageClassification",
        "MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES", has_labels=False, has_one_label=False,
    ),
    Task(
        "hugging_face_embeddings", "Model (embeddings of texts)", "AutoModel", "MODEL_MAPPING_NAMES",
        has_labels=False, has_one_label=False,
    ),
)  # fmt: skip


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
                if task.has_one_label:
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


def labels_of(question: Question, config: dict[str, Any], count: int) -> tuple[list[str], str]:
    """The labels and where they come from. COCO's have "N/A" several times; each gets its number."""
    named = labels.as_labels(config.get("id2label"))
    return labels.find(question, count, {"id2label": named and labels.numbered(named, "N/A")})


def outputs_of(config: dict[str, Any]) -> int:
    """The number of outputs: that of `id2label`, or `num_labels`, or 2, which is transformers' own default."""
    names = config.get("id2label")
    count = len(names) if isinstance(names, dict) and names else config.get("num_labels", 2)
    return count if isinstance(count, int) and 0 < count <= 1_000_000 else 2
