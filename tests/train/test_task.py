"""train/task.py: the schedule; what is learned shows in test_write.py."""

import pytest

from train.task import one_cycle


def test_the_learning_rate_rises_in_a_line_and_falls_to_nothing():
    shares = [one_cycle(step, 100) for step in range(101)]
    assert max(shares) == shares[24] == 1.0
    assert shares[:25] == sorted(shares[:25])
    assert shares[24:] == sorted(shares[24:], reverse=True)
    assert shares[100] == pytest.approx(0)


def test_a_training_of_one_step_has_a_learning_rate():
    assert one_cycle(0, 1) == 1.0
