"""An archive of torch-model-archiver with a handler of its own: its code runs, so its digest must be given: `--trust`.

Without the digest the archive is read, and no code of it runs. Its weights are read as data in any case.
"""

import atexit
import hashlib
import re
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

from importers import legacy_archive
from importers.found import Found, ImportRefused, Question
from importers.legacy_archive import MAX_JSON, MAX_RATIO, STOCK, is_archive, manifest
from model_defs import weights_file
from model_defs.build import build
from model_defs.errors import BundleError
from model_defs.imports import distributions, imports, third_party
from model_defs.legacy_files import LegacyError, LegacyFiles
from model_defs.weights_file import WeightsError

DIGITS = 12  # of the SHA-256, that say which bytes are trusted
MAX_OTHERS = 64 << 20  # bytes of all files that are neither code nor weights
MAX_FILES = 1000
WITH_CODE = ("image_segmenter", "text_classifier")  # stock handlers whose network is the archive's own code
CODE_NAME = re.compile(r"(\w+/)*\w+\.py", re.ASCII)
UNPICKLED = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
NOT_KEPT = ("requirements.txt",)
BROKEN = (zipfile.BadZipFile, zlib.error, ValueError, KeyError, NotImplementedError, RuntimeError, EOFError, OSError)


def find(question: Question) -> Found | None:
    """The model of the archive, or None if the source is no archive, or one that `legacy_archive` takes apart.

    Raises:
        ImportRefused: its digest was not given, a damaged archive, or code that cannot be served.
    """
    if not is_archive(question.source):
        return None
    try:
        with zipfile.ZipFile(question.source) as archive:
            model = manifest(archive)
            if model["handler"] in STOCK:
                return None
            if not is_own(model["handler"]) and model["handler"] not in WITH_CODE:
                raise ImportRefused(
                    f"{question.source} has the handler {model['handler']}; imported are archives with "
                    f"{', '.join((*STOCK, *WITH_CODE))} or a handler of their own"
                )
            files = contents(question, archive, model)
    except ImportRefused:
        raise
    except BROKEN as error:
        raise ImportRefused(f"{question.source}: a damaged archive ({str(error)[:100]}); copy it again") from error
    check_trust(question, files)
    return opened(question, files)


def is_own(handler: str) -> bool:
    return handler.endswith(".py") or ":" in handler


def contents(question: Question, archive: zipfile.ZipFile, model: dict[str, Any]) -> LegacyFiles:
    """The archive's files, with the weights read as data.

    Raises:
        ImportRefused: a name or a file that an archive of the bundle cannot hold.
    """
    files = LegacyFiles({key: value for key, value in model.items() if isinstance(value, str)})
    names = [name for name in archive.namelist() if not name.endswith("/") and name.partition("/")[0] != "MAR-INF"]
    if len(names) > MAX_FILES:
        raise ImportRefused(f"{question.source}: {len(names):,} files; {MAX_FILES:,} at most")
    left = MAX_OTHERS
    for name in names:
        if name.startswith("/") or ".." in Path(name).parts or "\\" in name:
            raise ImportRefused(f"{question.source}: {name!r} leads out of the archive")
        info = archive.getinfo(name)
        if info.file_size > MAX_RATIO * info.compress_size + MAX_JSON:
            raise ValueError(f"{name} would take {info.file_size:,} bytes")
        if name == model.get("serializedFile") or is_weights(archive, info):
            files.weights[name] = weights(question, archive, name)
        elif name.endswith(".py"):
            if not CODE_NAME.fullmatch(name):
                raise ImportRefused(f"{question.source}: {name!r} is no name of a Python file that can be imported; rename it")
            files.code[name] = archive.read(info)
        elif Path(name).name not in NOT_KEPT:
            left -= info.file_size
            if left < 0:
                raise ImportRefused(f"{question.source}: its other files have more than {MAX_OTHERS >> 20} MiB; leave some out")
            files.others[name] = archive.read(info)
            if files.others[name].startswith((*UNPICKLED, legacy_archive.ZIP)):
                raise ImportRefused(f"{question.source}: {name} is a pickle or an archive itself; save it as text or JSON")
    return files


