"""The work that every peer does: a picture, a sound or a text -> its five most likely labels. There are two forms of it.

`eager` is how most people write it, in fp32: see `bench/eager.py`. `fast` is the archive's own handler, with its transform and
runtime, without TorchServe. This code runs in the peers' environments.
"""

import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench import eager
from bench.peers.options import Options
from bench.steps import Steps


class Fast(Steps):
    """The archive's handler."""

    def __init__(self, folder: Path, threads: int):
        import yaml

        from handlers import base, request

        manifest = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_bytes())
        section = yaml.safe_load((folder / manifest["model"]["configFile"]).read_bytes())["handler"]
        self.handler = base.load(folder, section | {"threads": threads})
        self.request = request.Request(b"", self.handler.Parameters())

    def decode(self, payload: bytes) -> Any:
        return self.handler.preprocess(msgspec.structs.replace(self.request, payload=payload))

    def decode_all(self, payloads: Sequence[bytes]) -> list:
        return self.handler.decoders.map(self.decode, payloads)  # as many at once as the recipe says

    def infer(self, samples: list) -> list:
        return self.handler.inference(samples)

    def answer(self, output: Any) -> list[dict]:
        return self.handler.postprocess(output, None, self.request)


def load(chosen: Options) -> Steps:
    """The work in the form that the options name, in this process.

    It imports `handlers` and `model_defs` from the archive, so the process must not have imported them before.
    """
    threads = chosen.threads or max(1, (os.cpu_count() or 1) // chosen.workers)
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(chosen.archive) as archive:
        archive.extractall(name)
        sys.path.insert(0, name)
        return {"eager": eager.load, "fast": Fast}[chosen.runtime](Path(name), threads)
