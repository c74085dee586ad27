import pytest
import torch

from model_defs.errors import TooLarge, Unreadable, WrongValue
from model_defs.text import BagOfWords, NgramTransform, ngrams, tokenize

TEXTS = [
    ("Hello, World!", ["hello", ",", "world", "!"]),
    ("It's (not) e.g. this?", ["it", "'", "s", "(", "not", ")", "e", ".", "g", ".", "this", "?"]),
    ('say "cheese"; now: go', ["say", "cheese", "now", "go"]),
    ("one<br />two<BR />three <br/> four", ["one", "two", "three", "<br/>", "four"]),
    ('<br "/>', []),
    ("a\tb\r\nc\u2028d\x85e\u00a0f", ["a", "b", "c", "d", "e", "f"]),
    ("ÄÖ ß İ 東京。", ["äö", "ß", "i̇", "東京。"]),
    ("...", [".", ".", "."]),
    (" \n", []),
]


def words(*tokens: str, **options) -> NgramTransform:
    transform = NgramTransform(**options)
    transform.tokens = ["<unk>", *tokens]
    return transform


@pytest.mark.parametrize(("text", "tokens"), TEXTS)
def test_a_text_is_split_into_words_and_punctuation(text, tokens):
    assert tokenize(text) == tokens


@pytest.mark.parametrize(
    ("most", "expected"),
    [(1, ["a", "b", "c"]), (2, ["a", "b", "c", "a b", "b c"]), (3, ["a", "b", "c", "a b", "b c", "a b c"]),
     (9, ["a", "b", "c", "a b", "b c", "a b c"])],
)  # fmt: skip
def test_runs_of_words_follow_the_words(most, expected):
    assert ngrams(["a", "b", "c"], most) == expected


def test_only_known_words_and_pairs_get_ids():
    transform = words("good", "bad", "very good")
    assert transform("Very good, not bad").tolist() == [1, 2, 3]
    assert transform("Very good").dtype == torch.int64


@pytest.mark.parametrize("text", ["don’t say “hi”…", "donʼt say «hi»…", "ｄｏｎ＇ｔ　ｓａｙ　ｈｉ．", "\ufeffDON‘T say „hi‟."])
def test_what_a_phone_writes_is_read_as_what_a_keyboard_does(text):
    transform = words("don", "'", "t", "say", "hi", ".", ngrams=1)
    assert transform(text).tolist() == transform("don't say hi.").tolist() == [1, 2, 3, 4, 5, 6]
    assert [word.text for word in transform.words_at(text)] == [text[word.start : word.end] for word in transform.words_at(text)]


def test_a_text_of_unknown_words_is_one_unknown():
    assert words("good")("something else").tolist() == [0]


@pytest.mark.parametrize("payload", [b"", "", b" \n\t", '";:', b"<br />", b"\xef\xbb\xbf"])
def test_a_text_without_a_word_is_refused(payload):
    with pytest.raises(WrongValue, match="the text is empty; send at least one word"):
        words("good")(payload)


@pytest.mark.parametrize("payload", [b"good", bytearray(b"good"), "good", b"\xef\xbb\xbfgood", "\ufeffgood"])
def test_bytes_and_text_give_the_same_ids_without_a_byte_order_mark(payload):
    assert words("good")(payload).tolist() == [1]


@pytest.mark.parametrize(
    ("payload", "index", "byte"),
    [(b"caf\xe9", 3, "e9"), (b"\xff\xfeh\0i\0", 0, "ff"), (b"\xef\xbb\xbfab\xff", 5, "ff"), (b"cut \xe6\x9d", 4, "e6")],
    ids=["latin-1", "utf-16", "after a byte order mark", "cut"],
)
def test_a_text_that_is_not_utf_8_is_refused_with_the_byte(payload, index, byte):
    with pytest.raises(Unreadable, match=f"not UTF-8 text: byte {index} is 0x{byte}; send UTF-8"):
        words("good")(payload)


def test_half_a_surrogate_pair_is_refused_with_its_index():
    with pytest.raises(WrongValue, match="character 5 is half of a surrogate pair"):
        words("good")("good \ud83d day")


def test_a_text_of_the_maximum_length_is_taken_and_a_longer_one_refused():
    transform = words("good", max_chars=10)
    assert transform("good 67890").tolist() == [1]
    with pytest.raises(TooLarge, match="11 characters; this model takes 10 at most: send a shorter text"):
        transform("good 678901")


def test_a_batch_is_all_ids_and_each_texts_offset():
    numbers, offsets = NgramTransform().collate([torch.tensor([4, 5]), torch.tensor([0]), torch.tensor([6, 7, 8])])
    assert numbers.tolist() == [4, 5, 0, 6, 7, 8]
    assert offsets.tolist() == [0, 2, 3]
    assert NgramTransform().collate([torch.tensor([4])])[1].tolist() == [0]


@pytest.mark.parametrize(
    "tokens",
    [["good", "very good"], ["a\x85b", "c\u2028d", "e\rf", "g\r", "\x0b", "\x1c"], ["東京", "🙂", "i̇"], [""], []],
    ids=["plain", "line separators", "wide", "empty", "none"],
)
def test_a_vocabulary_comes_back_as_it_was(tokens, tmp_path):
    words(*tokens).save(tmp_path)
    transform = NgramTransform()
    transform.load(tmp_path)
    assert transform.tokens == ["<unk>", *tokens]
    assert transform.facts() == {"vocab_size": 1 + len(tokens)}


def test_the_network_gives_one_logit_per_class():
    transform = words("good", "bad")
    network = BagOfWords(7, **transform.facts(), dim=4).eval()
    assert network(*transform.collate([transform("good bad"), transform("else")])).shape == (2, 7)


def test_a_texts_logits_do_not_depend_on_its_neighbours():
    transform = words("good", "bad", "very")
    network = BagOfWords(3, **transform.facts(), dim=4).eval()
    samples = [transform(text) for text in ("very good", "bad", "unheard of")]
    together = network(*transform.collate(samples))
    alone = torch.cat([network(*transform.collate([sample])) for sample in samples])
    assert torch.allclose(together, alone, atol=1e-6)
