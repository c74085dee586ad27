"""Train one model and write its artifact.

    python -m train digits                                   # train/configs/digits.yaml -> artifacts/digits/
    python -m train cifar10 --data.root=/pictures            # any key of the config can be given on the command line
    python -m train digits --model.network=model_defs.vision.TorchvisionClassifier --model.network.name=resnet18
    python -m train digits --resume                          # continue where a training was killed
    python -m train digits --if-missing                      # only if there is no artifact
    torchrun --nproc-per-node=4 -m train digits --trainer.devices=4 --trainer.strategy=ddp
    python -m train digits --help

LightningCLI reads the config and builds the objects. The artifact is the contract between training and serving: see
model_defs/artifact.py.
"""

import logging
import shlex
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

from model_defs.artifact import MODEL, Artifact, check_replaceable
from model_defs.bundle_format import fault_of_name
from model_defs.command import reported
from model_defs.errors import BundleError
from model_defs.metrics import chance, metric_loss

CONFIGS, ARTIFACTS, RUNS = Path("train/configs"), Path("artifacts"), Path("runs")
ERRORS = "errors"  # in the runs' folder
IF_MISSING = "--if-missing"  # make gives it where the target is not `train`


def main(arguments: list[str], artifacts: Path = ARTIFACTS, runs: Path = RUNS) -> None:
    names = sorted(config.stem for config in CONFIGS.glob("*.yaml"))
    if not arguments or arguments[0] not in names:
        given = f"no config {arguments[0]!r} in {CONFIGS}/; " if arguments else ""
        sys.exit(f"{given}usage: python -m train NAME [--key=value ...], where NAME is one of: {', '.join(names)}")
    silence_libraries()

    name, *overrides = arguments
    with reported("train", runs / ERRORS):
        check_name(name)
        if IF_MISSING in overrides and (artifacts / name / MODEL).is_file():
            print(unchanged(artifacts / name))
            return
        try:
            artifact = train(name, [given for given in overrides if given != IF_MISSING], artifacts, runs)
        except KeyboardInterrupt:
            sys.exit("interrupted: no artifact was written; run it again to start over, or with --resume to go on")
    if artifact is None:
        return
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in artifact.metrics.items())
    print(f"{artifact.folder}/: {metrics} on {artifact.data['examples']['test']:,} test examples; pictures in its report/")
    if line := learned_nothing(artifact):
        print(line)


def learned_nothing(artifact: Artifact) -> str | None:
    """What to say of a model whose first metric is no better than chance; None if it is better."""
    name, value = next(iter(artifact.metrics.items()))
    by_chance = chance(name, [sample.truth for sample, _ in artifact.test_set()])
    if metric_loss(name, by_chance, value) < 0:
        return None
    return f"it has learned nothing that shows: {name} {value:.4f} is no better than by chance, {by_chance:.4f}"


def check_name(name: str) -> None:
    """
    Raises:
        BundleError: no model can have this name; archives of digits-2 could not be told from those of digits.
    """
    if fault := fault_of_name(name):
        raise BundleError(f"{CONFIGS}/{name}.yaml, {fault}")


def unchanged(folder: Path) -> str:
    """What to say where the config is newer than the artifact, and nobody asked for a training."""
    given = given_with(Artifact.read(folder))
    how = f", which was trained with {given}," if given else ""
    return (
        f"{CONFIGS}/{folder.name}.yaml is newer than {folder}/{how} and the artifact stays as it is; "
        f"to train it again: make train MODEL={folder.name}{' ' + given if given else ''}"
    )


def given_with(artifact: Artifact) -> str:
    """The variables of make that the artifact was trained with."""
    variables = {"DATA": artifact.data.get("root", ""), "ARGS": shlex.join(artifact.arguments)}
    return " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items() if value)


def train(name: str, overrides: list[str], artifacts: Path = ARTIFACTS, runs: Path = RUNS) -> Artifact | None:
    """Train what the config `name` says and write `artifacts/<name>/`, completely or not at all.

    Returns:
        The artifact. None in the other processes of a distributed training; the first one writes it.

    Raises:
        BundleError: a mistake in the config, or an example that cannot be read.
        KeyboardInterrupt: the user stopped the training.
    """
    from train.cli import build_cli
    from train.config_check import check_built_in, check_given
    from train.fit import fit
    from train.write import write_artifact

    check_given(overrides)
    cli = build_cli(CONFIGS / f"{name}.yaml", runs, overrides)
    check_built_in(overrides, cli.datamodule)
    is_first = cli.trainer.is_global_zero
    if is_first:
        check_replaces(artifacts / name, cli.datamodule.given_root)
        artifacts.mkdir(parents=True, exist_ok=True)
        with staging(name, artifacts):
            pass  # found out now, not after hours: whether something can be written there
        if cli.config["resume"] and not cli.interrupted:
            print(f"nothing to resume in {runs / name}/: from the beginning")
        verb = f"resuming {cli.interrupted}" if cli.interrupted else f"training {name}"
        data = f" on {cli.datamodule.given_root}" if cli.datamodule.given_root else ""
        if cli.is_slow_bf16:
            print("this CPU has no bfloat16 instructions: training with 32 bits; --trainer.precision=bf16-mixed insists")
        print(f"{verb}{data}; its log: tensorboard --logdir {runs / name}", flush=True)
    fit(cli)
    if not is_first:
        return None
    with staging(name, artifacts) as staged:
        artifact = write_artifact(Path(staged) / name, cli)
        shutil.rmtree(artifacts / name, ignore_errors=True)  # only now: an interrupted training must leave the old one whole
        artifact.folder = artifact.folder.rename(artifacts / name)
    cli.forget_interruption()
    return artifact


def staging(name: str, artifacts: Path) -> tempfile.TemporaryDirectory:
    """The folder in which an artifact is written before it is renamed."""
    return tempfile.TemporaryDirectory(prefix=f".{name}-", dir=artifacts)


def check_replaces(folder: Path, root: str | None) -> None:
    """Refuse to replace a model of the user's data by one of the config's own data, or anything else of the user's.

    Raises:
        BundleError: the artifact in `folder` was trained on data that the user gave, and now none is given; or see
            `check_replaceable`.
    """
    check_replaceable(folder, [Path(root)] if root else [])
    if not (folder / MODEL).is_file():
        return
    before = Artifact.read(folder)
    if before.data.get("root") and root is None:
        raise BundleError(
            f"{folder}/ was trained with {given_with(before)}, and now no data is given: "
            f"train it again with DATA=<folder>, or remove {folder}/"
        )


def silence_libraries() -> None:
    """Hide Lightning's tips and the libraries' notices about each other: a user can do nothing about them."""
    warnings.filterwarnings("ignore", module=r"(lightning|torch|torchtext|torchmetrics|jsonargparse)\.")
    logging.disable(logging.INFO)


if __name__ == "__main__":
    main(sys.argv[1:])
