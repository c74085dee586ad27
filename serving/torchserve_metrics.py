"""TorchServe's own metrics, with the bundle's labels: `model` where TorchServe says `model_name` or `ModelName`, and so on."""

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

LABELS = {
    "ModelName": "model", "model_name": "model", "ModelVersion": "version", "model_version": "version",
    "WorkerName": "worker", "Reason": "reason", "Size": "size",
}  # fmt: skip
LEFT_OUT = {"Level", "Hostname", "hostname"}  # the first is the same everywhere; Prometheus adds the address as `instance`
BATCHES = "Batches"  # handlers/torchserve.py's counter of batches, by their size


def families(text: str) -> dict[str, Metric]:
    """TorchServe's text -> its families by their names."""
    return {family.name: renamed(family, text) for family in text_string_to_metric_families(text)}


def renamed(family: Metric, text: str) -> Metric:
    """The same with our labels. A counter whose name does not end in `_total` keeps it, so its type cannot be said."""
    is_odd = family.type == "counter" and f"# TYPE {family.name} counter" in text
    new = Metric(family.name, family.documentation, "untyped" if is_odd else family.type)
    for sample in family.samples:
        labels = {LABELS.get(name, name): value for name, value in sample.labels.items() if name not in LEFT_OUT}
        new.add_sample(family.name if is_odd else sample.name, labels, sample.value)
    return new


def batch_sizes(counted: Metric | None) -> Iterator[tuple[tuple[str, str], int, float]]:
    """The version, the size, and how many batches of that size it has had."""
    for sample in counted.samples if counted else ():
        yield (sample.labels["model"], sample.labels["version"]), int(sample.labels["size"]), sample.value
