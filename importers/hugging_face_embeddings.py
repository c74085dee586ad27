"""A Hugging Face folder without a head, or one of sentence-transformers: a text becomes a vector."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from importers.found import Found, ImportRefused, Question
from importers.hugging_face_folder import Folder, read_json, read_json_list
from importers.hugging_face_text import most_tokens, tokenizer_of, transform_of
from model_defs.build import build
from model_defs.postprocess import vector
from model_defs.transformers_embeddings import POOLINGS

MODULES, SETTINGS = "modules.json", "sentence_bert_config.json"  # of sentence-transformers
POOLED_BY = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max"}


def read(question: Question, folder: Folder, network: nn.Module, lines: list[str], names: list[str]) -> Found:
    """
    Raises:
        ImportRefused: nobody says how a text's tokens become one vector, or in a way that is not served.
    """
    pooling, normalize, limit = pooled(question, folder.path)
    tokenizer = tokenizer_of(folder)
    most = min(most_tokens(tokenizer, network, len(tokenizer)), limit or 1 << 30)
    transform, reads = transform_of("model_defs.transformer.SubwordTransform", tokenizer, most)
    length = ", of length 1" if normalize else ""
    lines.append(
        f"texts: {type(tokenizer).__name__} of the folder, the first {most:,} tokens -> one vector, by {pooling}{length}"
    )
    spec = {
        "class_path": "model_defs.transformers_embeddings.TransformersEmbedding",
        "init_args": {"config": folder.config, "pooling": pooling, "normalize": normalize},
    }

    def reference(payload: bytes) -> Tensor:
        hidden = network(**tokenizer(payload.decode(), truncation=True, max_length=most, return_tensors="pt"))[0][0]  # (n, size)
        one = {"mean": hidden.mean(0), "cls": hidden[0], "max": hidden.max(0).values}[pooling]
        return one / one.norm() if normalize else one

    return Found(
        lines=lines, network=spec, built=build(spec).eval(), transform=transform, reads=reads, labels=[],
        handler="handlers.embeddings.FeatureExtractor", inputs="texts", metric="", reference=reference,
        answer=lambda output, _: vector(output), flags=("pooling",),
    )  # fmt: skip


def pooled(question: Question, folder: Path) -> tuple[str, bool, int | None]:
    """(the pooling, whether vectors get the length 1, the most tokens), from sentence-transformers' files or from `--pooling`.

    Raises:
        ImportRefused: neither says it, or a step that is not served.
    """
    asked = question.flags.pooling
    if not (folder / MODULES).is_file():
        if not asked:
            raise ImportRefused(
                f"{folder} does not say how a text's tokens become one vector (no {MODULES} of sentence-transformers); say it: "
                f"ARGS='--pooling mean', or {' or '.join(POOLINGS[1:])}"
            )
        return asked, False, None
    steps = [(str(step.get("type", "")).rpartition(".")[2], step.get("path")) for step in modules(folder)]
    if [kind for kind, _ in steps] not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ImportRefused(
            f"{folder / MODULES}: {', '.join(kind for kind, _ in steps)}; served are Transformer, Pooling and perhaps Normalize"
        )
    modes = read_json(folder / Path(str(steps[1][1])).name / "config.json")
    chosen = [name for name, value in modes.items() if name.startswith("pooling_mode_") and value is True]
    if not asked and (len(chosen) != 1 or chosen[0] not in POOLED_BY):
        raise ImportRefused(
            f"{folder}: pooling {', '.join(chosen) or 'unknown'}; served are {', '.join(POOLINGS)}: ARGS='--pooling mean'"
        )
    settings: dict[str, Any] = read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    if settings.get("do_lower_case"):
        raise ImportRefused(f"{folder / SETTINGS}: do_lower_case; save the model with a tokenizer that lowers the case itself")
    most = settings.get("max_seq_length")
    return asked or POOLED_BY[chosen[0]], len(steps) == 3, most if isinstance(most, int) and most > 0 else None


def modules(folder: Path) -> list[dict[str, Any]]:
    return [step for step in read_json_list(folder / MODULES) if isinstance(step, dict)]
