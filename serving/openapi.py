"""One OpenAPI 3.1 document for all hosted models, from the descriptions in their archives: `make openapi`."""

import argparse
import json
from pathlib import Path
from typing import Any

from serving.describe import archive_of, description
from serving.errors import ServerError
from serving.state import StateDir
from serving.verify import archives_of

JSON, FORM, BYTES, LINES = "application/json", "multipart/form-data", "application/octet-stream", "application/jsonlines"
VERSION = "3.1.0"
REFUSALS = {
    "400": "the body cannot be read, or the token is wrong",
    "404": "no such model",
    "413": "the body or the input is too large, or there are too many inputs",
    "415": "data of another kind than the model takes",
    "422": "a value that is not allowed",
    "500": "the model failed on this input",
    "501": "this model gives no explanations",
    "503": "the server is busy; send the request again",
    "504": "the answer took too long",
    "507": "the input needs more memory than there is",
}
BINARY: dict[str, Any] = {}  # the schema of raw bytes, as OpenAPI 3.1 writes it


def openapi(home: StateDir, arguments: argparse.Namespace) -> None:
    """write one OpenAPI document for all hosted models, or for all of the model store if no server runs"""
    found = [description(archive) for archive in chosen(home, arguments)]
    server = home.running()
    text = json.dumps(document(found, server.inference if server else "/"), indent=1, ensure_ascii=False) + "\n"
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(text, encoding="utf-8")
    names = ", ".join(f"{each['name']} {each['version']}" for each in found)
    print(f"{arguments.output}: OpenAPI {VERSION} of {names}")


def chosen(home: StateDir, arguments: argparse.Namespace) -> list[Path]:
    """The archives of the hosted models, or the newest of each model in the store.

    Raises:
        ServerError: there is none.
    """
    hosted = home.registered() if home.running() else {}
    models = sorted(hosted or {archive.stem.rpartition("-")[0] for archive in archives_of(arguments.store)})
    if not models:
        raise ServerError(f"no archives in {arguments.store}/; make archive makes some")
    return [archive_of(home, arguments.store, model, None) for model in models]


def document(models: list[dict[str, Any]], server: str) -> dict[str, Any]:
    """The document for these descriptions.

    Args:
        server: its URL.
    """
    schemas: dict[str, Any] = {"Error": models[0]["error"]["schema"], **SHARED}
    paths: dict[str, Any] = {
        "/ping": {"get": operation("ping", "whether the server is there", {"200": "it is", "400": "the token is wrong"})}
    }
    for model in models:
        schemas |= schemas_of(model)
        paths |= paths_of(model)
    paths["/invocations"] = {"post": invocations(models)}
    return {
        "openapi": VERSION,
        "info": {"title": "Models", "version": ", ".join(f"{each['name']} {each['version']}" for each in models)},
        "servers": [{"url": server}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


# --- schemas


def component(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


SHARED: dict[str, Any] = {
    # TorchServe itself refuses a token or a model that it does not know, in its own form.
    "ProtocolError": {
        "anyOf": [
            {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]},
            component("Error"),
        ]
    },
    "InputError": {"type": "object", "properties": {"error": component("Error")}, "required": ["error"]},
    "Tensor": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "datatype": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "data": {"type": "array"},
            "parameters": {"type": "object"},
        },
        "required": ["name", "datatype", "shape"],
    },
    "TensorAnswer": {
        "type": "object",
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": component("Tensor")},
        },
        "required": ["model_name", "outputs"],
    },
}


def schemas_of(model: dict[str, Any]) -> dict[str, Any]:
    """The model's own schemas, each under `<model>.<name>`."""
    name = model["name"]
    answer, inner = lifted(model["answer"]["schema"], name)
    parameters, more = lifted(model["parameters"], name)
    one = model["input"]["schema"] | {"examples": [model["input"]["example"]]}
    body: dict[str, Any] = {"inputs": component(f"{name}.Input")}
    if model["takes_a_list"]:
        several = {"type": "array", "items": component(f"{name}.Input"), "minItems": 1, "maxItems": model["max_inputs"]}
        body["inputs"] = {"anyOf": [component(f"{name}.Input"), several]}
    instances = {"type": "array", "items": component(f"{name}.Input"), "minItems": 1, "maxItems": model["max_inputs"]}
    options = component(f"{name}.Parameters")
    listed = {"type": "array", "items": {"anyOf": [component(f"{name}.Answer"), component("InputError")]}}
    own = {
        "Input": one,
        "Parameters": parameters,
        "Answer": answer | {"examples": [model["answer"]["example"]]},
        "Body": object_of({"inputs": body["inputs"], "parameters": options}, "inputs"),
        "Answers": {"anyOf": [component(f"{name}.Answer"), listed]},
        "Instances": object_of({"instances": instances, "parameters": options}, "instances"),
        "Predictions": object_of({"predictions": listed}, "predictions"),
        "Tensors": tensors_of(model),
    }
    if model["explanation_parameters"]:
        own["ExplanationParameters"], extra = lifted(model["explanation_parameters"], name)
        own["ExplanationBody"] = object_of(
            {"inputs": body["inputs"], "parameters": component(f"{name}.ExplanationParameters")}, "inputs"
        )
        more |= extra
    return {f"{name}.{key}": value for key, value in own.items()} | inner | more


