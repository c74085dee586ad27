"""train/data/examples.py and splits.py: splits, decoding before the first epoch, the fingerprint, batches."""

import io
import pickle
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from model_defs.text import NgramTransform
from model_defs.vision import ImageTransform
from train.data.example import DataError, Example
from train.data.examples import Examples
from train.data.splits import natural_order, split
from train.data.vision import Digits
from train.targets import ClassTargets


def examples(count: int = 40) -> list[Example]:
    return [
        Example(f"text {index}".encode(), "even" if index % 2 == 0 else "odd", f"line {index}", ".txt") for index in range(count)
    ]


class Made(Examples):
    def __init__(self, splits: dict[str, list[Example]], **options):
        super().__init__(**options)
        self.made = splits

    def built_in(self):
        return {name: list(found) for name, found in self.made.items()}


@pytest.fixture
def data():
    made = Made({"train": examples(40), "test": examples(10)}, batch_size=8)
    made.setup()
    return made


def test_a_split_is_stratified_repeatable_and_without_overlap():
    rest, chosen = split(examples(40), 0.25, seed=3)
    assert [example.truth for example in chosen].count("odd") == [example.truth for example in chosen].count("even") == 5
    assert not {example.source for example in rest} & {example.source for example in chosen}
    assert len(rest) + len(chosen) == 40
    assert split(examples(40), 0.25, seed=3)[1] == chosen != split(examples(40), 0.25, seed=4)[1]


def test_a_label_with_one_example_stays_where_it_is():
    rest, chosen = split([*examples(4), Example(b"x", "rare", "x", ".txt")], 0.5, seed=0)
    assert "rare" in {example.truth for example in rest} and "rare" not in {example.truth for example in chosen}


def test_numbered_labels_are_in_the_order_of_their_numbers():
    assert sorted(["10", "9", "1", "class 12", "class 2", "b"], key=natural_order) == ["1", "9", "10", "b", "class 2", "class 12"]


def test_validation_is_taken_from_training_and_never_from_test(data):
    assert data.counts() == {"train": 36, "test": 10, "validation": 4}
    assert data.labels == ["even", "odd"]


def test_an_empty_split_is_refused():
    for splits in ({"train": [], "test": examples()}, {"train": examples(), "test": []}):
        with pytest.raises(DataError, match=r"the (train|test) split has no examples"):
            Made(splits).setup()


def test_setting_up_again_for_the_next_stage_changes_nothing(data):
    before = dict(data.splits)
    data.setup("test")
    assert data.splits == before


@pytest.mark.parametrize("share", [-0.1, 0, 1, 5])
def test_a_validation_share_that_leaves_nothing_is_refused(share):
    with pytest.raises(DataError, match=f"validation={share} is not a share"):
        Made({"train": examples(), "test": examples()}, validation=share).setup()


def test_a_single_label_is_refused():
    same = [example._replace(truth="even") for example in examples()]
    with pytest.raises(DataError, match="every example is even; labels expected: 2 or more"):
        Made({"train": same, "test": same}).setup()


def test_a_test_label_that_training_lacks_is_an_error():
    data = Made({"train": examples(), "test": [Example(b"x", "new", "test.csv:9", ".txt")]})
    with pytest.raises(DataError, match=r"test\.csv:9: the label 'new' is in no training example"):
        data.setup()


def test_unreadable_examples_are_listed_before_the_first_epoch():
    spoiled = [example._replace(payload=b"\xff") if index in (3, 7) else example for index, example in enumerate(examples())]
    data = Made({"train": spoiled, "test": examples(4)})
    data.setup()
    with pytest.raises(DataError, match=r"2 examples cannot be read.*\n  line 3: not UTF-8.*\n  line 7: not UTF-8"):
        data.decode(NgramTransform())


def test_a_missing_file_is_listed_too(tmp_path):
    data = Made(
        {"train": [*examples(), Example(tmp_path / "gone.png", "odd", str(tmp_path / "gone.png"), ".png")], "test": examples(4)}
    )
    data.setup()
    with pytest.raises(DataError, match=r"gone\.png"):
        data.decode(NgramTransform())


