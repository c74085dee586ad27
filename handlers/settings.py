"""What the recipe's `handler:` section may say: names, types, ranges, defaults. Nothing else is accepted."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta


class Settings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The `handler:` section."""

    class_path: Annotated[str, Meta(description="the handler's class, in the package `handlers`")]
    init_args: Annotated[dict[str, Any], Meta(description="what else its constructor takes")] = {}
    runtime: Annotated[Literal["eager"], Meta(description="what runs the network")] = "eager"
    precision: Annotated[
        Literal["fp32", "bf16"], Meta(description="of the arithmetic; the weights in the archive stay as they were trained")
    ] = "fp32"
    threads: Annotated[int, Meta(ge=0, description="CPU threads of a worker's network; 0: the cores divided by minWorkers")] = 0
    decoders: Annotated[int, Meta(ge=1, le=64, description="threads that decode a batch's inputs")] = 1
    tolerance: Annotated[
        float, Meta(gt=0, le=1, description="how far a sample's answer may lie from the one that training wrote down")
    ] = 1e-3
