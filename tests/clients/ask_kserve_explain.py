"""Ask for explanations with kserve's own Python client and with httpx. Runs in .venv-clients, and prints what came back as JSON.

Usage: ask_kserve_explain.py URL TOKEN PICTURE
"""

import asyncio
import base64
import json
import sys
from pathlib import Path

import httpx
from kserve import InferenceRESTClient, RESTConfig


async def ask(url: str, token: str, picture: Path) -> dict:
    headers = {"Authorization": f"Bearer {token}"}
    body = {"instances": [{"b64": base64.b64encode(picture.read_bytes()).decode()}]}
    client = InferenceRESTClient(RESTConfig(protocol="v1", timeout=60))
    found = {"explainer": await client.explain(url, "digits.explain", body, dict(headers))}
    try:
        found["model"] = await client.explain(url, "digits", body, dict(headers))
    except httpx.HTTPStatusError as error:
        found["model"] = [error.response.status_code, str(error)]
    await client.close()
    async with httpx.AsyncClient(follow_redirects=True, timeout=60) as following:
        answer = await following.post(f"{url}/v1/models/digits:explain", json=body, headers=headers)
    return found | {"httpx": answer.json()}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask(sys.argv[1], sys.argv[2], Path(sys.argv[3])))))
