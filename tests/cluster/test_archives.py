"""cluster/node/archives.py: an archive is fetched, compared, unpacked once, and its code is the only one in the process."""

import hashlib
import http.server
import os
import subprocess
import sys
import threading
import zipfile
from functools import partial
from pathlib import Path

import pytest

from cluster.node.archives import unpacked


@pytest.fixture
def archive(tmp_path) -> tuple[Path, str]:
    """An archive whose `handlers` says who it is, and its SHA-256."""
    file = tmp_path / "store" / "model-1.0.mar"
    file.parent.mkdir()
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr("handlers/__init__.py", "WHO = 'archive'")
        opened.writestr("model_defs/__init__.py", "")
    return file, hashlib.sha256(file.read_bytes()).hexdigest()


def test_an_archive_is_unpacked_once(archive, tmp_path):
    file, sha256 = archive
    folder = unpacked(str(file), sha256, tmp_path / "cache")
    assert (folder / "handlers/__init__.py").read_text() == "WHO = 'archive'"
    file.unlink()
    assert unpacked(str(file), sha256, tmp_path / "cache") == folder
    assert folder.parent.stat().st_mode & 0o77 == 0


def test_another_archive_than_the_configurations_is_refused_and_leaves_nothing(archive, tmp_path):
    file, _ = archive
    with pytest.raises(ValueError, match="not the archive of the configuration"):
        unpacked(str(file), "0" * 64, tmp_path / "cache")
    assert [each.name for each in (tmp_path / "cache").iterdir()] == [f".{'0' * 64}.lock"]


def test_a_missing_archive_says_its_name(tmp_path):
    with pytest.raises(OSError, match="model-9"):
        unpacked(str(tmp_path / "model-9.mar"), "0" * 64, tmp_path / "cache")


def test_an_archive_comes_from_a_url(archive, tmp_path):
    file, sha256 = archive
    assert (unpacked(f"file://{file}", sha256, tmp_path / "one") / "handlers").is_dir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=file.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/{file.name}"
        assert (unpacked(url, sha256, tmp_path / "two") / "handlers").is_dir()
        server.shutdown()


def test_replicas_that_start_at_once_unpack_it_once(archive, tmp_path):
    file, sha256 = archive
    call = f"unpacked({str(file)!r}, {sha256!r}, Path('cache'))"
    code = f"from pathlib import Path; from cluster.node.archives import unpacked; {call}"
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    started = [subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment) for _ in range(4)]
    assert [process.wait(60) for process in started] == [0, 0, 0, 0]
    assert sorted(each.name for each in (tmp_path / "cache").iterdir()) == [f".{sha256}.lock", sha256]


def using(archive: tuple[Path, str], tmp_path: Path, before: str = "", after: str = "") -> subprocess.CompletedProcess:
    """Let a new process use the archive. Another `handlers` is on its path, as a driver's folder would be."""
    other = tmp_path / "other" / "handlers"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("WHO = 'stranger'")
    code = f"""
import sys
sys.path.insert(0, {str(other.parent)!r})
{before}
from pathlib import Path
from cluster.node.archives import unpacked, use
use(unpacked({str(archive[0])!r}, {archive[1]!r}, Path("cache")))
{after}
import handlers
print(handlers.WHO)
"""
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )


def test_the_archives_own_code_comes_before_any_other(archive, tmp_path):
    assert using(archive, tmp_path).stdout == "archive\n"


def test_a_process_that_has_another_archives_code_already_is_refused(archive, tmp_path):
    done = using(archive, tmp_path, before="import handlers")
    assert done.returncode and "handlers was imported before the archive's own" in done.stderr


def test_code_that_would_come_from_elsewhere_is_refused(archive, tmp_path):
    file, _ = archive
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr("model_defs/__init__.py", "")  # an archive without handlers
    done = using((file, hashlib.sha256(file.read_bytes()).hexdigest()), tmp_path)
    assert done.returncode and "not from the archive" in done.stderr
