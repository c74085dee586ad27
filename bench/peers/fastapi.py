"""FastAPI under uvicorn: each request alone, in the thread pool for plain functions. No batches.

POST /predict: the bytes of a file, application/octet-stream. Answers `[{"label", "score"}, ...]`.
"""

from typing import Annotated

import uvicorn
from fastapi import Body, FastAPI

from bench.peers.options import options
from bench.work import load


def build() -> FastAPI:
    app, work = FastAPI(), load(options())

    @app.post("/predict")
    def predict(body: Annotated[bytes, Body(media_type="application/octet-stream")]) -> list[dict]:
        (answer,) = work.predict([body])
        return answer

    return app


if __name__ == "__main__":
    chosen = options(workers=1)
    uvicorn.run("bench.peers.fastapi:build", factory=True, port=chosen.port, workers=chosen.workers, access_log=False)
