"""Train, and take the weights of the best epoch."""

import math

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from train.callbacks import BestCheckpoint
from train.cli import TrainingCLI
from train.config_check import ConfigError, one_line


def fit(cli: TrainingCLI) -> None:
    """Train. Afterwards, in the process that writes the artifact, the CLI's model has the best epoch's weights.

    Raises:
        DataError: an example cannot be read.
        ConfigError: no epoch was validated, or the loss is not a number.
        KeyboardInterrupt: the user stopped the training.
    """
    try:
        cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.interrupted, weights_only=True)
    except SystemExit as stopped:  # what Lightning makes of Ctrl-C and SIGTERM; after SIGTERM the exit status would be 0
        raise KeyboardInterrupt from stopped
    except MisconfigurationException as error:
        raise ConfigError(one_line(error)) from error
    except RuntimeError as error:
        if cli.interrupted is None or "loading state_dict" not in str(error):
            raise
        raise ConfigError(
            f"{cli.interrupted} is of another network; give the config and data of that training, or no --resume"
        ) from error
    if cli.trainer.is_global_zero:
        load_best(cli)


def load_best(cli: TrainingCLI) -> None:
    best = next(callback for callback in cli.trainer.checkpoint_callbacks if isinstance(callback, BestCheckpoint))
    if not best.best_model_path:
        raise ConfigError("no epoch was trained and validated, so there is no best one to keep; train for longer")
    if not math.isfinite(best.best_model_score):
        raise ConfigError(
            f"{best.monitor} is {float(best.best_model_score)}: the training diverged; give a lower --model.learning_rate"
        )
    state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    cli.model.load_state_dict(state["state_dict"])
