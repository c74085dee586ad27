"""archive/recipe.py: what TorchServe would ignore without a word is an error that names the line."""

from pathlib import Path

import pytest

from archive.recipe import RecipeError, read

RECIPES = sorted(Path("archive/recipes").glob("*.yaml"))
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
    """The message that a recipe is refused with, without its folder."""

    def complain(text: str) -> str:
        path = tmp_path / "digits.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(RecipeError) as caught:
            read(path)
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
        ("precision: fp32", "precision: fp23", "digits.yaml:9: 'handler.precision': invalid enum value 'fp23'"),
        ("precision: fp32", "decoders: 0", "digits.yaml:9: 'handler.decoders': expected `int` >= 1"),
        ("handler:", "deviceIds: [0, x]\nhandler:", "digits.yaml:7: 'deviceIds': expected `int`, got `str`"),
    ],
)
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


@pytest.mark.parametrize("text", ["", "- a list", "just words", "a: [", "handler: {class_path: x}"])
def test_what_is_no_recipe_is_refused_in_one_line_or_with_yamls_own_words(complaint, text):
    assert complaint(text).startswith("digits.yaml")


def test_a_recipe_that_is_not_there_says_which_are(tmp_path):
    (tmp_path / "digits.yaml").write_text(GOOD)
    with pytest.raises(RecipeError, match="did you mean 'digits'"):
        read(tmp_path / "digit.yaml")
