"""MLServer: the V2 protocol in JSON, adaptive batching, a process for HTTP and one for inference.

POST /v2/models/classifier/infer: V2 JSON with one BYTES input, a file in base64. Answers V2 JSON: the outputs `label` and
`score`, 5 each.
"""

import asyncio
import socket

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import Base64Codec
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

from bench.peers.options import options
from bench.work import load


class Classifier(MLModel):
    async def load(self) -> bool:
        self.work = load(options())
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        answers = self.work.predict(Base64Codec.decode_input(payload.inputs[0]))
        shape = [len(answers), len(answers[0])]
        labels = [entry["label"] for answer in answers for entry in answer]
        scores = [entry["score"] for answer in answers for entry in answer]
        outputs = [
            ResponseOutput(name="label", shape=shape, datatype="BYTES", data=labels),
            ResponseOutput(name="score", shape=shape, datatype="FP32", data=scores),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)


async def serve() -> None:
    chosen = options(workers=1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        unused = free.getsockname()[1]  # gRPC cannot be switched off
    settings = {"host": "127.0.0.1", "http_port": chosen.port, "grpc_port": unused, "metrics_endpoint": None, "debug": False}
    server = MLServer(Settings(**settings, parallel_workers=chosen.workers))
    model = ModelSettings(
        name="classifier", implementation=Classifier, max_batch_size=chosen.batch, max_batch_time=chosen.delay_ms / 1000
    )
    await server.start([model])


if __name__ == "__main__":
    asyncio.run(serve())
