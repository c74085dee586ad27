"""train/config_check.py: a mistake in a config is one line: what was given, what is expected."""

from pathlib import Path

import pytest

from model_defs.yaml_keys import RepeatedKey
from train.__main__ import main
from train.cli import build_cli
from train.config_check import LIMITS, ConfigError, Limit, check_given, check_monitors, one_line, value_of


@pytest.mark.parametrize(
    ("name", "key", "said"),
    [
        ("digits", "trainer.max_epochs=0", "trainer.max_epochs=0; expected 1 or more, or -1 for no limit"),
        ("digits", "trainer.max_epochs=-5", "trainer.max_epochs=-5; expected 1 or more"),
        ("digits", "trainer.max_epochs=abc", "trainer.max_epochs: Expected int; Given value: abc"),
        ("digits", "trainer.max_steps=0", "trainer.max_steps=0; expected 1 or more"),
        ("digits", "trainer.limit_train_batches=0", r"trainer.limit_train_batches=0(\.0)?; expected more than 0"),
        ("digits", "trainer.limit_val_batches=0.0", "trainer.limit_val_batches=0.0; expected more than 0"),
        ("digits", "trainer.fast_dev_run=true", "expected false: a trial run keeps no weights; .*limit_train_batches=5"),
        ("digits", "trainer.check_val_every_n_epoch=50", "check_val_every_n_epoch=50 with trainer.max_epochs=20: no epoch"),
        ("digits", "trainer.val_check_interval=0", "trainer.val_check_interval=0; expected more than 0"),
        ("digits", "trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches=0; expected 1 or more"),
        ("digits", "trainer.precision=banana", "trainer.precision: .*one of .*'bf16-mixed'.*Given value: banana"),
        ("digits", "trainer.devices=100000", "trainer.devices=100000: a process each, and the CPU has .* cores"),
        ("digits", "trainer.accelerator=quantum", "invalid accelerator name: `accelerator='quantum'`"),
        ("digits", "trainer.strategy=foo", "invalid strategy name: `strategy='foo'`"),
        ("digits", "seed_everything=-1", "seed_everything=-1; expected 0 to 4294967295"),
        ("digits", "early_stopping.patience=-1", "early_stopping.patience=-1; expected 0 or more"),
        ("digits", "checkpoint.monitor=val_acc", "checkpoint.monitor=val_acc: this task does not log it; did you mean 'val_accu"),
        ("digits", "checkpoint.monitor=val_accuracy", "would keep the worst epoch: .* give --checkpoint.mode=max"),
        ("digits", "checkpoint.mode=sideways", "`mode` can be min, max but got sideways"),
        ("digits", "data.batch_size=0", "data.batch_size=0; expected 1 or more"),
        ("digits", "data.batch_size=x", "data.batch_size: Expected int"),
        ("digits", "data.num_workers=-1", "data.num_workers=-1; expected 0 or more"),
        ("digits", "data.root=", "root is empty; give a folder, or leave it out"),
        ("digits", "data=train.data.vision.Digit", "data: module 'train.data.vision' has no attribute 'Digit'"),
        ("digits", "model.learning_rate=-1", "model.learning_rate=-1.0; expected more than 0"),
        ("digits", "model.label_smoothing=7", "model.label_smoothing=7.0; expected from 0 to 1"),
        ("digits", "model.mix.cutmix=-1", "model.mix.cutmix=-1.0; expected more than 0"),
        ("digits", "model.network=model_defs.vision.Foo", "model.network: module 'model_defs.vision' has no attribute 'Foo'"),
        ("digits", "model.network.init_args.widht=4", "model.network: Option 'widht' is not accepted"),
        ("digits", "model.transform.init_args.size=0", "model.transform.size=0; expected 1 or more"),
        ("digits", "model.transform.init_args.mode=CMYK", "mode 'CMYK' is not one of L, RGB"),
        ("digits", 'model.augment=[{"class_path": "train.augment.Nope"}]', "module 'train.augment' has no attribute 'Nope'"),
        ("sounds", "model.transform.sample_rate=0", "model.transform.sample_rate=0; expected 1 or more"),
        ("sounds", "data.per_class=-3", "data.per_class=-3; expected 1 or more"),
        ("demand", "data.season=0", "season=0 history=96 .*: a history holds a season or more"),
        ("intents", "data.vectors=/nowhere", "/nowhere: no such file of word vectors"),
        ("intents", "model.transform.ngrams=0", "model.transform.ngrams=0; expected 1 or more"),
        (
            "digits",
            "trainer.limit_test_batches=1",
            "limit_test_batches=1(\\.0)?; expected nothing: the whole test set is measured",
        ),
        ("digits", "trainer.default_root_dir=x", "default_root_dir=x; expected nothing: logs and checkpoints go to runs/"),
        ("digits", "trainer.logger=false", "trainer.logger=False; expected another logger, or nothing"),
        ("digits", "trainer.min_epochs=50", "trainer.min_epochs=50 is more than trainer.max_epochs=20"),
        ("digits", "optimizer=torch.optim.SGD", "no key '--optimizer'"),
        ("digits", "data.classes=[]", "data.classes=\\[\\]; expected one label or more"),
        ("intents", "data.unseen=5", "unseen=5 is of word vectors, and none are given"),
        ("intents", "data.text=label", "label=label text=label: the text would be its own label"),
        ("intents", "model.mix.mixup=0.2", "mix blends pictures, and NgramTransform gives none; leave it out"),
        ("digits", "nonsense=3", "no key '--nonsense'; --help lists the keys"),
        ("digits", "trainer.max_epocs=3", "no key '--trainer.max_epocs'; did you mean 'trainer.max_epochs'"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_is_expected(name, key, said, tmp_path, capfd):
    with pytest.raises(SystemExit, match=f"^error: .*{said}") as refused:
        main([name, f"--{key}"], tmp_path / "artifacts", tmp_path / "runs")
    assert "\n" not in str(refused.value) and "error" not in capfd.readouterr().err
    assert not any((tmp_path / "artifacts").glob("*"))


class Callback:
    def __init__(self, monitor, mode):
        self.monitor, self.mode = monitor, mode


def test_a_monitor_may_be_what_the_task_logs_in_its_direction():
    logged = {"val_loss": "min", "val_map": "max"}
    check_monitors([Callback("val_loss", "min"), Callback("val_map", "max"), Callback(None, None), object()], logged)
    check_monitors([Callback("anything", "min")], {})  # a task that does not say what it logs
    with pytest.raises(ConfigError, match=r"val_map with checkpoint\.mode=min would keep the worst epoch: the more, the better"):
        check_monitors([Callback("val_map", "min")], logged)
    with pytest.raises(ConfigError, match=r"val_loss with checkpoint\.mode=max would keep the worst epoch: the less, the better"):
        check_monitors([Callback("val_loss", "max")], logged)


def test_a_value_is_found_inside_init_args():
    class Config:
        pass

    config = Config()
    config.data = Config()
    config.data.init_args = Config()
    config.data.init_args.batch_size = 7
    assert value_of(config, "data.batch_size") == 7 and value_of(config, "data.nothing.at.all") is None


def test_every_limit_says_what_is_expected():
    assert all(isinstance(limit, Limit) and limit.expected for limit in LIMITS.values())


def test_an_unknown_error_is_kept_in_one_line():
    assert one_line(ValueError("first\nsecond")) == "first; second"


def test_float16_is_for_gpus(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"trainer\.precision=16-mixed is for GPUs; on the CPU give bf16"):
        main(["digits", "--trainer.precision=16-mixed"], tmp_path / "artifacts", tmp_path / "runs")


def test_a_key_twice_with_two_values_is_refused():
    check_given(
        ["--data.root=a", "--trainer.max_epochs=3", "--trainer.max_epochs=3", "--trainer.callbacks+=A", "--trainer.callbacks+=B"]
    )
    with pytest.raises(ConfigError, match=r"--data\.root is given twice, as 'a' and as 'b' \(DATA=\.\.\. is one of them\)"):
        check_given(["--data.root=a", "--data.root=b"])


@pytest.mark.parametrize(
    ("name", "option"), [("trips", "count"), ("demand", "length"), ("sounds", "per_class"), ("graphs", "per_class"),
                         ("questions", "count"), ("shapes", "pictures"), ("shapes_masks", "pictures")]
)  # fmt: skip
def test_an_option_of_made_up_data_is_refused_with_data_of_ones_own(name, option, tmp_path):
    with pytest.raises(SystemExit, match=rf"--data\.{option} is of the data that \w+ makes itself, and DATA is given"):
        main([name, f"--data.root={tmp_path}", f"--data.{option}=5"], tmp_path / "artifacts", tmp_path / "runs")


def test_a_key_that_stands_in_a_config_twice_is_refused(tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text(Path("train/configs/digits.yaml").read_text() + "trainer: {max_epochs: 2}\n")
    with pytest.raises(RepeatedKey, match=r"mine\.yaml:\d+: 'trainer' stands on line \d+ already"):
        build_cli(config, tmp_path, [])
