"""LitServe: a process for HTTP, and a worker that decodes each request, stacks a batch and infers.

POST /predict: the bytes of a file, application/octet-stream. Answers `[{"label", "score"}, ...]`.
"""

from typing import Annotated, Any

import litserve
from fastapi import Body

from bench.peers.options import options
from bench.work import load


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.work = load(options())

    def decode_request(self, request: Annotated[bytes, Body(media_type="application/octet-stream")]) -> Any:
        return self.work.decode(request)

    def batch(self, inputs: list) -> list:
        return inputs  # `infer` stacks them

    def predict(self, x: list) -> list:
        return self.work.infer(x)

    def unbatch(self, output: list) -> list:
        return output

    def encode_response(self, output: Any) -> list[dict]:
        return self.work.answer(output)


if __name__ == "__main__":
    chosen = options(workers=1)
    settings = {"max_batch_size": chosen.batch, "batch_timeout": chosen.delay_ms / 1000}
    apis = [Classifier(api_path=f"/predict{index or ''}", **settings) for index in range(chosen.models)]
    server = litserve.LitServer(apis, accelerator="cpu", workers_per_device=chosen.workers)
    server.run(host="127.0.0.1", port=chosen.port, generate_client_file=False, log_level="warning", access_log=False)
