"""From a config to trained weights: LightningCLI, with the callbacks and loggers that every training has.

Knows nothing of what is written afterwards.
"""

import sys
from datetime import timedelta
from pathlib import Path
from time import monotonic

import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI


class EpochLines(Callback):
    """One line an epoch: the progress where there is no terminal to draw a bar on."""

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.started = monotonic()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        values = {name: value for name, value in trainer.callback_metrics.items() if name.startswith(("train_", "val_"))}
        shown = ", ".join(f"{name} {values[name]:.4f}" for name in sorted(values, key=lambda name: ("loss" not in name, name)))
        passed = timedelta(seconds=round(monotonic() - self.started))
        print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: {shown} ({passed})", flush=True)


class CLI(LightningCLI):
    """The callbacks that every training has, with their keys at the top of the config: `--early_stopping.patience=5`."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        # The loss, not the accuracy: on a small validation split many epochs share the best accuracy, the first of them unsure.
        parser.set_defaults(
            {
                "checkpoint.monitor": "val_loss",
                "early_stopping.monitor": "val_loss",
                "early_stopping.patience": 8,
            }
        )


def fit(config: Path, runs: Path, overrides: list[str]) -> CLI:
    """Train what the config says; afterwards the CLI's model holds the best epoch's weights.

    Args:
        config: a YAML file.
        runs: logs and checkpoints go to a folder in it that is named like the config.
        overrides: `--key=value`, for any key of the config.

    Raises:
        DataError: an example cannot be read.
    """
    name = config.stem
    is_terminal = sys.stdout.isatty()
    progress = RichProgressBar(leave=True) if is_terminal else EpochLines()
    cli = CLI(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=None,
        seed_everything_default=0,
        trainer_defaults={
            "logger": [
                {"class_path": logger, "init_args": {"save_dir": str(runs), "name": name}}
                for logger in ("TensorBoardLogger", "CSVLogger")
            ],
            "callbacks": [progress, LearningRateMonitor()],
            "enable_progress_bar": is_terminal,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 10,
        },
        parser_kwargs={"prog": "python -m train", "usage": f"python -m train {name} [--key=value ...]; --help lists the keys"},
        args=[f"--config={config}", *overrides],
        run=False,
    )
    print(f"training {name}; its log: tensorboard --logdir {runs / name}", flush=True)
    cli.trainer.fit(cli.model, cli.datamodule)
    if cli.trainer.interrupted:
        raise KeyboardInterrupt
    best = torch.load(cli.trainer.checkpoint_callback.best_model_path, map_location="cpu", weights_only=True)
    cli.model.load_state_dict(best["state_dict"])
    return cli
