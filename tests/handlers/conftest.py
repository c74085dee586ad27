"""A loaded handler of each modality, over the small artifacts of `tests/conftest.py`."""

import pytest

from handlers.base import load

CLASSES = {
    "picture": "handlers.vision.ImageClassifier",
    "sound": "handlers.audio.AudioClassifier",
    "text": "handlers.text.TextClassifier",
}


@pytest.fixture(params=CLASSES)
def kind(request) -> str:
    return request.param


@pytest.fixture
def handler(kind, request):
    """A loaded handler of each modality in turn."""
    return load(request.getfixturevalue(f"{kind}_artifact"), {"class_path": CLASSES[kind], "threads": 1})


@pytest.fixture
def pictures(picture_artifact):
    """The loaded handler of pictures of 16 x 16."""
    return load(picture_artifact, {"class_path": CLASSES["picture"], "threads": 1})
