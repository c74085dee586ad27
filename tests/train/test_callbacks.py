"""train/callbacks.py: a checkpoint is whole or not there."""

import pytest
import torch

from train.callbacks import WholeCheckpointIO


class Unwritable:
    def __reduce__(self):
        raise OSError(28, "No space left on device")


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path):
    file = tmp_path / "last.ckpt"
    WholeCheckpointIO().save_checkpoint({"step": torch.tensor(1)}, file)
    with pytest.raises(OSError, match="No space left"):
        WholeCheckpointIO().save_checkpoint({"step": Unwritable()}, file)
    assert torch.load(file, weights_only=True)["step"] == 1 and [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]
