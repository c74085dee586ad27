"""mosec: a server in Rust, and processes for each step: two decode, one infers batches.

POST /inference: the bytes of a file. Answers `[{"label", "score"}, ...]`.
"""

import os
from typing import Any

import mosec

from bench.peers.options import options
from bench.work import load


class Decode(mosec.Worker):
    def __init__(self) -> None:
        self.work = load(options())

    def deserialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: bytes) -> Any:
        return self.work.decode(data)


class Infer(mosec.Worker):
    def __init__(self) -> None:
        self.work = load(options())

    def forward(self, data: list) -> list[list[dict]]:
        return [self.work.answer(output) for output in self.work.infer(data)]


if __name__ == "__main__":
    chosen = options(workers=1)
    os.environ |= {"MOSEC_ADDRESS": "127.0.0.1", "MOSEC_LOG_LEVEL": "warning"}
    server = mosec.Server()
    server.append_worker(Decode, num=2)
    server.append_worker(Infer, num=chosen.workers, max_batch_size=chosen.batch, max_wait_time=round(chosen.delay_ms))
    server.run()
