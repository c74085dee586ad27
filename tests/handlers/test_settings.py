"""handlers/settings.py: a section of the recipe is checked by names, types and ranges."""

import msgspec
import pytest

from handlers.settings import Settings

LEAST = {"class_path": "handlers.vision.ImageClassifier"}


def test_a_class_is_all_that_must_be_named():
    settings = msgspec.convert(LEAST, Settings)
    assert (settings.runtime, settings.precision, settings.decoders, settings.init_args) == ("eager", "fp32", 1, {})


def test_two_handlers_do_not_share_their_arguments():
    one, other = (msgspec.convert(LEAST, Settings) for _ in range(2))
    one.init_args["size"] = 3
    assert other.init_args == {}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "missing required field `class_path`"),
        ({"class_path": 3}, "Expected `str`, got `int` - at `$.class_path`"),
        ({"precison": "fp32"}, "unknown field `precison`"),
        ({"precision": 32}, "Expected `str`, got `int`"),
        ({"runtime": None}, "Expected `str`, got `null`"),
        ({"threads": -1}, "`int` >= 0 - at `$.threads`"),
        ({"threads": "2"}, "Expected `int`, got `str`"),
        ({"decoders": 0}, "`int` >= 1 - at `$.decoders`"),
        ({"decoders": 65}, "`int` <= 64 - at `$.decoders`"),
        ({"tolerance": 0.0}, "at `$.tolerance`"),
        ({"tolerance": 2}, "at `$.tolerance`"),
        ({"init_args": [1]}, "Expected `object`, got `array`"),
    ],
)
def test_unknown_keys_and_wrong_values_are_refused(section, message):
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert((LEAST if section else {}) | section, Settings)
    assert message in str(caught.value)


def test_every_setting_says_what_it_is():
    properties = msgspec.json.schema(Settings)["$defs"]["Settings"]["properties"]
    assert all(one.get("description") for one in properties.values()), properties
