"""train/data/examples.py: splits, the check before the first epoch, the fingerprint."""

import pickle
from types import SimpleNamespace

import pytest
import torch

from model_defs.text import NgramTransform
from train.data.examples import DataError, Example, Examples, natural, split
from train.targets import ClassTargets


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
    assert [example.truth for example in chosen].count("odd") == [example.truth for example in chosen].count("even") == 5
    assert not {example.source for example in rest} & {example.source for example in chosen}
    assert len(rest) + len(chosen) == 40
    assert split(examples(40), 0.25, seed=3)[1] == chosen != split(examples(40), 0.25, seed=4)[1]


def test_a_label_with_one_example_stays_where_it_is():
    rest, chosen = split([*examples(4), Example(b"x", "rare", "x", ".txt")], 0.5, seed=0)
    assert "rare" in {example.truth for example in rest} and "rare" not in {example.truth for example in chosen}


def test_numbered_labels_stand_in_the_order_of_their_numbers():
    assert sorted(["10", "9", "1", "class 12", "class 2", "b"], key=natural) == ["1", "9", "10", "b", "class 2", "class 12"]


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


def test_what_cannot_be_read_is_listed_before_the_first_epoch():
    spoiled = [example._replace(payload=b"\xff") if place in (3, 7) else example for place, example in enumerate(examples())]
    data = Made({"train": spoiled, "test": examples(4)})
    data.setup()
    with pytest.raises(DataError, match=r"2 examples cannot be read.*\n  line 3: not UTF-8.*\n  line 7: not UTF-8"):
        data.check(NgramTransform())


def test_a_file_that_has_gone_is_listed_too(tmp_path):
    data = Made(
        {"train": [*examples(), Example(tmp_path / "gone.png", "odd", str(tmp_path / "gone.png"), ".png")], "test": examples(4)}
    )
    data.setup()
    with pytest.raises(DataError, match=r"gone\.png"):
        data.check(NgramTransform())


def test_the_fingerprint_knows_a_changed_byte_and_a_changed_label_but_not_the_order(data):
    def fingerprint(train):
        other = Made({"train": train, "test": examples(10), "validation": examples(2)})
        other.setup()
        return other.fingerprint()

    same, first = fingerprint(examples()), examples()[0]
    assert fingerprint(examples()[::-1]) == same
    assert fingerprint([first._replace(payload=b"text !"), *examples()[1:]]) != same
    assert fingerprint([first._replace(truth="odd"), *examples()[1:]]) != same


def test_many_unreadable_examples_are_counted_and_the_first_five_listed():
    spoiled = [example._replace(payload=b"\xff") for example in examples(30)]
    data = Made({"train": spoiled, "test": examples(4)})
    data.setup()
    with pytest.raises(DataError, match="30 examples cannot be read") as error:
        data.check(NgramTransform())
    assert len(str(error.value).splitlines()) == 1 + 5 + 1 and str(error.value).endswith("and 25 more")


def with_task(data: Examples, augment=None) -> Examples:
    """The data as Lightning leaves it, beside a module with a transform."""
    data.setup()
    transform = NgramTransform(ngrams=1)
    transform.tokens = ["<unk>", "text", *map(str, range(40))]
    task = SimpleNamespace(transform=transform, augment=augment, targets=ClassTargets)
    data.trainer = SimpleNamespace(lightning_module=task, global_rank=0, world_size=1)
    data.check(transform)
    return data


def test_each_sample_is_decoded_once_where_there_is_a_cache():
    data = with_task(Made({"train": examples(), "test": examples(10)}, batch_size=8))
    data.trainer.lightning_module.transform.words = None  # decoding again would fail
    assert len(list(data.train_dataloader())) == 4 and len(list(data.test_dataloader())) == 2


def test_shuffling_is_another_each_epoch_and_the_same_each_time():
    def epochs(seed):
        loader = with_task(Made({"train": examples(), "test": examples(10)}, batch_size=8, seed=seed)).train_dataloader()
        return [epoch_of(loader, number) for number in range(2)]

    def epoch_of(loader, number):
        loader.batch_sampler.set_epoch(number)  # as Lightning does
        return [numbers.tolist() for (numbers, _), _ in loader]

    first, second = epochs(0)
    assert first != second and epochs(0) == [first, second] and epochs(1) != [first, second]


def test_only_training_is_augmented():
    data = with_task(Made({"train": examples(), "test": examples(10)}, batch_size=8), augment=lambda sample: sample[:1])
    lengths = {loader: len(next(iter(getattr(data, loader)()))[0][0]) for loader in ("train_dataloader", "test_dataloader")}
    # One word of each of eight texts; both of each of five, since ten in batches of at most eight make two equal ones.
    assert lengths == {"train_dataloader": 8, "test_dataloader": 10}


def test_a_loader_can_be_sent_to_workers_that_are_spawned():
    loader = with_task(Made({"train": examples(), "test": examples(10)}, cache=False)).val_dataloader()
    assert pickle.loads(pickle.dumps(loader.dataset))[0] and pickle.loads(pickle.dumps(loader.collate_fn))


@pytest.mark.parametrize("cache", [True, False])
def test_batches_hold_collated_samples_and_label_numbers(cache):
    data = Made({"train": examples(), "test": examples(10)}, batch_size=8, cache=cache)
    data.setup()
    transform = NgramTransform()
    transform.tokens = ["<unk>", "text"]
    task = SimpleNamespace(transform=transform, augment=lambda sample: sample[:1], targets=ClassTargets)
    data.trainer = SimpleNamespace(lightning_module=task, global_rank=0, world_size=1)
    data.check(transform)
    for (numbers, offsets), targets in data.train_dataloader():
        assert numbers.tolist() == [1] * 8 and offsets.tolist() == list(range(8))
        assert targets.dtype == torch.int64 and set(targets.tolist()) <= {0, 1}
    (numbers, _), _ = next(iter(data.val_dataloader()))
    assert len(numbers) == 4  # one a text; nothing is cut off or shuffled there
