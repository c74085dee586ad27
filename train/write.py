"""Write the artifact: weights, the test set's metrics, samples with their answers, and the report's pictures.

Network and transform are first written and read back, and then measured: in fp32 on the CPU, as they will be served.
"""

import math
from pathlib import Path

import torch

from model_defs import artifact as files
from model_defs.artifact import Artifact, Sample
from model_defs.metrics import measure
from train import report
from train.cli import TrainingCLI
from train.data.example import DataError, Example
from train.data.examples import Examples
from train.task import Task

MAX_SAMPLES = 8
MAX_CALIBRATION = 256  # training inputs for an int8 export
BATCH_SIZE = 16
NOT_KEPT = ("--data.root", "--resume")  # model.json says of the data which it was


def without_folder(argument: str) -> str:
    """`--key=/home/me/file` -> `--key=file`: what is archived and served says nothing of this machine's folders."""
    key, _, value = argument.partition("=")
    return f"{key}={Path(value).name}" if value.startswith("/") else argument


def write_artifact(folder: Path, cli: TrainingCLI) -> Artifact:
    """Write what `cli` has trained into `folder`."""
    task, data = cli.model, cli.datamodule
    artifact = Artifact(
        name=folder.name,
        network=task.spec,
        transform=task.hparams.transform,
        labels=task.labels,
        metrics={},
        data=described(data),
        versions=files.versions(task.spec["class_path"], task.hparams.transform["class_path"]),
        arguments=[without_folder(given) for given in cli.overrides if not given.startswith(NOT_KEPT)],
        folder=folder,
    )
    artifact.write(task.network, task.transform)

    examples = data.splits["test"]
    payloads = [example.read() for example in examples]
    given = answers(task, Artifact.read(folder), payloads)
    truths = [example.truth for example in examples]
    artifact.metrics = {name: measure(name)(given, truths) for name in task.metrics}
    for name, value in artifact.metrics.items():
        if not math.isfinite(value):
            raise DataError(
                f"{name} is {value} on the test set: the answers or the truths are not numbers; see the data's labels"
            )
    digits = len(str(len(examples) - 1))
    answered = [
        (Sample(f"{index:0{digits}}{example.suffix}", example.truth, answer), payload)
        for index, (example, payload, answer) in enumerate(zip(examples, payloads, given, strict=True))
    ]
    files.write_test_set(folder / files.TEST, answered)
    files.write_samples(folder / files.SAMPLES, chosen(task, answered))
    files.write_calibration(folder / files.CALIBRATION, spread(data.splits["train"]))
    artifact.write(task.network, task.transform)
    report.save_figures(folder / files.REPORT, {"curves.png": report.curves(cli.logs())} | task.figures(answered))
    return artifact


def described(data: Examples) -> dict:
    """What model.json says of the data. `root` is the name of the folder or file that the user gave, if any."""
    root = {"root": Path(data.given_root).absolute().name} if data.given_root else {}
    return {"source": type(data).__name__, **root, "sha256": data.fingerprint(), "examples": data.counts()}


def answers(task: Task, artifact: Artifact, payloads: list[bytes]) -> list:
    """The written artifact's answer to each input."""
    network, transform = artifact.build_network(), artifact.build_transform()
    given = []
    with torch.inference_mode():
        for start in range(0, len(payloads), BATCH_SIZE):
            samples = [transform(payload) for payload in payloads[start : start + BATCH_SIZE]]
            outputs = transform.outputs(lambda inputs: network(*inputs), samples)
            given += [task.answer(output, sample) for output, sample in zip(outputs, samples, strict=True)]
    return given


def chosen(task: Task, answered: list[tuple[Sample, bytes]]) -> list[tuple[Sample, bytes]]:
    """The first correct answer of each group, a few at most, so that the samples show what the model can do. If no answer is
    correct, the first input with any answer."""
    first = {task.group(sample): (sample, payload) for sample, payload in reversed(answered) if task.is_correct(sample)}
    return (
        sorted(first.values(), key=lambda pair: pair[0].file)[:MAX_SAMPLES]
        or sorted(answered, key=lambda pair: not pair[0].answer)[:1]
    )


def spread(examples: list[Example]) -> list[tuple[str, bytes]]:
    """(name, input) for every n-th training example, so that each label has its share."""
    chosen = examples[:: math.ceil(len(examples) / MAX_CALIBRATION)]
    return [(f"{index:03}{example.suffix}", example.read()) for index, example in enumerate(chosen)]
