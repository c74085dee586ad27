"""The Makefile: the commands that it would run in a folder that looks like the project."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from model_defs.bundle_format import version_order

AGES = (
    "train/configs/x.yaml",
    "archive/recipes/default.yaml",
    "archive/recipes/x.yaml",
    "handlers/one.py",
    "handlers/other.py",
    "requirements/train.txt",
    ".venv/.train",
    "artifacts/x/model.json",
)
OF_MAKE = ("MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "ARGS")


@pytest.fixture
def make(tmp_path):
    """`make -n` with these arguments; each file above is newer than the one before."""
    shutil.copy("Makefile", tmp_path)
    for age, name in enumerate(AGES):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file, (1_000_000 + age, 1_000_000 + age))
    (tmp_path / "model_store").mkdir()

    def run(*arguments: str, dry: bool = True) -> str:
        # Without the arguments of the `make test` that runs this test.
        environment = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
        done = subprocess.run(["make", *["-n"] * dry, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done.stdout + done.stderr

    run.folder = tmp_path
    return run


def archived(make, version: str, newer: bool) -> None:
    file = make.folder / "model_store" / f"x-{version}.mar"
    file.touch()
    os.utime(file, (2_000_000 if newer else 1_000, 2_000_000 if newer else 1_000))


def test_the_first_archive_is_version_1(make):
    assert "-m archive x --version 1.0" in make("archive", "MODEL=x")


def test_lint_test_and_test_all_in_one_make_run_each_test_once(make):
    """As .ci/run does."""
    for lock in ("dev", "ray", "torchtext", "clients"):
        (make.folder / "requirements" / f"{lock}.txt").touch()
    said = make("lint", "test", "test-all", "ARGS=--durations=25")
    runs = [line for line in said.splitlines() if "-m pytest" in line]
    assert sum('-m "not slow"' in run for run in runs) == sum("tests/torchtext" in run for run in runs) == 1
    assert [("tests/faults" in run, "--ignore=tests/faults" in run) for run in runs if "-m slow" in run] == [
        (True, True),
        (True, False),
    ]
    assert all("--durations=25" in run for run in runs)


def test_a_stale_newest_archive_is_built_again_and_an_older_one_never(make):
    """The older one is what a rollback brings back."""
    archived(make, "1.9", newer=False)
    archived(make, "1.10", newer=False)
    said = make("serve", "MODEL=x")
    assert "-m archive x --version 1.10" in said and "--version 1.9" not in said


def test_nothing_is_done_twice(make):
    archived(make, "1.0", newer=True)
    said = make("serve", "MODEL=x")
    assert "-m archive" not in said and "-m train" not in said and "-m serving start x" in said


def test_an_archive_is_built_again_for_its_own_code_alone(make):
    archived(make, "1.0", newer=True)
    listed = make.folder / "model_store/.deps/x-1.0.d"
    listed.parent.mkdir()
    listed.write_text("model_store/x-1.0.mar: handlers/one.py\nhandlers/one.py:\n")
    os.utime(make.folder / "handlers/other.py")
    assert "-m archive x" not in make("archive", "MODEL=x")
    os.utime(make.folder / "handlers/one.py")
    assert "-m archive x" in make("archive", "MODEL=x")


@pytest.mark.parametrize("file", ["handlers/other.py", "archive/recipes/default.yaml", "archive/recipes/x.yaml"])
def test_an_archive_without_a_list_of_its_code_depends_on_all_code(make, file):
    archived(make, "1.0", newer=True)
    assert "-m archive x" not in make("archive", "MODEL=x")
    os.utime(make.folder / file)
    assert "-m archive x" in make("archive", "MODEL=x")


def test_a_listed_file_that_is_gone_is_a_reason_to_build_again(make):
    archived(make, "1.0", newer=True)
    listed = make.folder / "model_store/.deps/x-1.0.d"
    listed.parent.mkdir()
    listed.write_text("model_store/x-1.0.mar: handlers/gone.py\nhandlers/gone.py:\n")
    assert "-m archive x" in make("archive", "MODEL=x")


def test_a_changed_config_or_given_data_trains_anew(make):
    assert "-m train" not in make("train", "MODEL=x")
    assert '-m train x --data.root="$DATA"' in make("train", "MODEL=x", "DATA=pictures")
    os.utime(make.folder / AGES[0])
    said = make("train", "MODEL=x")
    assert "-m train x" in said and "--if-missing" not in said


@pytest.mark.parametrize("target", ["archive", "serve", "register", "promote"])
def test_only_make_train_trains_over_an_artifact(make, target):
    os.utime(make.folder / AGES[0])
    assert "-m train x --if-missing" in make(target, "MODEL=x")


@pytest.mark.parametrize("data", ["my pictures", "Anna's", 'say "a"', "a$b", "a;b", "$(pwd)"])
def test_data_may_hold_any_character(make, data):
    python = make.folder / ".venv" / "bin" / "python"
    python.parent.mkdir(exist_ok=True)
    python.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    python.chmod(0o755)
    assert f"-m|train|x|--data.root={data}|--seed_everything=1|" in make(
        "-r", "train", "MODEL=x", f"DATA={data}", "ARGS=--seed_everything=1", dry=False
    )


def test_what_an_import_is_given_may_hold_any_character(make):
    python = make.folder / ".venv" / "bin" / "python"
    python.parent.mkdir(exist_ok=True)
    python.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    python.chmod(0o755)
    given = ["NAME=x", "FROM=my $m/a b.pth", "LABELS=$(pwd)", "TRY=a;b", 'EXPECT=say "a"']
    said = make("-r", "import", *given, "ARGS=--resize 9", dry=False)
    assert '-m|importers|x|my $m/a b.pth|--labels|$(pwd)|--try|a;b|--expect|say "a"|--resize|9|' in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "MODLE=x"], "make train reads no MODLE; it reads ARGS BASE DATA MODEL"),
        (["archive", "MODEL=x", "DATA=pictures"], "make archive reads no DATA; it reads MODEL VERSION"),
        (["rollback", "MODEL=x", "VERSION=1.0"], "make rollback reads no VERSION; it reads ARGS ENGINE MODEL"),
        (["clean", "MODEL=x"], "make clean reads no MODEL; it reads no variables"),
        (["bench", "MODEL=x"], "make bench reads no MODEL; it reads ARGS"),
        (["train", "MODEL=x", "--", "--trainer.max_epochs=3"], "make train reads no --trainer.max_epochs; it reads ARGS BASE"),
    ],
)
def test_a_variable_that_no_target_reads_is_refused(make, arguments, said):
    assert said in make(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [["train", "MODEL=x", "DATA="], ["promote", "MODEL=x", "VERSION= "], ["predict", "MODEL="], ["import", "NAME=x", "EXPECT="]],
)
def test_an_empty_value_is_no_value_left_out(make, arguments):
    """It is what the shell makes of a variable that is not set: the example's own data would be trained on."""
    assert f"*** {arguments[-1].partition('=')[0]}= is empty; give it a value, or leave it out" in make(*arguments)


