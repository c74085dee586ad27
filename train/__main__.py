"""Train one model and leave its artifact behind.

    python -m train digits                                   # train/configs/digits.yaml -> artifacts/digits/
    python -m train cifar10 --data.root=/pictures            # any key of the config can be given on the command line
    python -m train digits --model.network=model_defs.vision.TorchvisionClassifier --model.network.name=resnet18
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

CONFIGS, ARTIFACTS, RUNS = Path("train/configs"), Path("artifacts"), Path("runs")


def main(arguments: list[str]) -> None:
    names = sorted(config.stem for config in CONFIGS.glob("*.yaml"))
    if not arguments or arguments[0] not in names:
        given = f"no config {arguments[0]!r} in {CONFIGS}/; " if arguments else ""
        sys.exit(f"{given}usage: python -m train NAME [--key=value ...], where NAME is one of: {', '.join(names)}")
    quiet()
    from train.data.examples import DataError
    from train.fit import fit
    from train.write import write

    try:
        cli = fit(arguments[0], CONFIGS, RUNS, arguments[1:])
        ARTIFACTS.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{arguments[0]}-", dir=ARTIFACTS) as staged:
            artifact = write(Path(staged) / arguments[0], cli)
            final = ARTIFACTS / arguments[0]
            shutil.rmtree(final, ignore_errors=True)  # only now: an interrupted training leaves the old artifact whole
            artifact.folder.rename(final)
    except DataError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted: nothing was written; run it again to start over")
    figures = ", ".join(f"{name} {value:.4f}" for name, value in artifact.metrics.items())
    print(f"{final}/: {figures} on {artifact.data['examples']['test']:,} test examples; pictures in {final}/report/")


def quiet() -> None:
    """Only what the reader can act on: Lightning's tips and the libraries' notices about each other are not."""
    warnings.filterwarnings("ignore", module=r"(lightning|torch|torchtext|torchmetrics)\.")
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)


if __name__ == "__main__":
    main(sys.argv[1:])
