"""train/data/examples.py: splits, the check before the first epoch, the fingerprint."""

from types import SimpleNamespace

import pytest
import torch

from model_defs.text import Words
from train.data.examples import DataError, Example, Examples, natural, split


def examples(count: int = 40) -> list[Example]:
    return [
        Example(f"text {place}".encode(), "even" if place % 2 == 0 else "odd", f"line {place}", ".txt") for place in range(count)
    ]


class Made(Examples):
    def __init__(self, splits: dict[str, list[Example]], **options):
        super().__init__(**options)
        self.made = splits

    def read(self):
        return {name: list(found) for name, found in self.made.items()}


@pytest.fixture
def data():
    made = Made({"train": examples(40), "test": examples(10)}, batch_size=8)
    made.setup()
    return made


def test_a_split_is_stratified_repeatable_and_without_overlap():
    rest, chosen = split(examples(40), 0.25, seed=3)
    assert [example.label for example in chosen].count("odd") == [example.label for example in chosen].count("even") == 5
    assert not {example.source for example in rest} & {example.source for example in chosen}
    assert len(rest) + len(chosen) == 40
    assert split(examples(40), 0.25, seed=3)[1] == chosen != split(examples(40), 0.25, seed=4)[1]


def test_a_label_with_one_example_stays_where_it_is():
    rest, chosen = split([*examples(4), Example(b"x", "rare", "x", ".txt")], 0.5, seed=0)
    assert "rare" in {example.label for example in rest} and "rare" not in {example.label for example in chosen}


def test_numbered_labels_stand_in_the_order_of_their_numbers():
    assert sorted(["10", "9", "1", "class 12", "class 2", "b"], key=natural) == ["1", "9", "10", "b", "class 2", "class 12"]


def test_validation_is_taken_from_training_and_never_from_test(data):
    assert data.counts() == {"train": 36, "test": 10, "validation": 4}


def test_a_test_label_that_training_lacks_is_an_error():
    data = Made({"train": examples(), "test": [Example(b"x", "new", "test.csv:9", ".txt")]})
    with pytest.raises(DataError, match=r"test\.csv:9: the label 'new' is in no training example"):
        data.setup()


def test_what_cannot_be_read_is_listed_before_the_first_epoch():
    spoiled = [example._replace(payload=b"\xff") if place in (3, 7) else example for place, example in enumerate(examples())]
    data = Made({"train": spoiled, "test": examples(4)})
    data.setup()
    with pytest.raises(DataError, match=r"2 examples cannot be read.*\n  line 3: not UTF-8.*\n  line 7: not UTF-8"):
        data.check(Words())


def test_a_file_that_has_gone_is_listed_too(tmp_path):
    data = Made(
        {"train": [*examples(), Example(tmp_path / "gone.png", "odd", str(tmp_path / "gone.png"), ".png")], "test": examples(4)}
    )
    data.setup()
    with pytest.raises(DataError, match=r"gone\.png"):
        data.check(Words())


def test_the_fingerprint_knows_a_changed_byte_and_a_changed_label_but_not_the_order(data):
    def fingerprint(train):
        other = Made({"train": train, "test": examples(10), "validation": examples(2)})
        other.setup()
        return other.fingerprint()

    same, first = fingerprint(examples()), examples()[0]
    assert fingerprint(examples()[::-1]) == same
    assert fingerprint([first._replace(payload=b"text !"), *examples()[1:]]) != same
    assert fingerprint([first._replace(label="odd"), *examples()[1:]]) != same


@pytest.mark.parametrize("cache", [True, False])
def test_batches_hold_collated_samples_and_label_numbers(cache):
    data = Made({"train": examples(), "test": examples(10)}, batch_size=8, cache=cache)
    data.setup()
    transform = Words()
    transform.tokens = ["<unk>", "text"]
    data.trainer = SimpleNamespace(lightning_module=SimpleNamespace(transform=transform, augment=lambda sample: sample[:1]))
    data.check(transform)
    for (numbers, offsets), targets in data.train_dataloader():
        assert numbers.tolist() == [1] * 8 and offsets.tolist() == list(range(8))
        assert targets.dtype == torch.int64 and set(targets.tolist()) <= {0, 1}
    (numbers, _), _ = next(iter(data.val_dataloader()))
    assert len(numbers) == 4  # one a text; nothing is cut off or shuffled there
