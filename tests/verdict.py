"""The last lines of a run: what passed or failed, how to run a failed test again, and why tests were skipped.

A plugin of pytest.
"""

import time
from collections import Counter
from typing import Any

import pytest

STARTED = pytest.StashKey[float]()


def pytest_configure(config) -> None:
    config.stash[STARTED] = time.monotonic()


@pytest.hookimpl(wrapper=True, tryfirst=True)  # after the terminal's own summary
def pytest_sessionfinish(session) -> Any:
    result = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and not hasattr(session.config, "workerinput") and not session.config.option.collectonly:
        seconds = time.monotonic() - session.config.stash[STARTED]
        is_without_slow = "not slow" in (session.config.option.markexpr or "")
        for line in verdict(reporter.stats, seconds, is_without_slow):
            reporter.write_line(line)
    return result


def verdict(stats: dict[str, list], seconds: float, is_without_slow: bool) -> list[str]:
    """
    Args:
        stats: pytest's reports by their outcome.
        seconds: that the run took.
        is_without_slow: whether the run left the slow tests out.
    """
    count = {outcome: len(stats.get(outcome, [])) for outcome in ("passed", "failed", "error", "skipped")}
    took = f"in {seconds // 60:.0f} min {seconds % 60:.0f} s"
    lines = []
    if skipped := stats.get("skipped"):
        reasons = Counter(reason(report) for report in skipped)
        listed = "; ".join(f"{number} x {text}" for text, number in reasons.most_common())
        lines.append(f"skipped {count['skipped']}: {listed}")
    if is_without_slow:
        lines.append("slow tests did not run; make test-all runs them")
    if bad := [*stats.get("failed", []), *stats.get("error", [])]:
        lines.append(f"run one again: .venv/bin/python -m pytest '{bad[0].nodeid}'")
        lines.append(f"FAILED: {count['failed']} failed, {count['error']} errors, {count['passed']} passed {took}")
    elif count["passed"]:
        lines.append(f"PASSED: all {count['passed']} tests {took}")
    else:
        lines.append("NOTHING RAN")
    return lines


def reason(report) -> str:
    """Why a test was skipped."""
    longrepr = getattr(report, "longrepr", None)
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ")