def test_the_fingerprint_depends_on_bytes_and_labels_but_not_on_the_order(data):
    def fingerprint(train):
        other = Made({"train": train, "test": examples(10), "validation": examples(2)})
        other.setup()
        return other.fingerprint()

    same, first = fingerprint(examples()), examples()[0]
    assert fingerprint(examples()[::-1]) == same
    assert fingerprint([first._replace(payload=b"text !"), *examples()[1:]]) != same
    assert fingerprint([first._replace(truth="odd"), *examples()[1:]]) != same


def test_all_unreadable_examples_are_listed_at_once():
    spoiled = [example._replace(payload=b"\xff") for example in examples(30)]
    data = Made({"train": spoiled, "test": examples(4)})
    data.setup()
    with pytest.raises(DataError, match="30 examples cannot be read") as error:
        data.decode(NgramTransform())
    lines = str(error.value).splitlines()
    assert lines[0] == "30 examples cannot be read; mend or remove them:" and len(lines) == 1 + 30


def test_of_an_unreadable_example_it_is_said_what_is_expected(tmp_path):
    picture = io.BytesIO()
    Image.new("RGB", (40, 30)).save(picture, "JPEG")
    cut = Example(picture.getvalue()[:-20], "odd", "1.jpg", ".jpg")
    data = Made({"train": [*examples(), cut], "test": examples(4)})
    data.setup()
    with pytest.raises(DataError) as error:
        data.decode(ImageTransform(size=8))
    assert "1.jpg: not a picture: the JPEG ends after 631 bytes; expected the whole file" in str(error.value)


def test_a_split_without_a_label_is_refused():
    class Boxes(Made):
        fewest_labels = 1

        def labels_of(self, truth):
            return {found["label"] for found in truth}

    some = [example._replace(truth=[{"label": "cat"}]) for example in examples()]
    none = [example._replace(truth=[]) for example in examples(10)]
    for name in ("validation", "test"):
        with pytest.raises(DataError, match=f"the {name} split has no labelled example"):
            Boxes({"train": some, "validation": some, "test": some} | {name: none}).setup()


def test_rare_labels_are_said_in_one_line(capsys):
    def of(label, count):
        return [Example(f"{label} {index}".encode(), label, f"{label} {index}", ".txt") for index in range(count)]

    Made({"train": [*of("a", 120), *of("b", 2), *of("c", 1)], "validation": of("a", 3), "test": of("a", 3)}).setup()
    assert capsys.readouterr().out == "few training examples: c 1, b 2; a has 120: answers lean towards it\n"
    Made({"train": [*of("a", 120), *of("b", 20)], "validation": of("a", 3), "test": of("a", 3)}).setup()
    assert not capsys.readouterr().out


def with_task(data: Examples, augment=None) -> Examples:
    """The data as Lightning leaves it, with a module that has a transform."""
    data.setup()
    transform = NgramTransform(ngrams=1)
    transform.tokens = ["<unk>", "text", *map(str, range(40))]
    task = SimpleNamespace(transform=transform, augment=augment, targets=ClassTargets)
    data.trainer = SimpleNamespace(lightning_module=task, global_rank=0, world_size=1)
    data.decode(transform)
    return data


def test_with_a_cache_each_sample_is_decoded_once():
    data = with_task(Made({"train": examples(), "test": examples(10)}, batch_size=8))
    data.trainer.lightning_module.transform.words = None  # decoding again would fail
    assert len(list(data.train_dataloader())) == 4 and len(list(data.test_dataloader())) == 2


def test_the_order_differs_per_epoch_and_is_the_same_each_time():
    def epochs(seed):
        loader = with_task(Made({"train": examples(), "test": examples(10)}, batch_size=8, seed=seed)).train_dataloader()
        return [epoch_of(loader, epoch) for epoch in range(2)]

    def epoch_of(loader, epoch):
        loader.batch_sampler.set_epoch(epoch)  # as Lightning does
        return [tokens.tolist() for (tokens, _), _ in loader]

    first, second = epochs(0)
    assert first != second and epochs(0) == [first, second] and epochs(1) != [first, second]


