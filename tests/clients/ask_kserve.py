"""Ask a server with kserve's own Python client, v1 and v2. Runs in .venv-clients, and prints what came back as JSON.

Usage: ask_kserve.py URL TOKEN PICTURE TEXT
"""

import asyncio
import json
import sys
from importlib.metadata import version
from pathlib import Path

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


def tensors(answer) -> dict[str, list]:
    return {output.name: output.as_numpy().tolist() for output in answer.outputs}


async def ask(url: str, token: str, picture: Path, text: str) -> dict:
    headers = {"Authorization": f"Bearer {token}"}
    v1, v2 = (InferenceRESTClient(RESTConfig(protocol=name, timeout=60)) for name in ("v1", "v2"))
    in_json = InferInput("inputs", [2], "BYTES", [text, text])
    in_binary = InferInput("inputs", [1], "BYTES")
    in_binary.set_data_from_numpy(np.array([picture.read_bytes()], dtype=np.object_))
    found = {
        "version": version("kserve"),
        "v1": await v1.infer(url, {"instances": [text, ""]}, "intents", dict(headers)),
        "v1_explain": await v1.explain(url, "intents", {"instances": [text]}, dict(headers)),
        "v2": tensors(await v2.infer(url, InferRequest("intents", [in_json]), "intents", dict(headers))),
        "v2_binary": tensors(await v2.infer(url, InferRequest("digits", [in_binary]), "digits", dict(headers))),
    }
    refused = {
        "v1_refused": (v1, {"instances": [""]}),
        "v2_refused": (v2, InferRequest("intents", [InferInput("x", [1], "BYTES", [""])])),
    }
    for name, (client, body) in refused.items():
        try:
            await client.infer(url, body, "intents", dict(headers))
        except httpx.HTTPStatusError as error:
            found[name] = [error.response.status_code, str(error)]
    await asyncio.gather(v1.close(), v2.close())
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]))))
