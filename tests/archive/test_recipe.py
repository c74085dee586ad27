"""archive/recipe.py: what TorchServe would ignore without a word is an error that names the line."""

from pathlib import Path

import pytest
import yaml

from archive.recipe import DEFAULT, RecipeError, complete, read

RECIPES = sorted({*Path("archive/recipes").glob("*.yaml")} - {Path("archive/recipes/default.yaml")})
GOOD = """\
minWorkers: 1
maxWorkers: 2
batchSize: 8
maxBatchDelay: 1
responseTimeout: 30
startupTimeout: 120
handler:
  class_path: handlers.vision.ImageClassifier
  precision: fp32
"""


@pytest.fixture
def complaint(tmp_path):
    """The message that a recipe is refused with, without its folder; `default` is the text of the default recipe."""

    def complain(text: str, default: str = "{}") -> str:
        path, shared = tmp_path / "digits.yaml", tmp_path / "default.yaml"
        path.write_text(text, encoding="utf-8")
        shared.write_text(default, encoding="utf-8")
        with pytest.raises(RecipeError) as caught:
            read(path, shared)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return complain


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_bundle_is_right(path):
    assert read(path).handler.class_path.startswith("handlers.")


def test_a_mistyped_handler_key_names_the_line_and_the_nearest_key(complaint):
    assert complaint(GOOD.replace("precision", "precison")) == "digits.yaml:9: unknown key 'precison'; did you mean 'precision'?"


