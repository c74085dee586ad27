"""model_defs/image_text.py: from a picture and a text to one sample, and errors that name the part."""

import base64
import io

import pytest
import torch
from PIL import Image

from model_defs.errors import TooLarge, Unreadable, WrongValue
from model_defs.image_text import ImageTextTransform, LateFusion
from model_defs.json_input import body


def picture(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(file, "PNG")
    return file.getvalue()


RED = picture("red")
BASE64 = base64.b64encode(RED).decode()


@pytest.fixture
def transform():
    made = ImageTextTransform(size=32, max_chars=50)
    made.words.tokens = ["<unk>", "what", "colour", "what colour"]
    return made


def test_json_from_disk_json_from_the_wire_and_a_form_are_the_same_sample(transform):
    given = {"image": BASE64, "text": "What colour?"}
    form = {"image": RED, "text": b"What colour?"}
    for payload in (given, body(given), form, given | {"image": f"data:image/png;base64,{BASE64}"}):
        sample = transform(payload)
        assert sample.pixels.shape == (3, 32, 32) and sample.pixels[:, 0, 0].tolist() == [255, 0, 0]
        assert sample.token_ids.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("what?", WrongValue, 'the input is text; send {"image": "<base64>", "text": "..."}'),
        ({"image": BASE64}, WrongValue, "the input lacks 'text'"),
        ({"text": "what?"}, WrongValue, "the input lacks 'image'; send"),
        ({"image": BASE64, "text": "what?", "txt": 1}, WrongValue, "the input has no part 'txt'; did you mean 'text'?"),
        ({"image": 3, "text": "what?"}, WrongValue, "'image' is a number"),
        ({"image": BASE64, "text": ["what?"]}, WrongValue, "'text' is a list"),
        ({"image": BASE64, "text": " "}, WrongValue, "the text is empty"),
        ({"image": BASE64, "text": "\ud800"}, WrongValue, "half of a surrogate pair"),
        ({"image": RED, "text": b"\xff"}, Unreadable, "not UTF-8 text"),
        ({"image": BASE64, "text": "what " * 20}, TooLarge, "100 characters"),
        ({"image": "no base64!", "text": "what?"}, Unreadable, "'image' is not base64"),
        ({"image": "", "text": "what?"}, Unreadable, "the body is empty"),
        ({"image": "YWJj", "text": "what?"}, Unreadable, "not a picture: 3 bytes"),
        ({"image": RED[:60], "text": "what?"}, Unreadable, "the PNG ends after 60 bytes"),
    ],
)
def test_a_wrong_part_is_refused_by_name(transform, value, error, message):
    with pytest.raises(error) as caught:
        transform(value)
    assert message in str(caught.value)


def test_without_a_part_the_other_one_stays(transform):
    sample = transform({"image": RED, "text": "what colour"})
    assert transform.without(sample, [0]).pixels.unique().tolist() == [127]
    assert transform.without(sample, [0]).token_ids is sample.token_ids
    assert transform.without(sample, [1]).token_ids.tolist() == [0]
    assert transform.without(sample, [1]).pixels is sample.pixels


def test_a_pair_gets_the_same_answer_in_every_batch(transform):
    torch.manual_seed(0)
    network = LateFusion(4, **transform.facts(), width=8).eval()
    samples = [transform({"image": picture(colour), "text": text}) for colour, text in (("red", "what colour"), ("blue", "so"))]
    with torch.inference_mode():
        together = network(*transform.collate(samples))
        alone = torch.cat([network(*transform.collate([sample])) for sample in samples])
    assert together.shape == (2, 4) and torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(("uses", "moved"), [("both", (True, True)), ("image", (True, False)), ("text", (False, True))])
def test_a_network_uses_only_the_chosen_parts(transform, uses, moved):
    torch.manual_seed(0)
    network = LateFusion(4, **transform.facts(), width=8, uses=uses).eval()
    given = {"image": picture("red"), "text": "what colour"}
    pairs = [given, given | {"image": picture("blue")}, given | {"text": "so"}]
    with torch.inference_mode():
        base, seen, read = network(*transform.collate([transform(pair) for pair in pairs]))
    assert (not torch.equal(base, seen), not torch.equal(base, read)) == moved


def test_the_vocabulary_comes_back_from_the_file(transform, tmp_path):
    transform.save(tmp_path)
    read = ImageTextTransform(size=32)
    read.load(tmp_path)
    assert read.words.tokens == transform.words.tokens and read.facts() == {"vocab_size": 4}