def is_weights(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bool:
    """Whether a file besides the serialized one is one of weights: safetensors, or what torch.save writes."""
    if info.filename.endswith(".safetensors"):
        return True
    with archive.open(info) as opened:
        return opened.read(4) == legacy_archive.ZIP and info.filename.endswith((".pt", ".pth", ".bin", ".ckpt"))


def weights(question: Question, archive: zipfile.ZipFile, name: str) -> Any:
    """What `torch.load` would give of a file in the archive, read as data.

    Raises:
        ImportRefused: it would have to be unpickled.
    """
    with tempfile.TemporaryDirectory() as work:
        file = Path(work, Path(name).name)
        with archive.open(name) as source, file.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        try:
            value = weights_file.contents(file)
            LegacyFiles({}, weights={name: value}).write(Path(work), "tried")
        except (WeightsError, LegacyError) as error:
            raise ImportRefused(f"{question.source}: {str(error).replace(f'{work}/', '')}, then archive it again") from None
        return value


def check_trust(question: Question, files: LegacyFiles) -> None:
    """
    Raises:
        ImportRefused: the digest was not given, or is another file's; or the code imports what is not installed.
    """
    with question.source.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    try:
        imported = third_party(name for code in files.code.values() for name in imports(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ImportRefused(f"{question.source}: its code is no Python ({str(error)[:100]})") from None
    own = {Path(name).parts[0].removesuffix(".py") for name in files.code}
    packages = sorted(package for package in imported - own if package)
    given = question.flags.trust or ""
    if len(given) < DIGITS or not digest.startswith(given.lower()):
        lines = sum(len(code.splitlines()) for code in files.code.values())
        wrong = f"--trust {given} is not its digest; " if given else ""
        raise ImportRefused(
            f"{question.source}: {wrong}its handler {files.model['handler']} is code, which would run here and on the server: "
            f"{', '.join(sorted(files.code))[:300] or 'no file'} ({lines} lines), which imports {', '.join(packages)[:300]}. "
            f"If you trust this file, say so: ARGS='--trust {digest[:DIGITS]}'"
        )
    if missing := [package for package in packages if not distributions(package)]:
        raise ImportRefused(
            f"{question.source}: its code imports {missing[0]}, which is not installed; its requirements.txt is not read: "
            f"install it, .venv/bin/pip install {missing[0]}"
        )


def opened(question: Question, files: LegacyFiles) -> Found:
    """The handler, after its `initialize`."""
    work = Path(tempfile.mkdtemp(prefix="import-"))
    atexit.register(shutil.rmtree, work, ignore_errors=True)
    files.write(work, question.name)
    is_json = Path(question.flags.inputs).suffix.lower() == ".json"
    init_args = {"name": question.name, "is_batched": True}
    reads = build({"class_path": "model_defs.legacy_handler.LegacyTransform", "init_args": init_args | {"is_json": is_json}})
    try:
        reads.load(work)
    except BundleError as error:
        raise ImportRefused(f"{question.source}: {error}") from error
    is_batched = reads.handler.has_methods and not writes_handle(reads.handler.service)
    init_args["is_batched"] = reads.is_batched = is_batched
    network = {"class_path": "model_defs.legacy_handler.LegacyNetwork", "init_args": init_args}
    built = build(network).eval()
    built.load(work)
    how = "its preprocess and postprocess see one input, its inference the batch" if is_batched else "its handle sees one input"
    return Found(
        lines=[
            f"{question.source}: an archive with the handler {files.model['handler']}, which runs here and on the server",
            f"{len(files.code)} files of code, {len(files.weights)} of weights, read as data, {len(files.others)} others; {how}",
        ],
        network=network,
        built=built,
        transform={
            "class_path": "model_defs.legacy_handler.LegacyTransform",
            "init_args": init_args | ({"is_json": True} if is_json else {}),
        },
        reads=reads,
        labels=[],
        handler="handlers.legacy_custom.CustomHandler",
        answer=lambda output, _: reads.answer(output),
        inputs="inputs",
        metric="",
        flags=("trust",),
    )


def writes_handle(service: Any) -> bool:
    """Whether the class has a `handle` of its own rather than TorchServe's, which calls the three methods."""
    owner = next(one for one in type(service).__mro__ if "handle" in vars(one))
    return not owner.__module__.startswith("ts.")
