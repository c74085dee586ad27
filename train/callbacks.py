"""The callbacks that every training has: progress, and the checkpoints of the best epoch and of an interrupted training."""

from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO


class EpochPrinter(Callback):
    """Prints one line per epoch: the progress where no terminal can show a bar."""

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.started = monotonic()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        values = {name: value for name, value in trainer.callback_metrics.items() if name.startswith(("train_", "val_"))}
        shown = ", ".join(f"{name} {values[name]:.4f}" for name in sorted(values, key=lambda name: ("loss" not in name, name)))
        passed = timedelta(seconds=round(monotonic() - self.started))
        if trainer.is_global_zero:
            print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}: {shown} ({passed})", flush=True)


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint next to its place, and then renames it: the file is whole or not there. Lightning's own writer goes
    through the system's temporary folder, which may be on another file system, where a move is a copy."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}.unfinished")
        try:
            torch.save(checkpoint, unfinished)
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)


class BestCheckpoint(ModelCheckpoint):
    """The weights of the best epoch; the artifact has these."""


class LastCheckpoint(ModelCheckpoint):
    """`last.ckpt`: `--resume` continues from it, also in the middle of an epoch.

    Args:
        seconds: between one and the next.
    """

    FILE = "last.ckpt"

    def __init__(self, seconds: float = 60):
        interval = timedelta(seconds=seconds)
        super().__init__(filename="last", train_time_interval=interval, enable_version_counter=False)
