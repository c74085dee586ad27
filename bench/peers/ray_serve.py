"""Ray Serve: an HTTP proxy, and replicas that batch with `serve.batch`.

POST /: the bytes of a file. Answers `[{"label", "score"}, ...]`.
"""

import ray
from ray import serve
from starlette.requests import Request

from bench.peers.options import Options, options
from bench.work import load

chosen = options(workers=1)


@serve.deployment(num_replicas=chosen.workers, max_ongoing_requests=1024, ray_actor_options={"num_cpus": 1})
class Classifier:
    def __init__(self, given: Options):
        self.work = load(given)

    @serve.batch(max_batch_size=chosen.batch, batch_wait_timeout_s=chosen.delay_ms / 1000)
    async def predict(self, bodies: list[bytes]) -> list[list[dict]]:
        return self.work.predict(bodies)

    async def __call__(self, request: Request) -> list[dict]:
        return await self.predict(await request.body())


if __name__ == "__main__":
    ray.init(include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": chosen.port})
    serve.run(Classifier.bind(chosen), blocking=True)