def test_a_server_and_a_node_start_without_a_model(make):
    (make.folder / "requirements" / "ray.txt").touch()
    assert make("serve", "MODEL=").split()[-3:] == ["-m", "serving", "start"]
    assert make("cluster-start", "MODEL=").split()[-3:] == ["-m", "cluster", "start"]


def test_an_extra_that_is_not_there_says_which_are(make):
    (make.folder / "requirements" / "timm.txt").touch()
    assert "EXTRAS=timn: no extra timn; there are clients timm torchtext" in make("setup", "EXTRAS=timn")


def test_every_target_says_which_variables_it_reads():
    makefile = Path("Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"^\.PHONY: (.*)$", makefile, re.M)[1].split()) - {"FORCE"}
    table = re.search(r"^reads := ((?:.*\\\n)*.*)$", makefile, re.M)[1].replace("\\\n", " ")
    assert {entry.partition(":")[0] for entry in table.split()} == targets


# In their order.
VERSIONS = ["1.0-rc1", "1.0", "1.0+gpu", "1.0.0-rc1", "1.0.0-rc10", "1.0.0", "1.9", "1.10.dev1", "1.10", "2.0rc1", "2.0"]


@pytest.mark.parametrize("count", range(1, len(VERSIONS) + 1))
def test_the_newest_version_is_the_one_that_the_server_takes(make, count):
    for version in [*VERSIONS[:count], "x-3.0", "3-1.0"]:
        archived(make, version, newer=False)
    assert f"-m archive x --version {VERSIONS[count - 1]}\n" in make("archive", "MODEL=x")
    assert sorted(VERSIONS[::-1], key=version_order) == VERSIONS


def test_a_model_that_is_not_there_says_which_are(make):
    assert "no train/configs/y.yaml; there are: x" in make("train", "MODEL=y")


def test_torchtext_is_installed_and_trains_in_its_own_environment(make):
    (make.folder / "requirements" / "torchtext.txt").touch()
    (make.folder / "requirements" / "ncnn.txt").touch()
    install = "requirements/install.sh .venv-torchtext requirements/torchtext.txt 3.11 3.12"
    said = make("setup", "EXTRAS=torchtext ncnn")
    assert install in said and "requirements/install.sh .venv requirements/ncnn.txt" in said
    said = make("train", "MODEL=x", "BASE=torchtext")
    assert said.index(install) < said.index(".venv-torchtext/bin/python -m train x")


def test_an_unknown_base_is_one_clear_line(make):
    assert "BASE=torch1: give BASE=torchtext, or leave it out" in make("train", "MODEL=x", "BASE=torch1")


def test_an_imported_model_needs_no_config_to_be_served(make):
    (make.folder / AGES[0]).unlink()
    said = make("serve", "MODEL=x")
    assert "-m archive x --version 1.0" in said and "-m serving start x" in said and "-m train" not in said


def test_a_model_that_is_not_there_leads_to_make_import(make):
    assert "make import NAME=y FROM=model.pth" in make("archive", "MODEL=y")
