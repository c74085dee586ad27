"""From a config to the trainer, the task and the data: LightningCLI, with the callbacks and loggers that every training has."""

import re
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from model_defs.errors import BundleError, OwnCodeError, where
from model_defs.yaml_keys import check_keys
from train.callbacks import BestCheckpoint, EpochPrinter, LastCheckpoint, WholeCheckpointIO
from train.config_check import ConfigError, check_modules, check_monitors, check_values, one_line, root_cause

CPU_FLAGS = Path("/proc/cpuinfo")
METRICS, EARLIER = "metrics.csv", "metrics-{}.csv"  # a run's log, and what it logged before it was resumed


class TrainingCLI(LightningCLI):
    """LightningCLI, with the keys of our callbacks at the top of the config: `--early_stopping.patience=5`.

    Args:
        runs: this config's folder for logs and checkpoints; each training has a folder in it.
    """

    def __init__(self, *args: Any, runs: Path, **options: Any):
        self.runs = runs
        self.overrides: list[str] = []  # what the command line adds to the config
        super().__init__(*args, **options)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--resume", action="store_true", help="go on where the last training of this config was interrupted")
        parser.add_lightning_class_args(BestCheckpoint, "checkpoint")
        parser.add_lightning_class_args(LastCheckpoint, "last")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        # The loss, not the accuracy: on a small validation split many epochs share the best accuracy, and the first of them is
        # unsure.
        parser.set_defaults(
            {
                "checkpoint.monitor": "val_loss",
                "early_stopping.monitor": "val_loss",
                "early_stopping.patience": 8,
            }
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """
        Raises:
            ConfigError: a key that does not exist, or a value that it cannot have.
        """
        _, *self.overrides = args
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            keys = [action.dest for action in parser._actions]
            raise ConfigError(one_line(error, keys)) from error
        check_values(self.config)
        asked = any(str(arg).startswith("--trainer.precision") for arg in args)
        self.is_slow_bf16 = not asked and is_slow_bf16(self.config.trainer)
        if self.is_slow_bf16:
            self.config.trainer.precision = "32-true"

    def instantiate_classes(self) -> None:
        """
        Raises:
            ConfigError: a class or the trainer does not take its values; or a logger's package is not installed.
        """
        try:
            super().instantiate_classes()
        except Exception as error:
            raise as_config_error(error) from error
        check_monitors(self.trainer.callbacks, getattr(self.model, "monitors", {}))

    def instantiate_trainer(self, **options: Any) -> Trainer:
        """The trainer with TensorBoard's and CSV's loggers, then those of the config. Its folder is a new one, or that of the
        training that is resumed."""
        self.interrupted = newest_interrupted(self.runs) if self.config_init["resume"] else None
        version = self.interrupted.parents[1].name if self.interrupted else f"version_{next_version(self.runs)}"
        self.folder = self.runs / version
        given = self.config_init["trainer"]["logger"]
        given = [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, Logger)]
        location = {"save_dir": str(self.runs.parent), "name": self.runs.name, "version": version}
        trainer = super().instantiate_trainer(logger=[TensorBoardLogger(**location), CSVLogger(**location), *given], **options)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeCheckpointIO()
        for callback in trainer.checkpoint_callbacks:
            callback.dirpath = callback.dirpath or str(self.folder / "checkpoints")
        if self.interrupted and trainer.is_global_zero and (self.folder / METRICS).exists():  # the logger would remove it
            (self.folder / METRICS).rename(self.folder / EARLIER.format(len(list(self.folder.glob(EARLIER.format("*"))))))
        return trainer

    def logs(self) -> list[Path]:
        """The CSV logs of this training: one, or one more each time that it was resumed, in their order."""
        return [*sorted(self.folder.glob(EARLIER.format("*"))), self.folder / METRICS]

    def forget_interruption(self) -> None:
        """Remove `last.ckpt`: a finished training cannot be resumed."""
        (self.folder / "checkpoints" / LastCheckpoint.FILE).unlink(missing_ok=True)


def as_config_error(error: Exception) -> BundleError:
    """The error of ours that caused it; or a ConfigError of one line."""
    if missing := re.search(r"class_path '[\w.]*?(\w+)':\s+Requirement '([\w-]+)", str(error)):
        name, package = missing.groups()
        return ConfigError(f"{name} needs {package}, which is not installed: .venv/bin/pip install {package}")
    cause = root_cause(error)
    if isinstance(cause, BundleError):
        return cause
    return OwnCodeError(where(cause)) if is_raised_here(cause) else ConfigError(one_line(cause))


def is_raised_here(error: BaseException) -> bool:
    """Whether a module of the project raised it, such as a data class of the user's own; not a library."""
    ours = {
        getattr(module, "__file__", None) for name, module in sys.modules.items() if name.startswith(("train.", "model_defs."))
    }
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename in ours


def is_slow_bf16(trainer: Any) -> bool:
    """Whether the config asks for bfloat16 on a CPU that has no instructions for it. There a training takes ten times longer."""
    is_cpu = trainer.accelerator == "cpu" or not torch.cuda.is_available()
    return str(trainer.precision).startswith("bf16") and is_cpu and not cpu_has_bf16()


def cpu_has_bf16() -> bool:
    """Linux names the instructions `avx512_bf16` and `amx_bf16` on x86, `bf16` on ARM."""
    flags = CPU_FLAGS.read_text(encoding="utf-8").split() if CPU_FLAGS.exists() else []
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)


def newest_interrupted(runs: Path) -> Path | None:
    """The checkpoint to resume: that of the newest training, if it was interrupted. Older ones were abandoned."""
    trained = [version for version in versions(runs) if any((runs / f"version_{version}" / "checkpoints").glob("*.ckpt"))]
    last = runs / f"version_{max(trained, default=0)}" / "checkpoints" / LastCheckpoint.FILE
    return last if last.exists() else None


def next_version(runs: Path) -> int:
    return max(versions(runs), default=-1) + 1


def versions(runs: Path) -> list[int]:
    found = (re.fullmatch(r"version_(\d+)", folder.name) for folder in runs.glob("version_*"))
    return [int(match[1]) for match in found if match]


def build_cli(config: Path, runs: Path, overrides: list[str]) -> TrainingCLI:
    """Build what the config names: the trainer, the task and the data.

    Args:
        config: a YAML file.
        runs: logs and checkpoints go to its folder with the config's name.
        overrides: `--key=value`, for any key of the config.

    Raises:
        BundleError: a mistake in the config or in the overrides, or a module that fails.
    """
    check_keys(config)
    check_modules("\n".join([config.read_text(encoding="utf-8", errors="replace"), *overrides]))
    name = config.stem
    is_terminal = sys.stdout.isatty()
    progress = RichProgressBar(leave=True) if is_terminal else EpochPrinter()
    return TrainingCLI(
        LightningModule,
        LightningDataModule,
        runs=runs / name,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=None,
        auto_configure_optimizers=False,  # the task makes its optimizer, once it has its network
        seed_everything_default=0,
        trainer_defaults={
            "callbacks": [progress, LearningRateMonitor()],
            "enable_progress_bar": is_terminal,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 10,
            "use_distributed_sampler": False,  # train/data/sampler.py shares the examples out, without repeating any
        },
        parser_kwargs={
            "prog": "python -m train",
            "usage": f"python -m train {name} [--key=value ...]; --help lists the keys",
            "exit_on_error": False,
        },
        args=[f"--config={config}", *overrides],
        run=False,
    )
