"""tests/verdict.py: the last lines of a run, as a person reads them."""

from types import SimpleNamespace

from tests.verdict import verdict


def skip(reason: str) -> SimpleNamespace:
    return SimpleNamespace(nodeid="tests/x.py::test_y", longrepr=("tests/x.py", 7, f"Skipped: {reason}"))


def test_a_good_run_counts_its_tests_and_says_why_some_were_skipped():
    stats = {"passed": [None] * 3, "skipped": [skip("needs a GPU"), skip("no haproxy"), skip("needs a GPU")]}
    assert verdict(stats, 61, is_without_slow=True) == [
        "skipped 3: 2 x needs a GPU; 1 x no haproxy",
        "slow tests did not run; make test-all runs them",
        "PASSED: all 3 tests in 1 min 1 s",
    ]


def test_a_bad_run_says_how_to_run_one_of_its_failures_again():
    failed = SimpleNamespace(nodeid="tests/x.py::test_y[a b]")
    stats = {"passed": [None] * 3, "failed": [failed], "error": [failed]}
    assert verdict(stats, 0, is_without_slow=False) == [
        "run one again: .venv/bin/python -m pytest 'tests/x.py::test_y[a b]'",
        "FAILED: 1 failed, 1 errors, 3 passed in 0 min 0 s",
    ]


def test_a_run_without_tests_has_not_passed():
    assert verdict({}, 0, is_without_slow=False) == ["NOTHING RAN"]
