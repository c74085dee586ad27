"""model_defs/command.py: an error is one line, and its traceback is in a file that the line names."""

import errno
import os
import re
from pathlib import Path

import pytest

from model_defs.command import MAX_LINES, reported
from model_defs.errors import BundleError, OwnCodeError, where


def said(error: BaseException, folder: Path) -> str | int:
    with pytest.raises(SystemExit) as ended, reported("train", folder):
        raise error
    return ended.value.code


def test_an_error_of_ours_is_its_own_message(tmp_path):
    assert said(BundleError("no such folder"), tmp_path) == "error: no such folder"
    assert not list(tmp_path.iterdir())


def test_the_traceback_of_any_other_error_is_in_a_file(tmp_path):
    line = said(ValueError("a width of 0\nand more"), tmp_path / "errors")
    assert re.fullmatch(r"error: ValueError: a width of 0; its traceback is in \S+/errors/train-[\d-]+\.txt", line)
    assert "Traceback (most recent call last)" in Path(line.rpartition(" ")[2]).read_text()


def test_the_traceback_of_the_users_own_code_is_in_a_file_too(tmp_path):
    with pytest.raises(SystemExit) as ended, reported("train", tmp_path):
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError as error:
            raise OwnCodeError(f"handlers.dna cannot be imported: {where(error)}") from error
    line = ended.value.code
    said = (
        r"error: handlers\.dna cannot be imported: ZeroDivisionError in test_command\.py:\d+: division by zero; its traceback is"
    )
    assert re.match(said, line) and "1 / 0" in Path(line.rpartition(" ")[2]).read_text()


def test_a_long_message_is_shortened_and_whole_in_a_file(tmp_path):
    whole = "\n".join(f"line {index}" for index in range(100))
    lines = said(BundleError(whole), tmp_path).splitlines()
    assert len(lines) == MAX_LINES + 1 and lines[-1].startswith("  and 80 more: ")
    (file,) = tmp_path.iterdir()
    assert str(file) in lines[-1] and file.read_text() == whole


def test_ctrl_c_is_status_130(tmp_path):
    assert said(KeyboardInterrupt(), tmp_path) == 130


def test_where_no_file_can_be_written_the_traceback_is_printed(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert said(ValueError("x"), tmp_path / "file").endswith("its traceback is in the lines above")
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "what_to_do"),
    [
        (errno.EACCES, "change its owner"),
        (errno.EROFS, "work in a copy"),
        (errno.ENOTDIR, "move it away"),
        (errno.ELOOP, "a link"),
    ],
)
def test_what_the_system_says_of_a_file_comes_with_what_to_do(number, what_to_do, tmp_path):
    line = said(OSError(number, os.strerror(number), "my runs/x"), tmp_path)
    assert line.startswith(f"error: my runs/x: {os.strerror(number)}; ") and what_to_do in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("I/O error: No space left on device (os error 28)")]
)
def test_a_full_disk_is_told_whoever_finds_it(error, tmp_path):
    assert said(error, tmp_path) == "error: No space left on device; free some space, and run it again"


def test_a_full_disk_is_told_if_closing_the_file_fails_too(tmp_path):
    """As torch does in what writes its checkpoints."""
    with (
        pytest.raises(SystemExit, match="File too large; raise the limit on the size of a file") as ended,
        reported("x", tmp_path),
    ):
        try:
            raise OSError(errno.EFBIG, "File too large")
        finally:
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 15040 vs 14928")
    assert "\n" not in ended.value.code