def test_a_mistyped_torchserve_key_names_the_line_and_the_nearest_key(complaint):
    text = GOOD.replace("handler:", "jobQueuesize: 9\nhandler:")
    assert complaint(text) == "digits.yaml:7: unknown key 'jobQueuesize'; did you mean 'jobQueueSize'?"


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("batchSize: 8", "batchSize: '8'", "digits.yaml:3: 'batchSize': expected `int`, got `str`"),
        ("batchSize: 8", "batchSize: 0", "digits.yaml:3: 'batchSize': expected `int` >= 1"),
        ("maxBatchDelay: 1", "maxBatchDelay: 0", "digits.yaml:4: 'maxBatchDelay': expected `int` >= 1"),
        ("precision: fp32", "precision: fp23", "digits.yaml:9: runtime eager has no precision 'fp23'; did you mean 'fp32'?"),
        ("precision: fp32", "precision: 32", "digits.yaml:9: 'handler.precision': expected `str`, got `int`"),
        ("precision: fp32", "runtime: openvinno", "digits.yaml:9: no runtime 'openvinno'; did you mean 'openvino'?"),
        ("handler:", "deviceType: gpu\nhandler:\n  runtime: ncnn",
         "digits.yaml:7: runtime ncnn runs on the CPU only; write deviceType: cpu"),
        ("precision: fp32", "decoders: 0", "digits.yaml:9: 'handler.decoders': expected `int` >= 1"),
        ("handler:", "deviceType: cpu\ndeviceIds: [0]\nhandler:",
         "digits.yaml:8: deviceIds are of GPUs, and the recipe says deviceType: cpu; leave them out"),
        ("handler:", "deviceIds: [0, x]\nhandler:", "digits.yaml:7: 'deviceIds': expected `int`, got `str`"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_type_or_range_names_the_line(complaint, right, wrong, said):
    assert complaint(GOOD.replace(right, wrong)) == said


@pytest.mark.parametrize("key", ["minWorkers", "maxWorkers", "batchSize", "maxBatchDelay", "responseTimeout", "startupTimeout"])
def test_keys_whose_defaults_do_harm_must_be_said(complaint, key):
    text = "".join(line for line in GOOD.splitlines(keepends=True) if not line.startswith(key))
    assert f"{key!r} is missing" in complaint(text)


def test_more_workers_at_least_than_at_most_are_refused(complaint):
    assert complaint(GOOD.replace("minWorkers: 1", "minWorkers: 3")).startswith(
        "digits.yaml:2: maxWorkers 2 is less than minWorkers 3"
    )


def test_a_key_said_twice_names_both_lines(complaint):
    assert complaint(GOOD + "batchSize: 4\n") == "digits.yaml:10: 'batchSize' stands on line 3 already"


@pytest.mark.parametrize(
    "text", ["", "- a list", "just words", "a: [", "handler: {class_path: x}", "? [a]\n: b", "day: 2026-13-45"]
)
def test_what_is_no_recipe_is_refused_with_its_name(complaint, text):
    assert complaint(text).startswith("digits.yaml")


@pytest.mark.parametrize("text", ["batchSize: 4", "handler: {threads: 2}"])
def test_a_recipe_without_a_handler_says_how_to_name_one(complaint, text):
    said = complaint(text, GOOD.replace("  class_path: handlers.vision.ImageClassifier\n", ""))
    assert said == "digits.yaml:1: 'class_path' is missing: name a handler: `handler: {class_path: handlers.text.TextClassifier}`"


# --- the default recipe

LEAST = "handler:\n  class_path: handlers.text.TextClassifier\n"


def test_a_recipe_is_merged_into_the_default_key_by_key(tmp_path):
    path = tmp_path / "texts.yaml"
    path.write_text("batchSize: 4\nhandler:\n  class_path: handlers.text.TextClassifier\n  threads: 1\njobQueueSize: 9\n")
    shared = yaml.safe_load(DEFAULT.read_text())
    assert yaml.safe_load(complete(path)) == shared | {
        "batchSize": 4,
        "jobQueueSize": 9,
        "handler": {"runtime": "eager", "class_path": "handlers.text.TextClassifier", "threads": 1},
    }
    assert complete(path).startswith("minWorkers: 1\nmaxWorkers: 2\nbatchSize: 4\n")
    assert (read(path).batchSize, read(path).handler.threads, read(path).responseTimeout) == (4, 1, 30)


def test_the_default_says_what_torchserve_must_be_told():
    missing = {"minWorkers", "maxWorkers", "batchSize", "maxBatchDelay", "responseTimeout", "startupTimeout"}
    assert missing <= yaml.safe_load(DEFAULT.read_text()).keys()


def test_a_mistake_names_the_file_in_which_it_stands(complaint):
    assert complaint(LEAST, GOOD.replace("batchSize: 8", "batchSize: 0")) == "default.yaml:3: 'batchSize': expected `int` >= 1"
    assert complaint(LEAST + "batchSize: 0\n", GOOD) == "digits.yaml:3: 'batchSize': expected `int` >= 1"
    assert complaint(LEAST, GOOD + "quik: 1\n").startswith("default.yaml:10: unknown key 'quik'")
    assert complaint(LEAST + "  runtime: fast\n", GOOD).startswith("digits.yaml:3: no runtime 'fast'; known: compile, eager")


def test_a_conflict_of_both_files_names_the_own_one(complaint):
    assert complaint(LEAST + "minWorkers: 3\n", GOOD).startswith("digits.yaml:3: maxWorkers 2 is less than minWorkers 3")
    assert complaint(LEAST + "  runtime: ncnn\n", GOOD) == (
        "digits.yaml:1: runtime ncnn runs on the CPU only; write deviceType: cpu"
    )


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_says_only_what_differs(path):
    own, shared = (yaml.safe_load(file.read_text()) for file in (path, DEFAULT))
    assert not own.items() & {key: value for key, value in shared.items() if key != "handler"}.items()
    assert own["handler"].get("runtime") != "eager"


def test_a_recipe_that_is_not_there_says_which_are(tmp_path):
    (tmp_path / "digits.yaml").write_text(GOOD)
    (tmp_path / "default.yaml").write_text(GOOD)
    with pytest.raises(RecipeError, match="did you mean 'digits'"):
        read(tmp_path / "digit.yaml")
