"""PyTorch itself: runs the network as it was trained, layer by layer."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from handlers.runtimes.runtime import Runtime
from handlers.settings import Settings
from model_defs.artifact import Artifact

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Eager(Runtime):
    """The weights stay fp32. A lower precision is autocast's, which leaves in fp32 the operations that need it."""

    precisions = tuple(DTYPES)
    devices = ("cpu", "cuda")
    lays_out_channels_last = True

    def __init__(self, artifact: Artifact, settings: Settings, device: str, threads: int):
        self.device, self.dtype = torch.device(device), DTYPES[settings.precision]
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # otherwise a library may open a context on GPU 0
        self.layout = torch.channels_last if settings.channels_last else torch.preserve_format
        self.network = self.prepared(artifact.build_network().to(self.device).to(memory_format=self.layout), artifact)

    def prepared(self, network: nn.Module, artifact: Artifact):
        """The network in the form in which it is called."""
        return network

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        with torch.inference_mode(), self.autocast():
            outputs = self.network(*map(self.on_device, inputs))
        return outputs.float().cpu()

    def autocast(self) -> AbstractContextManager:
        # Autocast that is switched off still costs a text model as much as one of its layers.
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)

    def on_device(self, tensor: Tensor) -> Tensor:
        """The tensor on the runtime's device, in its layout."""
        layout = self.layout if tensor.dim() == 4 else torch.preserve_format  # only (B, C, H, W) has channels
        return tensor.to(self.device, non_blocking=True, memory_format=layout)
