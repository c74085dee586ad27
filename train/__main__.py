"""Train one model and write its artifact.

    python -m train digits                                   # train/configs/digits.yaml -> artifacts/digits/
    python -m train cifar10 --data.root=/pictures            # any key of the config can be given on the command line
    python -m train digits --model.network=model_defs.vision.TorchvisionClassifier --model.network.name=resnet18
    python -m train digits --resume                          # continue where a training was killed
    torchrun --nproc-per-node=4 -m train digits --trainer.devices=4 --trainer.strategy=ddp
    python -m train digits --help

LightningCLI reads the config and builds the objects. The artifact is the contract between training and serving: see
model_defs/artifact.py.
"""

import logging
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

from model_defs.artifact import MODEL, Artifact
from model_defs.errors import BundleError

CONFIGS, ARTIFACTS, RUNS = Path("train/configs"), Path("artifacts"), Path("runs")


def main(arguments: list[str], artifacts: Path = ARTIFACTS, runs: Path = RUNS) -> None:
    names = sorted(config.stem for config in CONFIGS.glob("*.yaml"))
    if not arguments or arguments[0] not in names:
        given = f"no config {arguments[0]!r} in {CONFIGS}/; " if arguments else ""
        sys.exit(f"{given}usage: python -m train NAME [--key=value ...], where NAME is one of: {', '.join(names)}")
    silence_libraries()

    try:
        artifact = train(arguments[0], arguments[1:], artifacts, runs)
    except BundleError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: no artifact was written; run it again to start over, or with --resume to go on")
    if artifact is None:
        return
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in artifact.metrics.items())
    print(f"{artifact.folder}/: {metrics} on {artifact.data['examples']['test']:,} test examples; pictures in its report/")


def train(name: str, overrides: list[str], artifacts: Path = ARTIFACTS, runs: Path = RUNS) -> Artifact | None:
    """Train what the config `name` says and write `artifacts/<name>/`, completely or not at all.

    Returns:
        The artifact. None in the other processes of a distributed training; the first one writes it.

    Raises:
        BundleError: a mistake in the config, or an example that cannot be read.
        KeyboardInterrupt: the user stopped the training.
    """
    from train.cli import build_cli
    from train.fit import fit
    from train.write import write_artifact

    cli = build_cli(CONFIGS / f"{name}.yaml", runs, overrides)
    is_first = cli.trainer.is_global_zero
    if is_first:
        check_replaces(artifacts / name, cli.datamodule.given_root)
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
    artifacts.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=artifacts) as staged:
        artifact = write_artifact(Path(staged) / name, cli)
        shutil.rmtree(artifacts / name, ignore_errors=True)  # only now: an interrupted training must leave the old one whole
        artifact.folder = artifact.folder.rename(artifacts / name)
    cli.forget_interruption()
    return artifact


def check_replaces(folder: Path, root: str | None) -> None:
    """Refuse to replace a model of the user's data by one of the config's own data. `make` trains again when a config has
    changed, and does not know DATA then.

    Raises:
        BundleError: the artifact in `folder` was trained on data that the user gave, and now none is given.
    """
    before = Artifact.read(folder).data.get("root") if (folder / MODEL).is_file() else None
    if before and root is None:
        raise BundleError(
            f"{folder}/ was trained on {before}, and now no data is given: train it again with DATA=<folder>, or remove {folder}/"
        )


def silence_libraries() -> None:
    """Hide Lightning's tips and the libraries' notices about each other: a user can do nothing about them."""
    warnings.filterwarnings("ignore", module=r"(lightning|torch|torchtext|torchmetrics|jsonargparse)\.")
    logging.disable(logging.INFO)


if __name__ == "__main__":
    main(sys.argv[1:])
