"""Ask a server with Triton's own Python client over HTTP. Runs in .venv-clients, and prints what came back as JSON.

Usage: ask_triton.py ADDRESS TOKEN PICTURE TEXT
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


def given(values: list, binary: bool = True) -> triton.InferInput:
    tensor = triton.InferInput("inputs", [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array(values, dtype=np.object_), binary_data=binary)
    return tensor


def tensors(answer: triton.InferResult) -> dict[str, list]:
    names = [output["name"] for output in answer.get_response()["outputs"]]
    return {name: as_text(answer.as_numpy(name).tolist()) for name in names}


def as_text(value):
    """BYTES come back as Python's bytes."""
    if isinstance(value, list):
        return [as_text(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value


def ask(address: str, token: str, picture: bytes, text: str) -> dict:
    client = triton.InferenceServerClient(address, network_timeout=60)

    def infer(model: str, *inputs: triton.InferInput, **options) -> triton.InferResult:
        return client.infer(model, [*inputs], headers={"Authorization": f"Bearer {token}"}, **options)

    scores = [triton.InferRequestedOutput("scores", binary_data=True), triton.InferRequestedOutput("labels", binary_data=False)]
    found = {
        "version": version("tritonclient"),
        "picture": tensors(infer("digits", given([picture]))),
        "texts": tensors(infer("intents", given([text, text], binary=False), outputs=scores, request_id="7")),
        "gzip": tensors(infer("intents", given([text]), request_compression_algorithm="gzip", parameters={"top_k": 2})),
        "id": infer("intents", given([text]), request_id="7").get_response()["id"],
        "some": tensors(infer("intents", given([text, ""]))),
    }
    for name, options in {
        "empty": {"inputs": [given([""])]},
        "priority": {"inputs": [given([text])], "priority": 1},
        "output": {"inputs": [given([text])], "outputs": [triton.InferRequestedOutput("boxes")]},
        "class_count": {"inputs": [given([text])], "outputs": [triton.InferRequestedOutput("scores", class_count=3)]},
        "unknown": {"model": "nothing", "inputs": [given([text])]},
    }.items():
        try:
            infer(options.pop("model", "intents"), *options.pop("inputs"), **options)
        except InferenceServerException as error:
            found[name] = [error.status(), error.message()]
    client.close()
    return found


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_bytes(), sys.argv[4])))
