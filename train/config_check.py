"""Mistakes in a config, each in one line: values that make no sense, keys that do not exist, and what the libraries refuse."""

import contextlib
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from model_defs.build import SpecError, did_you_mean, find_class
from model_defs.cpus import usable_cpus
from model_defs.errors import BundleError

MAX_SEED = 2**32 - 1  # numpy's


class ConfigError(BundleError):
    """A key of the config does not exist, or its value cannot be used. The message says which, and what is expected."""


class Limit(NamedTuple):
    """What a key may be; None is always allowed.

    Args:
        allows: value -> whether it is allowed.
        expected: the same in words.
    """

    allows: Callable[[Any], bool]
    expected: str


def never(value: Any) -> bool:
    """For keys of Lightning's that have no effect here."""
    return False


AT_LEAST_0 = Limit(lambda value: value >= 0, "0 or more")
AT_LEAST_1 = Limit(lambda value: value >= 1, "1 or more")
MORE_THAN_0 = Limit(lambda value: value > 0, "more than 0")
ENDLESS_OR_1 = Limit(lambda value: value == -1 or value >= 1, "1 or more, or -1 for no limit")
SHARE = Limit(lambda value: 0 <= value <= 1, "from 0 to 1")
WITHOUT_TRIAL = Limit(
    lambda value: not value,
    "false: a trial run keeps no weights; for a short training give --trainer.max_epochs=1 --trainer.limit_train_batches=5",
)

LIMITS = {
    "seed_everything": Limit(lambda value: isinstance(value, bool) or 0 <= value <= MAX_SEED, f"0 to {MAX_SEED}"),
    "trainer.max_epochs": ENDLESS_OR_1,
    "trainer.max_steps": ENDLESS_OR_1,
    "trainer.limit_train_batches": MORE_THAN_0,
    "trainer.limit_val_batches": MORE_THAN_0,  # the best epoch is chosen by its validation
    "trainer.fast_dev_run": WITHOUT_TRIAL,
    "trainer.barebones": WITHOUT_TRIAL,
    "trainer.check_val_every_n_epoch": AT_LEAST_1,
    "trainer.val_check_interval": Limit(lambda value: not isinstance(value, int | float) or value > 0, "more than 0"),
    "trainer.accumulate_grad_batches": AT_LEAST_1,
    "trainer.gradient_clip_val": AT_LEAST_0,
    "trainer.log_every_n_steps": AT_LEAST_0,
    "trainer.num_nodes": AT_LEAST_1,
    "trainer.limit_test_batches": Limit(never, "nothing: the whole test set is measured; leave it out"),
    "trainer.limit_predict_batches": Limit(never, "nothing: a training predicts nothing; leave it out"),
    "trainer.default_root_dir": Limit(never, "nothing: logs and checkpoints go to runs/; leave it out"),
    "trainer.logger": Limit(lambda value: value is not False, "another logger, or nothing: the logs in runs/ are always written"),
    "early_stopping.patience": AT_LEAST_0,
    "last.seconds": AT_LEAST_0,
    "data.batch_size": AT_LEAST_1,
    "data.classes": Limit(bool, "one label or more; leave it out for all"),
    "data.num_workers": AT_LEAST_0,
    "data.seed": AT_LEAST_0,
    "data.count": AT_LEAST_1,
    "data.length": AT_LEAST_1,
    "data.per_class": AT_LEAST_1,
    "data.pictures": AT_LEAST_1,
    "data.unseen": AT_LEAST_0,
    "model.transform.size": AT_LEAST_1,
    "model.transform.sample_rate": AT_LEAST_1,
    "model.transform.seconds": MORE_THAN_0,
    "model.transform.windows": AT_LEAST_1,
    "model.transform.ngrams": AT_LEAST_1,
    "model.transform.max_tokens": AT_LEAST_1,
    "model.transform.max_words": AT_LEAST_1,
    "model.transform.vocab_size": AT_LEAST_1,
    "model.learning_rate": MORE_THAN_0,
    "model.weight_decay": AT_LEAST_0,
    "model.label_smoothing": SHARE,
    "model.mix.mixup": MORE_THAN_0,
    "model.mix.cutmix": MORE_THAN_0,
}
OURS, COMMENT = re.compile(r"\b(?:train|model_defs)(?:\.\w+)+"), re.compile(r"(^|\s)#.*")
# A line of jsonargparse's errors that says nothing more than the others do.
NOISE = re.compile(
    r"Does not validate against|Subtypes: |Errors:|Expected a <class 'NoneType'>|Expected a path but |Given value type: |"
    r"Problem with given class_path|usage: |tip: |Given value: (Namespace|NestedArg|[\[{])"
)


def check_modules(text: str) -> None:
    """Import the modules of ours, which may be the user's own, that a config or its overrides name.

    Raises:
        OwnCodeError: one of them fails. jsonargparse would say this in many lines that name no file.
    """
    for class_path in dict.fromkeys(OURS.findall(COMMENT.sub("", text))):
        with contextlib.suppress(SpecError):  # no such module or class: jsonargparse says it
            find_class(class_path, within=("train", "model_defs"))


def check_given(overrides: Iterable[str]) -> None:
    """
    Args:
        overrides: `--key=value`.

    Raises:
        ConfigError: a key is given twice with different values, of which one would count.
    """
    given: dict[str, str] = {}
    for key, _, value in (override.partition("=") for override in overrides if override.startswith("--") and "=" in override):
        if given.setdefault(key, value) != value and not key.endswith("+"):  # Lightning's `--trainer.callbacks+=...` adds
            also = " (DATA=... is one of them)" if key == "--data.root" else ""
            raise ConfigError(f"{key} is given twice, as {given[key]!r} and as {value!r}{also}; give it once")


