"""Weights of a network of one's own: `--network my_net.py:MyNet(n_classes=4)` names the file of the network.

This file runs, at the import and on the server, because its owner names it. It is the only code that an archive takes in.
"""

import ast
import importlib.util
import inspect
import json
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from importers import labels, tensor_names
from importers.found import OF_WEIGHTS, Found, ImportRefused, OwnCodeFails, Question, common_prefix
from importers.preprocessing import FLAGS, chosen, described
from importers.tensor_names import shapes
from model_defs.build import VARIADIC, build, classes_of, did_you_mean
from model_defs.errors import where
from model_defs.exact_audio import LONGEST
from model_defs.imports import distributions, imports, third_party
from model_defs.postprocess import top

MAX_BYTES = 1 << 20
MAX_RATE = 384_000  # Hz
PACKAGE = "model_defs.own"
EXAMPLE = "ARGS='--network my_net.py:MyNet(n_classes=4)'"
UNNORMALIZED = {"mean": [0.0], "std": [1.0]}  # of a grey picture, whose usual mean nobody knows


def find(question: Question) -> Found | None:
    """The network of the named file with its weights, or None if `--network` names no file.

    Raises:
        ImportRefused: no such file or class, weights that do not fit it, or a network that is no classifier.
    """
    _, separator, call = question.flags.network.partition(".py:")
    if not separator or question.weights is None:
        return None
    file, module = file_of(question), f"{PACKAGE}.{question.name}"
    code = read(file)
    name, arguments = parsed(call)
    made = network_class(loaded(file, code, module), file, name)
    init_args = bound(made, arguments, question.flags.network)
    own = {"class_path": f"{module}.{name}", "init_args": init_args}
    lines = [
        f"{file}: {name}({', '.join(f'{key}={value!r}' for key, value in init_args.items())}); its {len(code.splitlines())} "
        "lines run now, and on the server",
        f"{question.source}: {question.weights.kind}; {len(question.weights.tensors)} tensors, all of {name}",
    ]
    network = weighted(question, own, lines)
    read_as = pictures if question.flags.sample_rate is None else sounds
    found = read_as(question, own, network, lines)
    found.code = {f"{module.replace('.', '/')}.py": code}
    return found


def file_of(question: Question) -> Path:
    return Path(f"{question.flags.network.partition('.py:')[0]}.py")


def read(file: Path) -> bytes:
    """The file's code.

    Raises:
        ImportRefused: no such file, no Python, or one that imports what an archive cannot bring.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES >> 20} MiB")
        code = file.read_bytes()
        names = imports(code)
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        raise ImportRefused(f"--network {file}: cannot be read ({str(error)[:200]}); give {EXAMPLE}") from None
    relative = any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(ast.parse(code)))
    missing = sorted(package for package in third_party(names) if package and not distributions(package))
    if relative or missing:
        what = missing[0] if missing else "a module next to it"
        raise ImportRefused(
            f"--network {file} imports {what}, which is not installed; "
            f"an archive takes in one file of yours: put its code into {file.name}"
        )
    return code


def parsed(call: str) -> tuple[str, ast.Call | None]:
    """`MyNet(n_classes=4)`, or `MyNet` -> the name of the class and the call."""
    try:
        node = ast.parse(call, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        node = None
    if isinstance(node, ast.Name):
        return node.id, None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id, node
    raise ImportRefused(f"--network: {call!r} is no class with its arguments; give {EXAMPLE}")


def loaded(file: Path, code: bytes, module: str) -> ModuleType:
    """Run the file, under the name that it will have in the archive.

    Raises:
        ImportRefused: it fails.
    """
    spec = importlib.util.spec_from_loader(module, loader=None, origin=str(file))
    made = importlib.util.module_from_spec(spec)
    made.__file__ = str(file)
    sys.modules[module] = made  # `build` finds it there; the file is written only when the import has succeeded
    try:
        exec(compile(code, str(file), "exec"), made.__dict__)
    except Exception as error:
        del sys.modules[module]
        raise OwnCodeFails(f"--network {file} fails: {where(error, file)}") from error
    return made


def network_class(module: ModuleType, file: Path, name: str) -> type[nn.Module]:
    found = getattr(module, name, None)
    if not inspect.isclass(found) or found.__module__ != module.__name__ or not issubclass(found, nn.Module):
        known = [each for each in classes_of(module) if issubclass(getattr(module, each), nn.Module)]
        raise ImportRefused(f"--network {file}: no network {name!r} of its own in it{did_you_mean(name, known)}")
    return found


def bound(made: type[nn.Module], call: ast.Call | None, given: str) -> dict[str, Any]:
    """The call's arguments by the names that the class gives them.

    Raises:
        ImportRefused: an argument that is no plain value, or that the class does not take.
    """
    try:
        positional = [ast.literal_eval(argument) for argument in call.args] if call else []
        named = {argument.arg: ast.literal_eval(argument.value) for argument in call.keywords} if call else {}
        arguments = inspect.signature(made).bind(*positional, **named).arguments
        if any(inspect.signature(made).parameters[name].kind in VARIADIC for name in arguments):
            raise TypeError("arguments without a name of their own in the class")
        return json.loads(json.dumps(arguments))  # as model.json holds them
    except (ValueError, TypeError) as error:
        signature = f"{made.__name__}{inspect.signature(made)}"
        raise ImportRefused(f"--network {given}: {str(error)[:200]}; it takes {signature}, with plain values") from None


def weighted(question: Question, own: dict[str, Any], lines: list[str]) -> nn.Module:
    """The network with exactly the file's tensors, in evaluation mode."""
    try:
        network = build(own).eval()
    except Exception as error:  # the owner's own code
        raise OwnCodeFails(f"--network {question.flags.network} fails: {where(error, file_of(question))}") from error
    prefix = common_prefix(network.state_dict())
    tensors = {f"{prefix}{name}": tensor for name, tensor in question.weights.tensors.items()}
    given, wanted = shapes(tensors), shapes(network.state_dict())
    if given != wanted:
        wrong = tensor_names.difference(given, wanted)
        raise ImportRefused(f"{question.source} does not fit {question.flags.network}: {wrong}; are its arguments right?")
    tensor_names.load(network, tensor_names.in_fp32(tensors, lines))
    return network


