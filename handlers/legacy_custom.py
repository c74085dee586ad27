"""An old archive's own handler: its three methods, for callers who knew it before it was imported."""

from typing import Any

import msgspec
import torch

from handlers.base import Handler
from handlers.request import Kind, RawRequest, Request, decompressed
from handlers.settings import Settings
from handlers.several import Several
from model_defs import legacy_handler
from model_defs.artifact import Artifact
from model_defs.errors import Unreadable
from model_defs.legacy_handler import Row

ANYTHING = Kind(
    "what its old handler takes", ("image/", "audio/", "video/", "text/", "application/"), "send what you sent before"
)


class CustomParameters(msgspec.Struct):
    """The bundle knows no parameters of an old handler; it gets all fields of a form as they are."""


class CustomHandler(Handler):
    """What the old handler took -> what it answered, as JSON. Each row is read and answered by itself."""

    accepts = ANYTHING
    Parameters = CustomParameters
    Prediction: Any = Any
    unexplained = (
        "the code of this model's owner answers, so no score is known that could be explained; its network alone, imported with"
        " its labels, gives explanations (docs/import.md)"
    )

    def __init__(
        self, artifact: Artifact, settings: Settings, device: str = "cpu", workers: int = 1, seconds: float | None = None
    ):
        legacy_handler.opened(artifact.folder, artifact.transform["init_args"]["name"], device)  # it chooses its device once
        super().__init__(artifact, settings, device, workers, seconds)

    def read(self, row: RawRequest) -> Request | Several:
        """The fields as they came; a platform's protocol is taken apart as for every handler.

        Raises:
            Unreadable: no body and no fields, or a compressed body that does not unpack.
            TooLarge: a compressed body that unpacks to too much.
        """
        if row.protocol:
            return super().read(row)
        fields = decompressed(row, row.content_type.partition(";")[0].strip().lower())
        if not fields:
            raise Unreadable(f"the body is empty; {self.accepts.hint}")
        headers = {"content-type": row.content_type, "user-agent": row.client, "x-request-id": row.id}
        return Request(Row(fields, headers), CustomParameters(), row.explain, row.client)

    def inference(self, samples: list) -> list:
        """The rows together if the old handler can, else one by one. Its values need not be tensors."""
        with torch.inference_mode():
            return self.transform.outputs(lambda inputs: self.runtime.network(*inputs), samples)

    def postprocess(self, output: Any, sample: Any, request: Request) -> Any:
        return self.transform.answer(output)