def object_of(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}


def tensors_of(model: dict[str, Any]) -> dict[str, Any]:
    """The schema of a request in the Open Inference Protocol: a tensor for each one of the model's metadata."""
    tensors = [
        object_of(
            {
                "name": {"const": one["name"]},
                "datatype": {"const": one["datatype"]},
                "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 2},
                "data": {"type": "array", "minItems": 1, "maxItems": model["max_inputs"]},
            },
            *("name", "datatype", "shape", "data"),
        )
        for one in model["v2"]["inputs"]
    ]
    inputs = {"type": "array", "items": {"anyOf": tensors}, "minItems": len(tensors), "maxItems": len(tensors)}
    options = component(f"{model['name']}.Parameters")
    return object_of({"id": {"type": "string"}, "inputs": inputs, "parameters": options}, "inputs")


def lifted(schema: dict[str, Any], model: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A schema without its `$defs`, and these as components `<model>.<name>`; references lead there."""
    inner = {f"{model}.{name}": moved(each, model) for name, each in schema.get("$defs", {}).items()}
    return moved({key: value for key, value in schema.items() if key != "$defs"}, model), inner


def moved(value: Any, model: str) -> Any:
    """A copy of a schema whose references lead to the model's components."""
    if isinstance(value, list):
        return [moved(one, model) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: f"#/components/schemas/{model}.{one.rpartition('/')[2]}" if key == "$ref" else moved(one, model)
        for key, one in value.items()
    }


# --- paths


def operation(name: str, summary: str, responses: dict[str, str]) -> dict[str, Any]:
    described = {code: {"description": text} for code, text in responses.items()}
    return {"operationId": name, "summary": summary, "responses": described}


def asked(
    name: str,
    summary: str,
    content: dict[str, Any],
    answer: dict[str, Any],
    error: str = "Error",
    media: tuple[str, ...] = (JSON,),
) -> dict[str, Any]:
    """A POST operation.

    Args:
        content: the schema of the body, by media type.
        answer: the schema of the answer.
        error: the component of a refusal.
        media: the types of the answer.
    """
    refusals = {code: {"description": text, "content": {JSON: {"schema": component(error)}}} for code, text in REFUSALS.items()}
    given = {kind: {"schema": answer if kind == JSON else BINARY} for kind in media}
    return {
        "operationId": name,
        "summary": summary,
        "requestBody": {"required": True, "content": {kind: {"schema": schema} for kind, schema in content.items()}},
        "responses": {"200": {"description": "the answer", "content": given}, **refusals},
    }


def paths_of(model: dict[str, Any]) -> dict[str, Any]:
    """The model's addresses."""
    name = model["name"]
    what = f"{name} {model['version']}: {model['accepts']}"
    native, answers = native_content(model), component(f"{name}.Answers")
    instances, tensors = {JSON: component(f"{name}.Instances")}, {JSON: component(f"{name}.Tensors")}
    explained = native | ({JSON: component(f"{name}.ExplanationBody")} if model["explanation_parameters"] else {})
    anything: dict[str, Any] = {}
    v1, v2 = component(f"{name}.Predictions"), component("TensorAnswer")
    operations = {
        f"/predictions/{name}": asked(f"{name}_predict", f"{what} -> its answer", native, answers),
        f"/explanations/{name}": asked(f"{name}_explain", f"{what} -> why it is answered so", explained, anything),
        f"/v1/models/{name}:predict": asked(f"{name}_v1", f"{what}, as KServe v1 and Vertex AI", instances, v1, "ProtocolError"),
        f"/v1/models/{name}:explain": asked(f"{name}_v1_explain", f"{what}, as KServe v1", instances, anything, "ProtocolError"),
        f"/v2/models/{name}/infer": asked(
            f"{name}_v2", f"{what}, as the Open Inference Protocol v2", tensors, v2, "ProtocolError", (JSON, BYTES)
        ),
    }
    return {path: {"post": each} for path, each in operations.items()}


def native_content(model: dict[str, Any]) -> dict[str, Any]:
    """The schema of a native body by media type."""
    name, schema = model["name"], model["input"]["schema"]
    is_text, is_file = schema == {"type": "string"}, "contentEncoding" in schema
    content = {JSON: component(f"{name}.Body")}
    if is_text:
        content["text/plain"] = {"type": "string"}
    if is_file:
        content |= {BYTES: BINARY} | {f"{media}*": BINARY for media in model["media_types"]}
    if is_text or is_file or model["form_fields"] != ["data"]:
        parts = {field: {"type": "string"} for field in model["form_fields"]}
        content[FORM] = object_of(parts, *model["form_fields"])
    return content


def invocations(models: list[dict[str, Any]]) -> dict[str, Any]:
    """SageMaker's address, one for all models."""
    bodies = [component(f"{each['name']}.{kind}") for each in models for kind in ("Body", "Instances")]
    answers = [component(f"{each['name']}.{kind}") for each in models for kind in ("Answers", "Predictions")]
    found = asked("invoke", "any model, as SageMaker", {JSON: {"anyOf": bodies}}, {"anyOf": answers}, media=(JSON, LINES))
    names = {"type": "string", "enum": [each["name"] for each in models]}
    return found | {"parameters": [{"name": "model_name", "in": "query", "required": True, "schema": names}]}
