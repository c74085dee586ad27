"""Train one model and leave its artifact behind.

    python -m train digits                                   # train/configs/digits.yaml -> artifacts/digits/
    python -m train cifar10 --data.root=/pictures            # any key of the config can be given on the command line
    python -m train digits --model.network=model_defs.vision.TorchvisionClassifier --model.network.name=resnet18
    python -m train digits --resume                          # go on where a training was killed
    torchrun --nproc-per-node=4 -m train digits --trainer.devices=4 --trainer.strategy=ddp
    python -m train digits --help

LightningCLI reads the config and builds the objects; what it then writes is the contract between training and serving:
see model_defs/artifact.py. Knows nothing of any modality.
"""

import logging
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

from model_defs.artifact import Artifact
from model_defs.errors import BundleError

CONFIGS, ARTIFACTS, RUNS = Path("train/configs"), Path("artifacts"), Path("runs")


def main(arguments: list[str]) -> None:
    names = sorted(config.stem for config in CONFIGS.glob("*.yaml"))
    if not arguments or arguments[0] not in names:
        given = f"no config {arguments[0]!r} in {CONFIGS}/; " if arguments else ""
        sys.exit(f"{given}usage: python -m train NAME [--key=value ...], where NAME is one of: {', '.join(names)}")
    quiet()

    try:
        artifact = train(arguments[0], arguments[1:])
    except BundleError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: no artifact was written; run it again to start over, or with --resume to go on")
    if artifact is None:
        return
    figures = ", ".join(f"{name} {value:.4f}" for name, value in artifact.metrics.items())
    print(f"{artifact.folder}/: {figures} on {artifact.data['examples']['test']:,} test examples; pictures in its report/")


def train(name: str, overrides: list[str], artifacts: Path = ARTIFACTS, runs: Path = RUNS) -> Artifact | None:
    """Train what the config `name` says and write `artifacts/<name>/`, whole or not at all.

    Returns:
        The artifact; None in a process that learned with others, of which the first writes it.

    Raises:
        DataError: an example cannot be read.
        KeyboardInterrupt: somebody had enough.
    """
    from train.fit import fit, read
    from train.write import write

    cli = read(CONFIGS / f"{name}.yaml", runs, overrides)
    is_first = cli.trainer.is_global_zero
    if is_first:
        if cli.config["resume"] and not cli.interrupted:
            print(f"nothing to resume in {runs / name}/: from the beginning")
        how = f"resuming {cli.interrupted}" if cli.interrupted else f"training {name}"
        print(f"{how}; its log: tensorboard --logdir {runs / name}", flush=True)
    fit(cli)
    if not is_first:
        return None
    artifacts.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=artifacts) as staged:
        artifact = write(Path(staged) / name, cli)
        shutil.rmtree(artifacts / name, ignore_errors=True)  # only now: an interrupted training leaves the old one whole
        artifact.folder = artifact.folder.rename(artifacts / name)
    cli.forget()
    return artifact


def quiet() -> None:
    """Only what the reader can act on: Lightning's tips and the libraries' notices about each other are not."""
    warnings.filterwarnings("ignore", module=r"(lightning|torch|torchtext|torchmetrics|jsonargparse)\.")
    logging.disable(logging.INFO)


if __name__ == "__main__":
    main(sys.argv[1:])
