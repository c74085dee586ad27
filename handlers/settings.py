"""What the recipe's `handler:` section may hold: names, types, ranges, defaults. Nothing else is accepted.

`runtime` and `precision` are plain words here, because each runtime's module in `handlers/runtimes/` states what it has.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from model_defs.bundle_format import TOLERANCE


class Settings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The `handler:` section."""

    class_path: Annotated[str, Meta(description="the handler's class, in the package `handlers`")]
    init_args: Annotated[dict[str, Any], Meta(description="what else its constructor takes")] = {}
    runtime: Annotated[str, Meta(description="what runs the network: a module of `handlers/runtimes/`")] = "eager"
    precision: Annotated[str, Meta(description="of the arithmetic; weights.safetensors stays as it was trained")] = "fp32"
    channels_last: Annotated[bool, Meta(description="whether the channels of a pixel are adjacent in memory")] = False
    threads: Annotated[int, Meta(ge=0, description="CPU threads of a worker's network; 0: the cores divided by minWorkers")] = 0
    lone_threads: Annotated[int, Meta(ge=0, description="the same for a request that comes alone; 0: as many as `threads`")] = 0
    decoders: Annotated[int, Meta(ge=1, le=64, description="threads that decode the inputs of a batch")] = 1
    max_inputs: Annotated[int, Meta(ge=1, le=1000, description="inputs in one request, at most")] = 64
    tolerance: Annotated[
        float, Meta(gt=0, le=1, description="how far a sample's answer may be from the one that training recorded")
    ] = TOLERANCE
    metric_loss: Annotated[
        float, Meta(ge=0, le=1, description="how much of the metric a precision below fp32 may cost, on the test set")
    ] = 0.005
