import pytest

from bench.goal import Goal, GoalError
from bench.load import Measured


def measured(clients: int, rate: float, p50: float, p99: float) -> Measured:
    return Measured(clients, 0, rate, p50, p99, {}, 0.1)


QUICK = [measured(1, 100, 9, 11), measured(4, 150, 25, 40), measured(16, 160, 100, 140)]
WIDE = [measured(1, 60, 16, 20), measured(4, 170, 22, 60), measured(16, 240, 60, 90)]


@pytest.mark.parametrize(
    ("goal", "better", "worse"),
    [("throughput", WIDE, QUICK), ("latency", QUICK, WIDE), ("p99<50ms", QUICK, WIDE), ("p99 < 100 ms", WIDE, QUICK)],
)
def test_a_goal_prefers_the_trial_that_suits_it(goal, better, worse):
    assert Goal(goal).score(better) > Goal(goal).score(worse)


def test_if_nothing_keeps_the_bound_the_nearest_wins():
    goal = Goal("p99<5ms")
    assert goal.score(QUICK) > goal.score(WIDE)
    assert goal.score(WIDE) < 0


@pytest.mark.parametrize("text", ["fast", "p99<50", "p95<50ms", ""])
def test_an_unknown_goal_is_an_error_that_lists_the_goals(text):
    with pytest.raises(GoalError, match=r"throughput, latency, or a bound such as \"p99<50ms\""):
        Goal(text)
