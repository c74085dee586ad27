"""Train, and take the weights of the best epoch."""

import math

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from train.callbacks import BestCheckpoint
from train.cli import TrainingCLI
from train.config_check import ConfigError, one_line

SHOWN = 200  # characters of a library's message
ADVICE = {  # what torch says -> what to do
    "Expected more than 1 value per channel": "a batch norm cannot learn from one example; give --data.batch_size=2 or more",
    "DataLoader worker": "a process that decodes has died, for lack of memory or of /dev/shm; give --data.num_workers=0",
    "out of memory": "give a smaller --data.batch_size",
}


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
    except (RuntimeError, ValueError) as error:
        if advice := next((advice for said, advice in ADVICE.items() if said in str(error)), None):
            raise ConfigError(f"{one_line(error)[:SHOWN]}: {advice}") from error
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
    if any(not tensor.isfinite().all() for tensor in state["state_dict"].values() if tensor.is_floating_point()):
        raise ConfigError(
            "the weights of the best epoch are not numbers: the training diverged; give a lower --model.learning_rate"
        )
    cli.model.load_state_dict(state["state_dict"])
