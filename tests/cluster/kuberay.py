"""What KubeRay's definition of a RayService allows: keys, types, required keys and enumerations, in kuberay_rayservice.json.gz.

It comes from ray-operator/config/crd/bases/ray.io_rayservices.yaml of github.com/ray-project/kuberay (Apache License 2.0), at
commit feeaf72, without the descriptions. To make it again from another version:

    python -m tests.cluster.kuberay ray.io_rayservices.yaml
"""

import gzip
import json
import sys
from pathlib import Path

import yaml

FILE = Path(__file__).with_name("kuberay_rayservice.json.gz")
ANY, MIXED = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"
STRUCTURE = {"type", "properties", "items", "required", "enum", "additionalProperties", ANY, MIXED}
KINDS = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "number": (int, float)}


def schema() -> dict:
    """Of a RayService. Kubernetes itself knows what `metadata` may be."""
    found = json.loads(gzip.decompress(FILE.read_bytes()))
    found["properties"]["metadata"] = {"type": "object", ANY: True}
    return found


def errors(value, schema: dict, at: str = "") -> list[str]:
    """Where a manifest is not what the definition says. A key that it does not list is an error: Kubernetes drops it silently."""
    if schema.get(MIXED) or schema.get(ANY):
        return []
    if not isinstance(value, KINDS[schema["type"]]) or (schema["type"] == "integer" and isinstance(value, bool)):
        return [f"{at}: {value!r} is no {schema['type']}"]
    found = [f"{at}: {value!r} is none of {schema['enum']}"] if "enum" in schema and value not in schema["enum"] else []
    if isinstance(value, list):
        return found + [error for index, each in enumerate(value) for error in errors(each, schema["items"], f"{at}[{index}]")]
    if isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        found += [f"{at}.{key} is unknown" for key in value if key not in known]
        found += [f"{at}.{key} is missing" for key in schema.get("required", []) if key not in value]
        return found + [error for key, each in value.items() if key in known for error in errors(each, known[key], f"{at}.{key}")]
    if isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        inner = schema["additionalProperties"]
        return found + [error for key, each in value.items() for error in errors(each, inner, f"{at}.{key}")]
    return found


def structure(schema: dict) -> dict:
    """A schema without its descriptions, defaults and limits."""
    kept = {key: value for key, value in schema.items() if key in STRUCTURE}
    if "properties" in kept:
        kept["properties"] = {name: structure(each) for name, each in kept["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(kept.get(key), dict):
            kept[key] = structure(kept[key])
    return kept


def main() -> None:
    definition = yaml.load(Path(sys.argv[1]).read_text(), Loader=yaml.CSafeLoader)
    version = next(each for each in definition["spec"]["versions"] if each["name"] == "v1")
    content = json.dumps(structure(version["schema"]["openAPIV3Schema"]), separators=(",", ":"))
    FILE.write_bytes(gzip.compress(content.encode(), mtime=0))


if __name__ == "__main__":
    main()
