"""From trained weights to the artifact: the test set's metrics, samples with their answers, and the report's pictures.

Every figure is that of the written artifact: network and transform are read back from it, in fp32 on the CPU, before they
meet the test set.
"""

import math
from pathlib import Path

import torch

from model_defs import artifact as files
from model_defs.artifact import Artifact, Sample
from model_defs.metrics import measure
from train import report
from train.data.examples import Example
from train.fit import CLI
from train.task import Task

MOST_SAMPLES = 8
MOST_CALIBRATION = 256  # training inputs that an int8 export sees
BATCH_SIZE = 16


def write(folder: Path, cli: CLI) -> Artifact:
    """Write the artifact of what `cli` has trained into `folder`."""
    task, data = cli.model, cli.datamodule
    artifact = Artifact(
        name=folder.name,
        network=task.spec,
        transform=task.hparams.transform,
        labels=task.labels,
        metrics={},
        data={"source": type(data).__name__, "sha256": data.fingerprint(), "examples": data.counts()},
        versions=files.versions(task.spec["class_path"], task.hparams.transform["class_path"]),
        folder=folder,
    )
    artifact.write(task.network, task.transform)

    examples = data.test_examples()
    payloads = [example.read() for example in examples]
    given = answers(task, Artifact.read(folder), payloads)
    truths = [example.truth for example in examples]
    artifact.metrics = {name: measure(name)(given, truths) for name in task.metrics}
    digits = len(str(len(examples) - 1))
    answered = [
        (Sample(f"{place:0{digits}}{example.suffix}", example.truth, answer), payload)
        for place, (example, payload, answer) in enumerate(zip(examples, payloads, given, strict=True))
    ]
    files.write_test_set(folder / files.TEST, answered)
    files.write_samples(folder / files.SAMPLES, chosen(task, answered))
    files.write_calibration(folder / files.CALIBRATION, spread(data.splits["train"]))
    artifact.write(task.network, task.transform)
    report.write(folder / files.REPORT, {"curves.png": report.curves(cli.logs())} | task.figures(answered))
    return artifact


def answers(task: Task, artifact: Artifact, payloads: list[bytes]) -> list:
    """What the written artifact answers each input."""
    network, transform = artifact.build_network(), artifact.build_transform()
    given = []
    with torch.inference_mode():
        for start in range(0, len(payloads), BATCH_SIZE):
            samples = [transform(payload) for payload in payloads[start : start + BATCH_SIZE]]
            outputs = transform.outputs(lambda inputs: network(*inputs), samples)
            given += [task.answer(output, sample) for output, sample in zip(outputs, samples, strict=True)]
    return given


def chosen(task: Task, answered: list[tuple[Sample, bytes]]) -> list[tuple[Sample, bytes]]:
    """The first right answer of each kind, so that the samples show what the model can do; at most a few. Where none is right,
    the first input that is answered with anything."""
    first = {task.kind(sample): (sample, payload) for sample, payload in reversed(answered) if task.is_right(sample)}
    return (
        sorted(first.values(), key=lambda pair: pair[0].file)[:MOST_SAMPLES]
        or sorted(answered, key=lambda pair: not pair[0].answer)[:1]
    )


def spread(examples: list[Example]) -> list[tuple[str, bytes]]:
    """Every n-th training input, so that each label has its share, under a name in their order."""
    chosen = examples[:: math.ceil(len(examples) / MOST_CALIBRATION)]
    return [(f"{place:03}{example.suffix}", example.read()) for place, example in enumerate(chosen)]
