"""BentoML: a service that batches adaptively. It has no batch delay: it learns how long batches take. Its latency limit is
where it begins to refuse requests, so the limit keeps its default.

POST /predict: multipart/form-data with the picture in `pictures`. Answers `[[{"label", "score"}, ...]]`.
"""

import os
import sys

import bentoml
from PIL.Image import Image

from bench.peers.options import options
from bench.work import load

chosen = options(workers=1)


@bentoml.service(workers=chosen.workers, metrics={"enabled": False})
class Classifier:
    def __init__(self) -> None:
        self.work = load(chosen)

    @bentoml.api(batchable=True, max_batch_size=chosen.batch)
    def predict(self, pictures: list[Image]) -> list[list[dict]]:
        return self.work.predict([content(picture) for picture in pictures])


def content(picture: Image) -> bytes:
    """The bytes of a picture that BentoML has opened but not decoded."""
    picture.fp.seek(0)
    return picture.fp.read()


if __name__ == "__main__":
    where = ("--host", "127.0.0.1", "--port", str(chosen.port))
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", "serve", "bench.peers.bentoml:Classifier", *where, "--quiet"])
