"""serving/state.py: several processes may read and write the state directory at once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.state import RegisteredModel, StateDir, replace

HOLDER = """
import sys
from serving.state import StateDir
with StateDir(sys.argv[1]).lock("x"):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def home(tmp_path) -> StateDir:
    home = StateDir(tmp_path / ".torchserve")
    home.make()
    return home


def test_models_that_are_remembered_at_once_are_all_kept(home):
    def remember(index: int) -> None:
        StateDir(home.folder).remember(f"model-{index}", RegisteredModel("1.0", versions={"1.0": f"{index}"}))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(remember, range(64)))
    assert {name: known.versions["1.0"] for name, known in home.registered().items()} == {
        f"model-{index}": f"{index}" for index in range(64)
    }


def test_a_model_is_forgotten_and_the_others_are_kept(home):
    home.remember("a", RegisteredModel("1.0"))
    home.remember("b", RegisteredModel("2.0", previous="1.0"))
    home.remember("a", None)
    assert home.registered() == {"b": RegisteredModel("2.0", previous="1.0")}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"echo": 1}'])
def test_a_damaged_file_of_models_is_none(home, content):
    home.registered_file.write_text(content)
    assert home.registered() == {}


def test_a_file_that_many_write_at_once_is_always_one_of_what_they_wrote(tmp_path):
    file, contents = tmp_path / "file", {bytes([letter]) * 100_000 for letter in b"abcdefgh"}
    replace(file, min(contents))

    def write(content: bytes) -> None:
        for _ in range(20):
            replace(file, content)
            assert file.read_bytes() in contents

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, contents))
    assert list(tmp_path.iterdir()) == [file] and file.stat().st_mode & 0o777 == 0o600


def test_a_lock_waits_for_its_holder_and_not_for_one_that_was_killed(home):
    program = (
        "import sys; from serving.state import StateDir\nwith StateDir(sys.argv[1]).lock('x'): print('held', flush=True); input()"
    )
    command = [sys.executable, "-c", program, home.folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"held\n"
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as second:
            with home.lock("another"):
                pass
            first.kill()
            assert second.stdout.readline() == b"held\n"
            second.communicate(b"\n")