def check_built_in(overrides: Iterable[str], data: Any) -> None:
    """
    Raises:
        ConfigError: an option of the data that the set itself makes, such as their number, with data of the user's own.
    """
    for key in (override.partition("=")[0] for override in overrides):
        name = key.rpartition(".")[2]
        if data.given_root and key.startswith("--data.") and name in data.built_in_options:
            raise ConfigError(f"{key} is of the data that {type(data).__name__} makes itself, and DATA is given; leave it out")


def check_values(config: Any) -> None:
    """
    Args:
        config: as jsonargparse parsed it.

    Raises:
        ConfigError: a value is outside its limits.
    """
    for key, limit in LIMITS.items():
        value = value_of(config, key)
        if value is not None and not limit.allows(value):
            raise ConfigError(f"{key}={value}; expected {limit.expected}")
    epochs, least, interval = (
        value_of(config, f"trainer.{name}") for name in ("max_epochs", "min_epochs", "check_val_every_n_epoch")
    )
    if epochs and least and 0 < epochs < least:
        raise ConfigError(f"trainer.min_epochs={least} is more than trainer.max_epochs={epochs}; give fewer, or raise max_epochs")
    if epochs and interval and 0 < epochs < interval:
        raise ConfigError(
            f"trainer.check_val_every_n_epoch={interval} with trainer.max_epochs={epochs}: no epoch would be validated, so none "
            "could be the best; give an interval that the epochs reach"
        )
    accelerator, precision = value_of(config, "trainer.accelerator"), str(value_of(config, "trainer.precision"))
    check_devices(value_of(config, "trainer.devices"), accelerator)
    if precision.startswith("16") and is_on_cpu(accelerator):  # Lightning would take bfloat16 in its place
        raise ConfigError(f"trainer.precision={precision} is for GPUs; on the CPU give bf16-mixed or 32-true")


def is_on_cpu(accelerator: Any) -> bool:
    import torch

    return accelerator == "cpu" or (accelerator in ("auto", None) and not torch.cuda.is_available())


def check_devices(devices: Any, accelerator: Any) -> None:
    """Lightning starts a process per device. On the CPU it takes any number.

    Raises:
        ConfigError: more processes than the CPU has cores.
    """
    is_cpu = is_on_cpu(accelerator)
    count = int(devices) if isinstance(devices, int) or str(devices).isdigit() else 1
    cores = max(2, usable_cpus())
    if is_cpu and count > cores:
        raise ConfigError(f"trainer.devices={devices}: a process each, and the CPU has {cores} cores; expected {cores} at most")


def check_monitors(callbacks: Iterable[Any], monitors: dict[str, str]) -> None:
    """
    Args:
        callbacks: those of Lightning's that watch a logged value have `monitor` and `mode`.
        monitors: what the task logs -> "min" or "max", whichever is better; empty if it does not say.

    Raises:
        ConfigError: a callback watches a value that the task does not log, or keeps the worst of it.
    """
    for callback in callbacks:
        monitor, mode = getattr(callback, "monitor", None), getattr(callback, "mode", None)
        if not monitors or not monitor or monitor.startswith("lr-"):
            continue
        key = "early_stopping" if type(callback).__name__ == "EarlyStopping" else "checkpoint"
        if monitor not in monitors:
            raise ConfigError(f"{key}.monitor={monitor}: this task does not log it{did_you_mean(monitor, monitors)}")
        if mode != monitors[monitor]:
            better = "more" if monitors[monitor] == "max" else "less"
            raise ConfigError(
                f"{key}.monitor={monitor} with {key}.mode={mode} would keep the worst epoch: the {better}, the better; "
                f"give --{key}.mode={monitors[monitor]}"
            )


def value_of(config: Any, key: str) -> Any:
    """The value at `data.batch_size`, which jsonargparse keeps at `data.init_args.batch_size`; None if it is not there."""
    for name in key.split("."):
        config = getattr(getattr(config, "init_args", config), name, None)
    return config


def one_line(error: BaseException, known: Iterable[str] = ()) -> str:
    """What jsonargparse or Lightning say in many lines, in one.

    Args:
        known: the keys that exist.
    """
    text = str(error)
    if unknown := re.search(r"[Uu]nrecognized arguments?: (--)?([^\s=]*)", text):
        return f"no key {unknown[0].partition(': ')[2]!r}{nearest(unknown[2], known)}"
    keys = list(dict.fromkeys(re.findall(r'Parser key "([^"]+)"', text)))
    lines = (re.sub(r'^(error: |Parser key "[^"]+":?)', "", line.strip(" -")).strip() for line in text.splitlines())
    lines = (re.sub(r"a <class '(.*?)'>", r"\1", line) for line in lines if not NOISE.search(line))
    lines = (line.replace("a typing.Literal[", "one of [") for line in lines)
    reasons = [re.sub(r".*expects a function or a callable class: |\. Got value: .*", "", line) for line in lines]
    told = "; ".join(dict.fromkeys(line for line in reasons if line))
    return f"{'.'.join(keys)}: {told}" if keys else told


def nearest(word: str, known: Iterable[str]) -> str:
    """`did_you_mean`, without the list of all keys if none is similar."""
    said = did_you_mean(word, known)
    return said if said.startswith("; did you mean") else "; --help lists the keys"


def root_cause(error: BaseException) -> BaseException:
    """The error of ours in the chain of causes, or else the first one."""
    while not isinstance(error, BundleError) and error.__cause__ is not None:
        error = error.__cause__
    return error
