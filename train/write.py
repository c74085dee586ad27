"""From trained weights to the artifact: the test set's metrics, samples with their answers, and the report's pictures.

Every figure is that of the written artifact: network and transform are read back from it, in fp32 on the CPU, before they
meet the test set.
"""

import math
from pathlib import Path

import torch
from lightning.pytorch.cli import LightningCLI
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score

from model_defs import artifact as files
from model_defs.artifact import Artifact, Sample
from train import report
from train.data.examples import Example

MOST_SAMPLES = 8
MOST_CALIBRATION = 256  # training inputs that an int8 export sees
BATCH_SIZE = 64


def write(folder: Path, cli: LightningCLI) -> Artifact:
    """Write the artifact of what `cli` has trained into `folder`."""
    task, data = cli.model, cli.datamodule
    artifact = Artifact(
        name=folder.name,
        network=task.spec,
        transform=task.hparams.transform,
        labels=task.labels,
        metrics={},
        data={"source": type(data).__name__, "sha256": data.fingerprint(), "examples": data.counts()},
        versions=files.versions(),
        folder=folder,
    )
    artifact.write(task.network, task.transform)

    examples = data.test_examples()
    payloads = [example.read() for example in examples]
    logits = predict(Artifact.read(folder), payloads)  # (test examples, num_classes)
    targets = torch.tensor([task.labels.index(example.label) for example in examples])
    scores, answers = logits.softmax(-1).max(-1)
    artifact.metrics = {
        "accuracy": float(multiclass_accuracy(logits, targets, len(task.labels), average="micro")),
        "f1": float(multiclass_f1_score(logits, targets, len(task.labels), average="macro")),
    }
    digits = len(str(len(examples) - 1))
    answered = [
        (Sample(f"{place:0{digits}}{example.suffix}", example.label, task.labels[answer], score), payload)
        for place, (example, payload, answer, score) in enumerate(
            zip(examples, payloads, answers.tolist(), scores.tolist(), strict=True)
        )
    ]
    files.write_test_set(folder / files.TEST, answered)
    files.write_samples(folder / files.SAMPLES, chosen(answered))
    files.write_calibration(folder / files.CALIBRATION, spread(data.splits["train"]))
    artifact.write(task.network, task.transform)
    report.draw(folder / files.REPORT, artifact, answered, Path(cli.trainer.loggers[-1].log_dir) / "metrics.csv")
    return artifact


def predict(artifact: Artifact, payloads: list[bytes]) -> Tensor:
    """-> (payloads, num_classes) logits, float32."""
    network, transform = artifact.build_network(), artifact.build_transform()
    with torch.inference_mode():
        batches = [
            network(*transform.collate([transform(payload) for payload in payloads[start : start + BATCH_SIZE]]))
            for start in range(0, len(payloads), BATCH_SIZE)
        ]
    return torch.cat(batches)


def chosen(answered: list[tuple[Sample, bytes]]) -> list[tuple[Sample, bytes]]:
    """The first right answer of each label, so that the samples show what the model can do; at most a few."""
    first = {sample.label: (sample, payload) for sample, payload in reversed(answered) if sample.answer == sample.label}
    return sorted(first.values(), key=lambda pair: pair[0].file)[:MOST_SAMPLES] or answered[:1]


def spread(examples: list[Example]) -> list[tuple[str, bytes]]:
    """Every n-th training input, so that each label has its share, under a name in their order."""
    chosen = examples[:: math.ceil(len(examples) / MOST_CALIBRATION)]
    return [(f"{place:03}{example.suffix}", example.read()) for place, example in enumerate(chosen)]