def test_only_training_is_augmented():
    data = with_task(Made({"train": examples(), "test": examples(10)}, batch_size=8), augment=lambda sample: sample[:1])
    lengths = {loader: len(next(iter(getattr(data, loader)()))[0][0]) for loader in ("train_dataloader", "test_dataloader")}
    # One word of each of eight texts; both words of five, since ten texts make two equal batches.
    assert lengths == {"train_dataloader": 8, "test_dataloader": 10}


def test_a_loader_can_be_sent_to_spawned_workers():
    loader = with_task(Made({"train": examples(), "test": examples(10)}, cache=False)).val_dataloader()
    assert pickle.loads(pickle.dumps(loader.dataset))[0] and pickle.loads(pickle.dumps(loader.collate_fn))


@pytest.mark.parametrize("cache", [True, False])
def test_batches_hold_collated_samples_and_class_ids(cache):
    data = Made({"train": examples(), "test": examples(10)}, batch_size=8, cache=cache)
    data.setup()
    transform = NgramTransform()
    transform.tokens = ["<unk>", "text"]
    task = SimpleNamespace(transform=transform, augment=lambda sample: sample[:1], targets=ClassTargets)
    data.trainer = SimpleNamespace(lightning_module=task, global_rank=0, world_size=1)
    data.decode(transform)
    for (tokens, offsets), targets in data.train_dataloader():
        assert tokens.tolist() == [1] * 8 and offsets.tolist() == list(range(8))
        assert targets.dtype == torch.int64 and set(targets.tolist()) <= {0, 1}
    (tokens, _), _ = next(iter(data.val_dataloader()))
    assert len(tokens) == 4  # one per text; validation drops nothing


def test_data_without_a_test_split_gives_a_fifth_of_each_label_to_it():
    data = Made({"train": examples(40)})
    data.setup()
    assert data.counts() == {"train": 28, "test": 8, "validation": 4}
    assert [example.truth for example in data.splits["test"]].count("odd") == 4


def test_only_the_wanted_classes_are_kept_and_an_unknown_one_is_an_error():
    third = [Example(b"x", "third", f"x {index}", ".txt") for index in range(10)]
    data = Made({"train": [*examples(), *third], "test": [*examples(4), *third]}, classes=["even", "third"])
    data.setup()
    assert data.labels == ["even", "third"] and data.counts()["test"] == 12
    with pytest.raises(DataError, match="classes: no example is 'evn'; did you mean 'even'"):
        Made({"train": examples(), "test": examples()}, classes=["evn", "odd"]).setup()


def test_a_given_root_is_read_even_if_it_is_the_folder_of_downloads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="data/downloads: no such folder; say where the data lies"):
        Digits(root="data/downloads").setup()
    assert Digits().root is None and Digits().given_root is None


def test_a_set_without_data_of_its_own_asks_for_a_folder():
    with pytest.raises(DataError, match="Examples has no data of its own; say where yours lies with DATA=<folder>"):
        Examples().setup()
    with pytest.raises(DataError, match="root is empty; give a folder, or leave it out"):
        Examples(root="")


def test_a_share_for_validation_that_is_not_used_is_said(capsys):
    splits = {name: examples(10) for name in ("train", "validation", "test")}
    Made(splits).setup()
    assert not capsys.readouterr().out
    Made(splits, validation=0.3).setup()
    assert "validation=0.3 is not used: the data has a validation split of its own" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["nan", "NaN", "N/A", "null"])
def test_a_label_that_looks_like_an_empty_cell_is_said(name, capsys):
    found = [*examples(20), *(Example(b"x", name, f"line {index}", ".txt") for index in range(4))]
    Made({"train": found}).setup()
    assert f"the label {name!r} is learned like any other; if it stands for an unknown one" in capsys.readouterr().out
