"""What the recipe's `handler:` section may say: names, types, ranges, defaults. Nothing else is accepted."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta


class Settings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The `handler:` section."""

    class_path: Annotated[str, Meta(description="the handler's class, in the package `handlers`")]
    init_args: Annotated[dict[str, Any], Meta(description="what else its constructor takes")] = {}
    runtime: Annotated[
        Literal["eager", "torchscript", "compile", "onnxruntime", "openvino", "ncnn"], Meta(description="what runs the network")
    ] = "eager"
    precision: Annotated[
        Literal["fp32", "bf16", "fp16", "int8"],
        Meta(description="of the arithmetic; weights.safetensors stays as it was trained"),
    ] = "fp32"
    channels_last: Annotated[bool, Meta(description="whether a picture's channels lie beside each other in memory")] = False
    threads: Annotated[int, Meta(ge=0, description="CPU threads of a worker's network; 0: the cores divided by minWorkers")] = 0
    lone_threads: Annotated[int, Meta(ge=0, description="likewise, for a request that comes alone; 0: as many as `threads`")] = 0
    decoders: Annotated[int, Meta(ge=1, le=64, description="threads that decode a batch's inputs")] = 1
    tolerance: Annotated[
        float, Meta(gt=0, le=1, description="how far a sample's answer may lie from the one that training wrote down")
    ] = 1e-3
    metric_loss: Annotated[
        float, Meta(ge=0, le=1, description="how much of the metric a precision below fp32 may cost, on the test set")
    ] = 0.005
