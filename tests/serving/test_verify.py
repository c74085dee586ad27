"""serving/verify.py: an archive that is not the one that was built is refused."""

import shutil

import pytest

from model_defs.bundle_format import MAX_SUMS
from serving.errors import ServerError
from serving.verify import SUMS, archives_of, sums, verify
from tests.serving.conftest import archive, sign


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    return archive(folder, folder / "store", "echo")


@pytest.fixture
def echo(built, tmp_path):
    """An archive that a test may change, alone in its store."""
    copied = shutil.copy(built, tmp_path)
    sign(copied := tmp_path / built.name)
    return copied


def test_the_archive_that_was_built_is_good(echo):
    verified = verify(echo)
    assert verified.sha256 == sums(echo.parent)["echo-1.0.mar"] and verified.data == "e" * 64


def test_one_changed_byte_is_noticed(echo):
    content = bytearray(echo.read_bytes())
    content[40] ^= 1
    echo.write_bytes(content)
    with pytest.raises(ServerError, match=r"echo-1\.0\.mar is not the one that was built: its SHA-256 begins [0-9a-f]{12}, not"):
        verify(echo)


def test_an_archive_from_elsewhere_is_not_hosted(echo):
    with pytest.raises(ServerError, match=r"other-1\.0\.mar is not in SHA256SUMS; build it here: make archive"):
        verify(echo.rename(echo.with_name("other-1.0.mar")))


def test_an_archive_under_another_name_is_not_hosted(echo):
    renamed = echo.rename(echo.with_name("echo-2.0.mar"))
    sign(renamed)
    with pytest.raises(ServerError, match=r"echo-2\.0\.mar: this is echo 1\.0, its manifest says"):
        verify(renamed)


def test_what_is_no_zip(tmp_path):
    (tmp_path / "x-1.0.mar").write_bytes(b"no zip")
    sign(tmp_path / "x-1.0.mar")
    with pytest.raises(ServerError, match=r"x-1\.0\.mar: no archive"):
        verify(tmp_path / "x-1.0.mar")


def test_a_folder_is_no_archive(echo):
    echo.unlink()
    echo.mkdir()
    with pytest.raises(ServerError, match="no such archive"):
        verify(echo)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x" * 10, r"SHA256SUMS:1: no SHA-256 and file name; mend or remove the line"),
        (f"{'0' * 64}  a-1.0.mar\n{'0' * 63}  b-1.0.mar\n", "SHA256SUMS:2: no SHA-256"),
        (f"{'0' * 64}  ../a-1.0.mar\n", "SHA256SUMS:1: no SHA-256"),
        (f"{'0' * 64}  a-1.0.mar\n{'1' * 64}  a-1.0.mar\n", r"SHA256SUMS:2: 'a-1\.0\.mar' stands there twice"),
        ("\udcff\udcfe", "SHA256SUMS:1: no SHA-256"),
        ("0" * (MAX_SUMS + 1), "longer than 1 MiB; remove it and build the archives again"),
    ],
)
def test_malformed_sums_name_the_line(tmp_path, text, said):
    (tmp_path / SUMS).write_text(text, errors="surrogateescape")
    with pytest.raises(ServerError, match=said):
        sums(tmp_path)


def test_a_store_is_all_that_it_has_and_all_that_it_should_have(echo):
    shutil.copy(echo, echo.with_name("unknown-1.0.mar"))
    gone = echo.with_name("gone-1.0.mar")
    shutil.copy(echo, gone)
    sign(gone)
    gone.unlink()
    assert [archive.name for archive in archives_of(echo.parent)] == ["echo-1.0.mar", "gone-1.0.mar", "unknown-1.0.mar"]
