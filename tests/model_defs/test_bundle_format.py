"""model_defs/bundle_format.py: what the builder of archives and the server agree on."""

import subprocess
import sys

import pytest

from model_defs.bundle_format import SUMS, SumsError, read_sums
from serving import guard

DIGEST = "0" * 64


def test_it_is_imported_without_torch():
    loaded = "import sys, model_defs.bundle_format; print({'torch', 'numpy', 'msgspec'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_the_guard_which_imports_nothing_of_ours_has_the_same_name_for_the_sums():
    assert guard.SUMS == SUMS


def test_sums_are_read_as_sha256sum_writes_them(tmp_path):
    (tmp_path / SUMS).write_text(f"{DIGEST}  a-1.0.mar\n{'1' * 64} *b c-1.0.mar\n")
    assert read_sums(tmp_path / SUMS) == {"a-1.0.mar": DIGEST, "b c-1.0.mar": "1" * 64}


def test_no_file_is_no_archive(tmp_path):
    assert read_sums(tmp_path / SUMS) == {}


@pytest.mark.parametrize("text", [f"{DIGEST}  a-1.0.mar\n\n{DIGEST}  b-1.0.mar\n", f"{DIGEST}  a-1.0.mar\nwords\n"])
def test_an_empty_or_malformed_line_is_named(tmp_path, text):
    (tmp_path / SUMS).write_text(text)
    with pytest.raises(SumsError, match="SHA256SUMS:2: no SHA-256 and file name; mend or remove the line"):
        read_sums(tmp_path / SUMS)
