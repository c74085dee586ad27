"""Triton with its Python interface, nvidia-pytriton: Triton batches the bodies, one Python function answers a batch.

POST /v2/models/classifier/infer: the bytes of a file, with `Inference-Header-Content-Length: 0`. This is Triton's extension
for a raw body as the only input. The answer uses it too: JSON that names the outputs `label` and `score`, 5 each, then their
bytes.
"""

import os
import sysconfig

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from bench.peers.options import options
from bench.work import load

chosen = options(workers=1)
work = load(chosen)


@batch
def infer(body: np.ndarray) -> dict[str, np.ndarray]:
    """(B, 1) of bytes -> (B, 5) labels and (B, 5) scores."""
    answers = work.predict([bytes(row[0]) for row in body])
    labels = [[entry["label"].encode() for entry in answer] for answer in answers]
    scores = [[entry["score"] for entry in answer] for answer in answers]
    return {"label": np.array(labels, dtype=np.bytes_), "score": np.array(scores, dtype=np.float32)}


if __name__ == "__main__":
    # Triton's Python backend must load this Python's library, not that of a system Python with the same version.
    os.environ["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR")
    server = TritonConfig(http_address="127.0.0.1", http_port=chosen.port, allow_grpc=False, allow_metrics=False)
    with Triton(config=server) as triton:
        batcher = DynamicBatcher(max_queue_delay_microseconds=round(chosen.delay_ms * 1000))
        for index in range(chosen.models):
            triton.bind(
                model_name=f"classifier{index or ''}",
                infer_func=[infer] * chosen.workers,
                inputs=[Tensor(name="body", dtype=bytes, shape=(1,))],
                outputs=[Tensor(name="label", dtype=bytes, shape=(-1,)), Tensor(name="score", dtype=np.float32, shape=(-1,))],
                config=ModelConfig(max_batch_size=chosen.batch, batcher=batcher),
            )
        triton.serve()