def outputs_of(question: Question, network: nn.Module, example: Tensor, what: str) -> int:
    """The number of classes.

    Raises:
        ImportRefused: the network fails on the example, or answers no (1, classes).
    """
    try:
        with torch.inference_mode():
            output = network(example)
    except Exception as error:
        raise OwnCodeFails(f"--network {question.flags.network} fails on {what}: {where(error, file_of(question))}") from error
    if not isinstance(output, Tensor) or output.dim() != 2 or output.shape[0] != 1 or output.shape[1] < 2:
        given = f"{tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise ImportRefused(f"--network: it answers {given} to {what}; a classifier answers (1, classes)")
    return output.shape[1]


def pictures(question: Question, own: dict[str, Any], network: nn.Module, lines: list[str]) -> Found:
    seen = chosen(question.flags, UNNORMALIZED if question.flags.grey else {}, question.flags.grey)
    transform = seen.spec()
    spec = {
        "class_path": "model_defs.own_network.NormalizedNetwork",
        "init_args": {"network": own, "mean": list(seen.mean), "std": list(seen.std)},
    }
    built = build(spec).eval()
    built.network = network
    height, width = (seen.crop, seen.crop) if seen.crop else seen.resize
    example = torch.zeros(1, len(seen.mean), height, width, dtype=torch.uint8)
    count = outputs_of(
        question, built, example, f"a picture of {height} x {width} pixels (--crop, --squash, --grey to say otherwise)"
    )
    names, source = labels.find(question, count, question.weights.extras)
    lines += [labels.line(names, source), *described(seen, "the usual", question.flags)]
    return Found(
        lines=lines, network=spec, built=built, transform=transform, reads=build(transform), labels=names,
        handler="handlers.vision.ImageClassifier", answer=partial(answered, labels=names), inputs="pictures",
        variants=seen.variants(), flags=(*OF_WEIGHTS, *FLAGS, "grey"),
    )  # fmt: skip


def sounds(question: Question, own: dict[str, Any], network: nn.Module, lines: list[str]) -> Found:
    rate, seconds = question.flags.sample_rate, question.flags.seconds
    if not 1 <= rate <= MAX_RATE or not 0 < (1 if seconds is None else seconds) <= LONGEST:
        raise ImportRefused(f"--sample-rate is 1 to {MAX_RATE:,} Hz, and --seconds more than 0, {LONGEST:g} at most")
    transform = {
        "class_path": "model_defs.exact_audio.WaveformTransform",
        "init_args": {"sample_rate": rate} | ({"seconds": seconds} if seconds else {}),
    }
    example = torch.zeros(1, round(rate * (seconds or 1)))
    count = outputs_of(question, network, example, f"a waveform of {tuple(example.shape)}")
    names, source = labels.find(question, count, question.weights.extras)
    length = f"cut or filled to {seconds:g} s" if seconds else "each as long as it is (--seconds to say otherwise)"
    lines += [labels.line(names, source), f"sounds: mono, {rate:,} Hz, {length}"]
    return Found(
        lines=lines, network=own, built=network, transform=transform, reads=build(transform), labels=names,
        handler="handlers.audio.AudioClassifier", answer=partial(answered, labels=names), inputs="sounds",
        flags=(*OF_WEIGHTS, "sample_rate", "seconds"),
    )  # fmt: skip


def answered(output: Tensor, sample: Any, labels: list[str]) -> list[dict]:
    return top(output, labels)
