"""Check what an archive says about itself: its manifest, bill of materials, recipe and samples.

They are read as data. No code of the archive runs.
"""

import zipfile
from pathlib import Path
from typing import Any

import msgspec
import yaml

from model_defs.bundle_format import BILL, CODE, MANIFEST, MODEL, SAMPLES, SAMPLES_FILE, SCHEMA, fault_of_name
from serving.errors import UnsafeArchive

MAX_JSON, MAX_RECIPE = 16 << 20, 8 << 10  # bytes; the YAML reader needs minutes for 50 KB of brackets
MAX_ALIASES = 16  # in a recipe's YAML: each alias can double the size of what it stands for


class ManifestModel(msgspec.Struct, forbid_unknown_fields=True):
    """The manifest's section `model`. Other fields are refused, because TorchServe obeys them: it installs `requirementsFile`."""

    modelName: str
    modelVersion: str
    handler: str
    configFile: str


class Manifest(msgspec.Struct):
    model: ManifestModel
    bundleVersion: str = ""  # of the bundle that built the archive; version 0.1 did not say it


class Digest(msgspec.Struct):
    alg: str
    content: str


class Component(msgspec.Struct):
    type: str
    name: str
    hashes: list[Digest] = []


class Bill(msgspec.Struct):
    components: list[Component]


class Model(msgspec.Struct):
    data: dict[str, Any]


class Sample(msgspec.Struct):
    file: str


def check(archive: zipfile.ZipFile, digests: dict[str, str], file_name: str) -> tuple[str, str, str]:
    """Check the archive.

    Returns:
        The fingerprint of the data that its model was trained with, and the version of the bundle that built it, each "" if the
        archive does not have it; and where the model comes from, in words.

    Args:
        digests: the SHA-256 of each entry by its name.
        file_name: of the archive.

    Raises:
        UnsafeArchive: the archive is not the one that its file name says, no model can have its name, or it has other files than
            its bill of materials, a recipe that its code does not know, or no samples.
    """
    manifest = read_json(archive, MANIFEST, Manifest)
    model = manifest.model
    if file_name != f"{model.modelName}-{model.modelVersion}.mar":
        raise UnsafeArchive(f"this is {model.modelName} {model.modelVersion}, its manifest says")
    if fault := fault_of_name(model.modelName):
        raise UnsafeArchive(f"{fault}, and build the archive again")
    for name in (SCHEMA, BILL):
        if name not in digests:
            raise UnsafeArchive(
                f"no {name} in it: it was built by {built_by(manifest)} or by something else; remove it and build it anew: "
                f"make archive MODEL={model.modelName} VERSION={model.modelVersion}"
            )
    for name in digests:
        if name.endswith(".py") and name.partition("/")[0] not in CODE and name != model.handler:
            raise UnsafeArchive(f"{name!r} is code outside {' and '.join(CODE)}")
    check_bill(read_json(archive, BILL, Bill), digests)
    if model.handler not in digests:  # TorchServe would look for a handler of its own with that name
        raise UnsafeArchive(f"{MANIFEST} names the handler {model.handler!r}, which is not there")
    if wrong := fault_of_recipe(read_recipe(archive, model.configFile), read_json(archive, SCHEMA, dict[str, Any])):
        raise UnsafeArchive(f"{model.configFile}: {wrong}")
    samples = read_json(archive, SAMPLES_FILE, list[Sample])
    if not samples:
        raise UnsafeArchive(f"no samples to prove it by: {SAMPLES_FILE} is empty")
    for sample in samples:
        if f"{SAMPLES}/{sample.file}" not in digests:
            raise UnsafeArchive(f"{SAMPLES_FILE} names {sample.file!r}, which is not there")
    data = read_json(archive, MODEL, Model).data
    return str(data.get("sha256", "")), manifest.bundleVersion, origin_of(data)


