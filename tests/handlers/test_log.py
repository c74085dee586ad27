import io
import logging

import pytest

from handlers.log import OneLine


@pytest.mark.parametrize("character", ["\n", "\r\n", "\r", "\u2028", "\u2029", "\x85"])
def test_what_a_caller_sent_never_begins_a_line(character):
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
