"""What the bundle's own files in an archive say: which model it is, what it should hold, which recipes its code knows.

Reads them as data; none of the archive's code is run. Knows nothing of the zip around them (`serving/zip_check.py`).
"""

import zipfile
from typing import Any

import msgspec
import yaml

from model_defs.bundle_format import BILL, CODE, MANIFEST, MODEL, SAMPLES, SAMPLES_FILE, SCHEMA
from serving.zip_check import UnsafeArchive

MOST_PAPER, MOST_RECIPE = 16 << 20, 8 << 10  # bytes; YAML's reader takes minutes for 50 KB of brackets
MOST_ALIASES = 16  # in a recipe's YAML: each can double what it stands for


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """What the manifest says of the model; TorchServe would obey more, and install `requirementsFile`."""

    modelName: str
    modelVersion: str
    handler: str
    configFile: str


class Manifest(msgspec.Struct):
    model: Named
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


def check(whole: zipfile.ZipFile, digests: dict[str, str], file_name: str) -> tuple[str, str]:
    """The fingerprint of the data, and the version of the bundle that built the archive; empty where the archive does not say it.

    Args:
        digests: the SHA-256 of each entry by its name.
        file_name: of the archive.

    Raises:
        UnsafeArchive: the archive is another one than its name says, holds other files than its bill of materials says, a recipe that
            its code does not know, or no samples to prove it by.
    """
    manifest = paper(whole, MANIFEST, Manifest)
    named = manifest.model
    if file_name != f"{named.modelName}-{named.modelVersion}.mar":
        raise UnsafeArchive(f"this is {named.modelName} {named.modelVersion}, its manifest says")
    for name in (SCHEMA, BILL):
        if name not in digests:
            raise UnsafeArchive(
                f"no {name} in it: it was built by {built_by(manifest)} or by something else; remove it and build it anew: "
                f"make archive MODEL={named.modelName} VERSION={named.modelVersion}"
            )
    for name in digests:
        if name.endswith(".py") and name.partition("/")[0] not in CODE and name != named.handler:
            raise UnsafeArchive(f"{name!r} is code outside {' and '.join(CODE)}")
    check_bill(paper(whole, BILL, Bill), digests)
    if named.handler not in digests:  # TorchServe would look for one of its own of that name
        raise UnsafeArchive(f"{MANIFEST} names the handler {named.handler!r}, which is not there")
    if wrong := fault_of_recipe(recipe_in(whole, named.configFile), paper(whole, SCHEMA, dict[str, Any])):
        raise UnsafeArchive(f"{named.configFile}: {wrong}")
    samples = paper(whole, SAMPLES_FILE, list[Sample])
    if not samples:
        raise UnsafeArchive(f"no samples to prove it by: {SAMPLES_FILE} is empty")
    for sample in samples:
        if f"{SAMPLES}/{sample.file}" not in digests:
            raise UnsafeArchive(f"{SAMPLES_FILE} names {sample.file!r}, which is not there")
    return str(paper(whole, MODEL, Model).data.get("sha256", "")), manifest.bundleVersion


def built_by(manifest: Manifest) -> str:
    """The bundle that built the archive, in words."""
    return f"bundle {manifest.bundleVersion}" if manifest.bundleVersion else "an older bundle"


def paper(whole: zipfile.ZipFile, name: str, kind: Any) -> Any:
    """A JSON file of the archive as `kind`."""
    try:
        return msgspec.json.decode(text_of(whole, name), type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnsafeArchive(f"{name}: {error}") from None


def text_of(whole: zipfile.ZipFile, name: str, most: int = MOST_PAPER) -> bytes:
    """A file of the archive, of at most so many bytes."""
    try:
        entry = whole.getinfo(name)
    except KeyError:
        raise UnsafeArchive(f"no {name} in it") from None
    if entry.file_size > most:
        raise UnsafeArchive(f"{name}: longer than {most >> 10:,} KiB")
    return whole.read(entry)


def check_bill(bill: Bill, digests: dict[str, str]) -> None:
    """
    Raises:
        UnsafeArchive: the bill of materials lists other files than there are.
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


def recipe_in(whole: zipfile.ZipFile, name: str) -> Any:
    """The recipe, read as TorchServe reads it."""
    text = text_of(whole, name, MOST_RECIPE)
    try:
        aliases = sum(isinstance(token, yaml.AliasToken) for token in yaml.scan(text))
        if aliases > MOST_ALIASES:
            raise UnsafeArchive(f"{name}: more than {MOST_ALIASES} aliases")
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UnsafeArchive(f"{name}: not YAML: {error}") from None


def fault_of_recipe(recipe: Any, schema: dict[str, Any]) -> str | None:
    """What in the recipe the packed code does not know, by the schema that came with that code."""
    import jsonschema  # beside some packages it takes seconds to import, and most commands check no recipe
    import referencing

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
        checked = jsonschema.Draft202012Validator(schema, registry=referencing.Registry())  # which fetches nothing
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
