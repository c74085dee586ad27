"""train/data/image_text.py: pictures with texts; errors name the line."""

from collections import Counter

import pytest
from PIL import Image

from model_defs.image_text import ImageTextTransform
from train.data.example import DataError
from train.data.image_text import ImageTextCSV, Questions
from train.data.synthetic.questions import ASKED, COLOURS, COUNTS, KINDS, question

HEADER = "image,text,label\n"


def folder(tmp_path, text: str):
    for colour in ("red", "blue"):
        Image.new("RGB", (20, 20), colour).save(tmp_path / f"{colour}.png")
    (tmp_path / "pairs.csv").write_text(text, encoding="utf-8")
    return str(tmp_path / "pairs.csv")


def test_a_csv_names_pictures_relative_to_itself(tmp_path):
    rows = "".join(f"{colour}.png,is it {colour}?,yes\n{colour}.png,is it green?,no\n" for colour in ("red", "blue")) * 5
    data = ImageTextCSV(folder(tmp_path, HEADER + rows))
    data.setup()
    transform = ImageTextTransform(size=16, ngrams=1)
    data.fit(transform)
    data.decode(transform)
    assert data.labels == ["no", "yes"] and set(transform.words.tokens) == {"<unk>", "is", "it", "?", "green", "red", "blue"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,text\n", "no column 'label'; the header is image,text"),
        (HEADER + "red.png,,yes\n", "pairs.csv:2: the text is empty"),
        (HEADER + "red.png,what\n", "pairs.csv:2: 2 fields; the header has 3"),
        (HEADER + "red.png,what,\n", "pairs.csv:2: the label is empty"),
        (HEADER + "green.png,what,yes\n", "green.png is not there"),
    ],
)
def test_a_wrong_csv_is_reported_with_its_line(tmp_path, text, message):
    with pytest.raises(DataError) as caught:
        ImageTextCSV(folder(tmp_path, text)).setup()
    assert message in str(caught.value)


def test_the_question_alone_does_not_have_the_answer():
    """Each kind of question has every answer about equally often, so that guessing is right in a third of the cases."""
    asked = [question(seed)[1:] for seed in range(1_500)]
    for texts, answers in zip(ASKED.values(), (COLOURS, KINDS, COUNTS), strict=True):
        found = Counter(answer for text, answer in asked if text in texts)
        assert set(found) == set(answers) and max(found.values()) < 0.45 * sum(found.values())


def test_the_same_seed_draws_the_same_question():
    one, other, another = (Questions(count=150, seed=seed) for seed in (0, 0, 1))
    for data in (one, other, another):
        data.setup()
    assert one.fingerprint() == other.fingerprint() != another.fingerprint()
