import io
import logging

import pytest

from handlers.log import BufferedMetrics, OneLine


@pytest.mark.parametrize("character", ["\n", "\r\n", "\r", "\u2028", "\u2029", "\x85"])
def test_text_from_a_caller_never_starts_a_line(character):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine("%(levelname)s - %(message)s"))
    logger = logging.Logger("of this test")
    logger.addHandler(handler)
    try:
        raise ValueError(f"sent:{character}[METRICS]Fake:1")
    except ValueError:
        logger.exception("failed on %s", f"x{character}[PID]1")
    text = stream.getvalue()
    assert text.endswith("\n")
    assert len(text.splitlines()) == 1
    assert "Traceback" in text
    assert "[METRICS]Fake:1" in text


def test_lines_are_written_at_once_and_lines_outside_are_dropped():
    class Stream(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            return super().write(text)

    stream, logger = Stream(), logging.Logger("of this test")
    together = BufferedMetrics(stream)
    logger.addHandler(together)
    for first in ("a", "b"):
        with together:
            logger.warning("%s\nin one line", first)
            logger.warning("second")
        logger.warning("outside")
    assert stream.getvalue() == "a\\nin one line\nsecond\nb\\nin one line\nsecond\n" and stream.writes == 2
