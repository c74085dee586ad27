"""`make import`: what it lists, what it refuses in one line, what it leaves alone."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from importers import inputs, kinds
from importers.__main__ import main, parser, run
from importers.found import ImportRefused, Question, check_flags
from importers.preprocessing import chosen
from model_defs.artifact import ArtifactError
from tests.importers.conftest import LABELS, picture


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
    with pytest.raises(ImportRefused, match=r"has handler handlers\.text\.TextClassifier; this model needs handlers\.vision"):
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


MEANINGLESS = [
    "--sample-rate 16000", "--seconds 2", "--grey", "--transform-input", "--pooling mean", "--backend pil",
    "--answer-as torchserve", "--trust 1a2b3c4d5e6f",
]  # fmt: skip


def test_a_flag_that_means_nothing_to_the_model_is_refused(owner):
    def flags(*given):
        return parser().parse_args(["pets", str(owner / "model.pth"), *given])

    found = kinds.find(Question("pets", owner / "model.pth", "", flags()))
    takes = "means nothing to this model of pictures, which takes LABELS, --key, --squash, --resize"
    for given in MEANINGLESS:
        with pytest.raises(ImportRefused, match=f"{given.split()[0]} {takes}"):
            check_flags(flags(*given.split()), flags(), found)
    check_flags(flags("--resize", "9", "--labels", "x", "--no-upright", "--tolerance", "0.1"), flags(), found)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--squash 224 --resize 256", "--squash and --resize both say the size"),
        ("--squash 0", "--squash from 1 to 4096"),
        ("--mean nan 0 0", "--mean and --std take 3 numbers each"),
        ("--std 0 1 1", "--mean and --std take 3 numbers each"),
    ],
)
def test_flags_that_no_picture_can_be_read_with_are_refused(flags, said):
    with pytest.raises(ImportRefused, match=said):
        chosen(parser().parse_args(flags.split()), {})


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--expect x --tolerance nan", "a number from 0 is expected"),
        ("--expect x --tolerance -1", "a number from 0 is expected"),
        ("--tolerance 0.1", "--tolerance is for the comparison with your own answers: give EXPECT"),
    ],
)
def test_a_tolerance_is_a_number_from_0_for_own_answers(flags, said, project):
    with pytest.raises(ImportRefused, match=said):
        run(parser().parse_args(["pets", "model.pth", "--try", "photos", *flags.split()]), project)


def test_what_is_left_out_of_the_inputs_is_said(imported, owner, capsys):
    for label in LABELS:
        (owner / "classes" / label / "more").mkdir(parents=True)
        (owner / "classes" / label / "a.png").write_bytes(picture(1))
    imported(tried="classes")
    said = "left out of TRY: the folder Golden Retriever/more, which lies in a class folder, the folder café crème/more, which"
    assert said in capsys.readouterr().out
    (owner / "photos" / "gone.png").symlink_to(owner / "nowhere")
    with pytest.raises(ImportRefused, match=r"gone\.png is no file, or a link to nothing; remove it"):
        imported()


def test_files_of_the_owners_in_the_artifacts_folder_are_not_lost(imported, owner, project):
    folder = project / "artifacts/pets"
    folder.mkdir(parents=True)
    (folder / "notes.txt").touch()
    with pytest.raises(ArtifactError, match=r"artifacts/pets is there and holds no artifact"):
        imported()
    (folder / "notes.txt").unlink()
    shutil.copy(owner / "model.pth", imported())
    with pytest.raises(ArtifactError, match=r"model\.pth lies in .*pets/, which is replaced as a whole: move it elsewhere"):
        imported(folder / "model.pth", "--labels", str(owner / "classes.txt"))
    assert (folder / "model.pth").is_file()


def test_a_damaged_model_json_is_not_taken_for_an_earlier_import(imported, project):
    (imported() / "model.json").write_text("{")
    with pytest.raises(ImportRefused, match="was not imported; take another name"):
        imported()


def test_a_recipe_that_is_there_is_said_and_must_fit(imported, project, capsys, monkeypatch):
    imported()
    imported()
    assert "pets.yaml was there, and stays as it is; next:" in capsys.readouterr().out
    monkeypatch.setattr("importers.answers.changed_by_neighbours", lambda *_: "0.png")
    with pytest.raises(ImportRefused, match=r"pets\.yaml has batchSize 8; this model needs 1: change it, or remove the file"):
        imported()


TABLE = "text,label\nwake me,alarm\nhow are you,chat\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("text,label\nwake me, at seven,alarm\n", "row 1 has 3 fields and the header 2: quote texts that hold commas"),
        ("text,label\nwake me\n", "row 1 has 1 fields"),
        ("text,text\na,b\n", "a CSV has the columns text,label"),
        ("text;label\na;alarm\n", "a CSV has the columns text,label"),
        ("", "a CSV has the columns text,label"),
    ],
)
def test_a_table_of_texts_that_would_be_read_in_part_is_refused(tmp_path, text, said):
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(ImportRefused, match=said):
        inputs.read(str(tmp_path / "own.csv"), ["alarm", "chat"], are_texts=True)


def test_a_table_of_texts_says_which_columns_it_leaves_out(tmp_path):
    (tmp_path / "own.CSV").write_text(TABLE.replace("label", "category"), encoding="utf-8-sig")
    found, left_out = inputs.read(str(tmp_path / "own.CSV"), ["alarm", "chat"], are_texts=True)
    assert [(each.payload, each.truth) for each in found] == [(b"wake me", None), (b"how are you", None)]
    assert left_out == ["the column 'category'"]