def origin_of(data: dict[str, Any]) -> str:
    """Where the model comes from, in words, from the `data` of its model.json: as `importers/write.py` writes it."""
    if data.get("source") != "imported":
        return "trained here"
    return "imported, not compared" if data.get("compared") in (None, "not compared") else "imported, compared"


def origin(archive: Path) -> str:
    """The same of an archive that is served; "-" if it cannot be read."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return origin_of(read_json(opened, MODEL, Model).data)
    except (OSError, zipfile.BadZipFile, UnsafeArchive):
        return "-"


def built_by(manifest: Manifest) -> str:
    """The bundle that built the archive, in words."""
    return f"bundle {manifest.bundleVersion}" if manifest.bundleVersion else "an older bundle"


def read_json(archive: zipfile.ZipFile, name: str, kind: Any) -> Any:
    """A JSON file of the archive, as an object of that type.

    Raises:
        UnsafeArchive: there is no such file, it is too long, or it is of another type.
    """
    try:
        return msgspec.json.decode(read_bytes(archive, name, MAX_JSON), type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnsafeArchive(f"{name}: {error}") from None


def read_bytes(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """A file of the archive.

    Raises:
        UnsafeArchive: there is no such file, or it has more than `most` bytes.
    """
    try:
        entry = archive.getinfo(name)
    except KeyError:
        raise UnsafeArchive(f"no {name} in it") from None
    if entry.file_size > most:
        raise UnsafeArchive(f"{name}: longer than {most >> 10:,} KiB")
    return archive.read(entry)


def check_bill(bill: Bill, digests: dict[str, str]) -> None:
    """Compare the bill of materials with the files.

    Raises:
        UnsafeArchive: it lists other files than there are.
    """
    listed = {
        part.name: {digest.alg: digest.content for digest in part.hashes} for part in bill.components if part.type == "file"
    }
    there = {name: digest for name, digest in digests.items() if name != BILL}
    if strange := sorted(listed.keys() ^ there.keys()):
        raise UnsafeArchive(f"{strange[0]!r} is " + (f"not in {BILL}" if strange[0] in there else f"in {BILL}, but not there"))
    for name, digest in there.items():
        if listed[name].get("SHA-256") != digest:
            raise UnsafeArchive(f"{name!r} is not the file that {BILL} lists")


def read_recipe(archive: zipfile.ZipFile, name: str) -> Any:
    """The recipe, read as TorchServe reads it.

    Raises:
        UnsafeArchive: there is no such file, it is too long, or it is not YAML.
    """
    text = read_bytes(archive, name, MAX_RECIPE)
    try:
        aliases = sum(isinstance(token, yaml.AliasToken) for token in yaml.scan(text))
        if aliases > MAX_ALIASES:
            raise UnsafeArchive(f"{name}: more than {MAX_ALIASES} aliases")
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UnsafeArchive(f"{name}: not YAML: {error}") from None


def fault_of_recipe(recipe: Any, schema: dict[str, Any]) -> str | None:
    """What in the recipe the archive's code does not know. The schema in the archive says what it knows."""
    import jsonschema  # next to some packages this import takes seconds, and most commands check no recipe
    import referencing

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
        checked = jsonschema.Draft202012Validator(schema, registry=referencing.Registry())  # a registry that fetches nothing
        error = jsonschema.exceptions.best_match(checked.iter_errors(recipe))
    except (jsonschema.SchemaError, referencing.exceptions.Unresolvable, RecursionError) as error:
        return f"cannot be checked, since {SCHEMA} is no schema: {str(error).splitlines()[0]}"
    if error is None:
        return None
    at = "".join(f"{part}: " for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = next(key for key in error.instance if key not in known)
        return f"{at}unknown key {unknown!r}; this archive's code knows: {', '.join(known) or 'none'}"
    if error.validator == "enum":
        return f"{at}{error.instance!r}; this archive's code knows: {', '.join(map(str, error.validator_value))}"
    return f"{at}{error.message}"
