"""From a config to trained weights: LightningCLI, with the callbacks and loggers that every training has.

Knows nothing of what is written afterwards.
"""

import re
import sys
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from model_defs.build import SpecError

METRICS, EARLIER = "metrics.csv", "metrics-{}.csv"  # in a run's folder; what a training logged before it was resumed


class EpochLines(Callback):
    """One line an epoch: the progress where there is no terminal to draw a bar on."""

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.started = monotonic()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        values = {name: value for name, value in trainer.callback_metrics.items() if name.startswith(("train_", "val_"))}
        shown = ", ".join(f"{name} {values[name]:.4f}" for name in sorted(values, key=lambda name: ("loss" not in name, name)))
        passed = timedelta(seconds=round(monotonic() - self.started))
        if trainer.is_global_zero:
            print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: {shown} ({passed})", flush=True)


class Best(ModelCheckpoint):
    """The weights of the best epoch, which are what is kept."""


class Last(ModelCheckpoint):
    """`last.ckpt`: where a training that was interrupted goes on, in the middle of an epoch if need be.

    Args:
        seconds: between one and the next.
    """

    FILE = "last.ckpt"

    def __init__(self, seconds: float = 60):
        interval = timedelta(seconds=seconds)
        super().__init__(filename="last", train_time_interval=interval, enable_version_counter=False)


class CLI(LightningCLI):
    """The callbacks that every training has, with their keys at the top of the config: `--early_stopping.patience=5`.

    Args:
        runs: this config's folder for logs and checkpoints, with a folder in it for each training.
    """

    def __init__(self, *args: Any, runs: Path, **options: Any):
        self.runs = runs
        super().__init__(*args, **options)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--resume", action="store_true", help="go on where the last training of this config was interrupted")
        parser.add_lightning_class_args(Best, "checkpoint")
        parser.add_lightning_class_args(Last, "last")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        # The loss, not the accuracy: on a small validation split many epochs share the best accuracy, the first of them unsure.
        parser.set_defaults(
            {
                "checkpoint.monitor": "val_loss",
                "early_stopping.monitor": "val_loss",
                "early_stopping.patience": 8,
            }
        )

    def instantiate_classes(self) -> None:
        """
        Raises:
            SpecError: a logger whose package is not installed.
        """
        try:
            super().instantiate_classes()
        except ValueError as error:
            missing = re.search(r"class_path '[\w.]*?(\w+)':\s+Requirement '([\w-]+)", str(error))
            if missing is None:
                raise
            name, package = missing.groups()
            raise SpecError(f"{name} needs {package}, which is not installed: .venv/bin/pip install {package}") from error

    def instantiate_trainer(self, **options: Any) -> Trainer:
        """With its folder, which is the interrupted training's if that is to be resumed, and TensorBoard's and CSV's loggers
        before those of the config."""
        self.interrupted = newest_interrupted(self.runs) if self.config_init["resume"] else None
        version = self.interrupted.parents[1].name if self.interrupted else f"version_{next_number(self.runs)}"
        self.folder = self.runs / version
        given = self.config_init["trainer"]["logger"]
        given = [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, Logger)]
        where = {"save_dir": str(self.runs.parent), "name": self.runs.name, "version": version}
        trainer = super().instantiate_trainer(logger=[TensorBoardLogger(**where), CSVLogger(**where), *given], **options)
        for callback in trainer.checkpoint_callbacks:
            callback.dirpath = callback.dirpath or str(self.folder / "checkpoints")
        if self.interrupted and trainer.is_global_zero and (self.folder / METRICS).exists():  # the logger would remove it
            (self.folder / METRICS).rename(self.folder / EARLIER.format(len(list(self.folder.glob(EARLIER.format("*"))))))
        return trainer

    def logs(self) -> list[Path]:
        """What was logged of each epoch, as CSV: one file, or one for each time that it was resumed, in their order."""
        return [*sorted(self.folder.glob(EARLIER.format("*"))), self.folder / METRICS]

    def forget(self) -> None:
        """Once the training is done, there is nothing to resume."""
        (self.folder / "checkpoints" / Last.FILE).unlink(missing_ok=True)


def newest_interrupted(runs: Path) -> Path | None:
    """The checkpoint of the training that was interrupted last."""
    return max(runs.glob(f"version_*/checkpoints/{Last.FILE}"), key=lambda file: file.stat().st_mtime, default=None)


def next_number(runs: Path) -> int:
    found = (re.fullmatch(r"version_(\d+)", folder.name) for folder in runs.glob("version_*"))
    return max((int(match[1]) for match in found if match), default=-1) + 1


def read(config: Path, runs: Path, overrides: list[str]) -> CLI:
    """Build what the config says: the trainer, the task and the data.

    Args:
        config: a YAML file.
        runs: logs and checkpoints go to a folder in it that is named like the config.
        overrides: `--key=value`, for any key of the config.
    """
    name = config.stem
    is_terminal = sys.stdout.isatty()
    progress = RichProgressBar(leave=True) if is_terminal else EpochLines()
    return CLI(
        LightningModule,
        LightningDataModule,
        runs=runs / name,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=None,
        seed_everything_default=0,
        trainer_defaults={
            "callbacks": [progress, LearningRateMonitor()],
            "enable_progress_bar": is_terminal,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 10,
            "use_distributed_sampler": False,  # train/data/sampler.py shares the examples out, none of them twice
        },
        parser_kwargs={"prog": "python -m train", "usage": f"python -m train {name} [--key=value ...]; --help lists the keys"},
        args=[f"--config={config}", *overrides],
        run=False,
    )


def fit(cli: CLI) -> None:
    """Train; afterwards the CLI's model holds the best epoch's weights, in the process that writes the artifact.

    Raises:
        DataError: an example cannot be read.
        KeyboardInterrupt: somebody had enough.
    """
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.interrupted, weights_only=True)
    if cli.trainer.interrupted:
        raise KeyboardInterrupt
    if cli.trainer.is_global_zero:
        best = next(callback for callback in cli.trainer.checkpoint_callbacks if isinstance(callback, Best))
        state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
        cli.model.load_state_dict(state["state_dict"])
