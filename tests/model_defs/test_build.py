import sys

import pytest

from model_defs.build import RENAMED, SpecError, build, complete, did_you_mean, find_class
from model_defs.errors import OwnCodeError
from model_defs.transform import Transform
from model_defs.vision import ImageTransform, SmallCNN


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("precison", ["precision", "threads"], "; did you mean 'precision'?"),
        ("xyz", ["b", "a"], "; known: a, b"),
        (3, ["a"], "; known: a"),
    ],
)
def test_the_nearest_name_is_offered_or_all_names(word, known, said):
    assert did_you_mean(word, known) == said


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_class_that_was_renamed_says_its_new_name(old, new):
    assert find_class(new, ("model_defs", "handlers")).__name__ == new.rpartition(".")[2]
    todo = "write that into the recipe" if old.startswith("handlers.") else "train the model again"
    with pytest.raises(SpecError, match=f"{old!r} is now called {new!r}: {todo}"):
        find_class(old, ("model_defs", "handlers"))


def test_a_class_is_found_by_its_path():
    assert find_class("model_defs.vision.SmallCNN") is SmallCNN
    assert find_class("model_defs.image_file.Transform") is Transform  # of the same package


@pytest.mark.parametrize("class_path", ["os.system", "subprocess.Popen", "torch.nn.Linear", "SmallCNN", "", ".vision.SmallCNN",
                                        "model_defs", "model_defsx.vision.SmallCNN", "handlers.base.Handler", None])  # fmt: skip
def test_a_class_outside_the_package_is_refused(class_path):
    with pytest.raises(SpecError, match="is outside model_defs: only classes from there travel in an archive"):
        find_class(class_path)


@pytest.mark.parametrize(
    ("class_path", "message"),
    [
        ("model_defs.vision.Tensor", "no class 'Tensor' in model_defs.vision"),
        ("model_defs.vision.Image", "no class 'Image'"),
        ("model_defs.vision.__class__", "no class '__class__'"),
        ("model_defs.vision.__loader__", "no class '__loader__'"),
        ("model_defs.build.importlib", "no class 'importlib' in model_defs.build"),
        ("model_defs.build.Iterable", "no class 'Iterable'"),
        ("model_defs.vision.flatten", "no class 'flatten'"),
        ("model_defs.vision.nn.Module", "no module 'model_defs.vision.nn'"),
        ("model_defs.build.importlib.import_module", "no module 'model_defs.build.importlib'"),
    ],
)
def test_a_name_that_a_module_only_imports_is_not_its_class(class_path, message):
    with pytest.raises(SpecError, match=message):
        find_class(class_path)


@pytest.mark.parametrize("module", ["model_defs.visoin", "model_defs.nothing.here", "model_defs."])
def test_a_module_that_does_not_exist_is_named(module):
    with pytest.raises(SpecError, match=f"no module {module!r}, named by class_path"):
        find_class(f"{module}.SmallCNN")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import torch\nimport no_such_package\n", r"ModuleNotFoundError in broken\.py:2: No module named 'no_such_package'"),
        ("import torch\nclass Net(\n", r"SyntaxError in broken\.py:2: '\(' was never closed"),
        ("from torch import Tensr\n", r"ImportError in broken\.py:1: cannot import name 'Tensr'"),
        ("x = 1\ny = x + undefined\n", r"NameError in broken\.py:2: name 'undefined' is not defined"),
        ("def f():\n    return 1 / 0\n\nclass Net:\n    at = f()\n", r"ZeroDivisionError in broken\.py:2: division by zero"),
    ],
)
def test_a_module_that_fails_names_its_line(tmp_path, monkeypatch, code, said):
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "broken.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_package", raising=False)
    with pytest.raises(OwnCodeError, match=rf"own_package\.broken cannot be imported: {said}"):
        find_class("own_package.broken.Net", ("own_package",))


def test_a_misspelt_class_gets_the_nearest_name():
    with pytest.raises(SpecError, match=r"no class 'SmalCNN' in model_defs\.vision; did you mean 'SmallCNN'"):
        find_class("model_defs.vision.SmalCNN")


def test_facts_fill_what_the_spec_leaves_out_or_none():
    spec = {"class_path": "model_defs.vision.SmallCNN", "init_args": {"width": 4, "channels": None}}
    assert complete(spec, {"num_classes": 3, "channels": 1, "vocab_size": 9}) == {
        "class_path": "model_defs.vision.SmallCNN",
        "init_args": {"num_classes": 3, "channels": 1, "width": 4},
    }
    assert spec["init_args"] == {"width": 4, "channels": None}


def test_what_the_spec_says_wins_over_the_facts():
    spec = {"class_path": "model_defs.vision.SmallCNN", "init_args": {"num_classes": 5}}
    assert complete(spec, {"num_classes": 3})["init_args"] == {"num_classes": 5}


@pytest.mark.parametrize(
    ("init_args", "message"),
    [
        ({"num_classes": 3, "widht": 4}, "model_defs.vision.SmallCNN takes no 'widht'; did you mean 'width'"),
        ({}, "model_defs.vision.SmallCNN needs 'num_classes', which neither the config nor the data gives"),
        (None, "needs 'num_classes'"),
    ],
)
def test_unknown_and_missing_arguments_are_named(init_args, message):
    with pytest.raises(SpecError, match=message):
        complete({"class_path": "model_defs.vision.SmallCNN", "init_args": init_args}, {})


def test_an_object_is_built_from_its_spec_alone():
    picture = build({"class_path": "model_defs.vision.ImageTransform", "init_args": {"size": 28, "mode": "L"}})
    assert isinstance(picture, ImageTransform)
    assert (picture.size, picture.mode) == (28, "L")
    assert isinstance(build({"class_path": "model_defs.vision.ImageTransform"}), ImageTransform)
