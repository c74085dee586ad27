"""archive/recipe_schema.py: an archive's schema knows the handlers and runtimes that the archive holds."""

import jsonschema
import pytest

from archive.recipe_schema import handler_classes, schema

HELD = ["handlers.base", "handlers.text", "handlers.runtimes.eager", "handlers.runtimes.onnxruntime", "model_defs.text"]
RECIPE = {key: 1 for key in ("minWorkers", "maxWorkers", "batchSize", "maxBatchDelay", "responseTimeout", "startupTimeout")}


def test_the_schema_lists_what_the_archive_holds():
    section = schema(HELD)["$defs"]["Settings"]
    assert section["properties"]["class_path"]["enum"] == ["handlers.text.TextClassifier"]
    assert section["properties"]["runtime"]["enum"] == ["eager", "onnxruntime"]
    assert section["properties"]["precision"]["enum"] == ["bf16", "fp16", "fp32", "int8"]


@pytest.mark.parametrize(
    ("handler", "is_right"),
    [
        ({"class_path": "handlers.text.TextClassifier"}, True),
        ({"class_path": "handlers.text.TextClassifier", "runtime": "onnxruntime", "precision": "int8"}, True),
        ({"class_path": "handlers.text.TextClassifier", "runtime": "ncnn"}, False),
        ({"class_path": "handlers.text.TextClassifier", "init_args": {"size": 3}}, False),
        ({"class_path": "handlers.vision.ImageClassifier"}, False),
        ({}, False),
    ],
)
def test_a_recipe_is_held_against_it(handler, is_right):
    errors = list(jsonschema.Draft202012Validator(schema(HELD)).iter_errors(RECIPE | {"handler": handler}))
    assert (not errors) == is_right


def test_a_handler_is_a_class_that_says_what_it_accepts():
    known = handler_classes()
    assert {"handlers.vision.ImageClassifier", "handlers.sequences.Forecaster"} <= known.keys()
    assert not {"handlers.base.Handler", "handlers.classifier.Classifier"} & known.keys()
