"""`make import`: what it lists, what it refuses in one line, what it leaves alone."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from importers import kinds
from importers.__main__ import main
from importers.found import ImportRefused
from tests.importers.conftest import picture


def test_alone_it_lists_the_kinds(capsys):
    main(["", ""])
    said = capsys.readouterr().out
    assert said.startswith("make import NAME=pets FROM=model.pth") and all(kind.what in said for kind in kinds.KINDS)


def test_every_kind_has_a_module_that_finds_it():
    for kind in kinds.KINDS:
        assert Path(f"importers/{kind.module}.py").is_file() and Path(f"tests/importers/test_{kind.module}.py").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pets"], "say which: make import NAME=pets FROM="),
        (["", "model.pth"], "say which"),
        (["pets", "model.pth"], "an archive proves itself by inputs"),
        (["1pets", "model.pth", "--try", "x"], "NAME: '1pets': a model's name is a letter"),
        (["tokens", "model.pth", "--try", "x"], "name begins with 'token'; take another, such as my_tokens"),
        (["digits", "model.pth", "--try", "x"], "trains a model of that name; take another name"),
        (["pets", "nowhere.pth", "--try", "x"], "FROM=nowhere.pth: no such file or folder"),
        (["pets", "docs", "--try", "x"], "a folder of no known kind; `make import` lists the kinds"),
        (["pets", "Makefile", "--try", "x"], "Makefile is not a file of weights"),
    ],
)
def test_a_mistake_gets_one_line_with_the_way_out(arguments, said):
    with pytest.raises(SystemExit, match=re.escape(said)) as caught:
        main(arguments)
    assert len(str(caught.value).splitlines()) == 1


def test_inputs_that_cannot_be_read_are_named(imported, owner):
    (owner / "photos" / "x.png").write_bytes(b"no picture")
    with pytest.raises(ImportRefused, match=r"TRY: x\.png: not a picture"):
        imported()
    with pytest.raises(ImportRefused, match="no such file or folder; give one input of yours"):
        imported(tried="nowhere")
    (owner / "empty").mkdir()
    with pytest.raises(ImportRefused, match="there is no input in it"):
        imported(tried="empty")


def test_the_recipe_is_the_owners_once_it_is_there(imported, project):
    folder = imported()
    recipe = project / "archive/recipes/pets.yaml"
    changed = recipe.read_text().replace("runtime: eager", "runtime: eager\n  tolerance: 0.002")
    recipe.write_text(changed)
    (folder / "stale").touch()
    imported()
    assert recipe.read_text() == changed and not (folder / "stale").exists()
    recipe.write_text("handler: {class_path: handlers.text.TextClassifier}")
    with pytest.raises(ImportRefused, match=r"has handlers\.text\.TextClassifier; this model needs handlers\.vision"):
        imported()


def test_a_recipe_says_only_what_differs_where_there_is_a_default(imported, project):
    (project / "archive/recipes").mkdir(parents=True)
    (project / "archive/recipes/default.yaml").touch()
    imported()
    assert list(yaml.safe_load((project / "archive/recipes/pets.yaml").read_text())) == ["handler"]


def test_a_trained_artifact_is_not_overwritten(imported, project):
    folder = project / "artifacts/pets"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text('{"data": {"source": "Pictures"}}')
    with pytest.raises(ImportRefused, match="was not imported; take another name, or remove what is there"):
        imported()


def test_an_answer_that_depends_on_its_neighbours_is_told(imported, project, capsys, monkeypatch):
    """As a spectrogram's loudest moment of the whole batch, or a batch norm left in training mode."""
    from model_defs.vision import TorchvisionClassifier

    plain = TorchvisionClassifier.forward
    monkeypatch.setattr(TorchvisionClassifier, "forward", lambda self, pixels: plain(self, pixels) * len(pixels))
    imported()
    assert "an answer depends on its neighbours in a batch (0.png" in capsys.readouterr().out
    assert yaml.safe_load((project / "archive/recipes/pets.yaml").read_text())["batchSize"] == 1


@pytest.mark.slow
def test_nothing_of_the_file_runs_in_the_whole_command(owner, tmp_path):
    mark = tmp_path / "mark"

    class Leaves:
        def __reduce__(self):
            return Path.touch, (mark,)

    torch.save({"state_dict": {"a": torch.ones(2)}, "x": Leaves()}, owner / "bad.pth")
    command = [sys.executable, "-m", "importers", "pets", str(owner / "bad.pth"), "--try", str(owner / "photos")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert "fit no network" in done.stderr and not mark.exists()


def test_one_picture_is_enough(imported, owner):
    (owner / "cat.png").write_bytes(picture(9))
    assert [each.name for each in (imported(tried="cat.png") / "samples").iterdir() if each.suffix == ".png"] == ["0.png"]
