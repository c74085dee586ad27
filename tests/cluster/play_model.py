"""A process of its own, as a replica is one: serves an archive without Ray, plays rounds of requests, and prints the answers.

Standard input is JSON: the application's arguments, and rounds; the requests of a round come at once.
"""

import asyncio
import base64
import json
import sys

from cluster.node.served_model import Asked, ServedModel


async def play(model: ServedModel, rounds: list[list[dict]]) -> list[list[dict]]:
    return [
        [shown(reply) for reply in await asyncio.gather(*(model.ask(asked(each)) for each in requests))] for requests in rounds
    ]


def asked(request: dict) -> Asked:
    return Asked(request["method"], request["path"], request["headers"], base64.b64decode(request["body"]))


def shown(reply) -> dict:
    return {"code": reply.code, "body": json.loads(reply.body), "headers": dict(reply.headers), "type": reply.content_type}


def main() -> None:
    given = json.load(sys.stdin)
    sizes: list[int] = []
    model = ServedModel(given["args"], "cpu", lambda seconds, rows, refused: sizes.append(rows))
    answers = asyncio.run(play(model, given["rounds"]))
    home = sys.modules["handlers"].__path__[0]
    json.dump({"answers": answers, "sizes": sizes, "handlers": home}, sys.stdout)


if __name__ == "__main__":
    main()
