"""PyTorch itself: the network as it was trained, layer by layer."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from handlers.runtimes.runtime import Runtime
from handlers.settings import Settings
from model_defs.artifact import Artifact

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Eager(Runtime):
    """The weights stay fp32; a lower precision is autocast's, which leaves in fp32 what would suffer."""

    precisions = tuple(DTYPES)
    devices = ("cpu", "cuda")
    lays_out_channels_last = True

    def __init__(self, artifact: Artifact, settings: Settings, device: str, threads: int):
        self.device, self.dtype = torch.device(device), DTYPES[settings.precision]
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # else a library may open a context on GPU 0
        self.layout = torch.channels_last if settings.channels_last else torch.preserve_format
        self.network = self.prepared(artifact.build_network().to(self.device, memory_format=self.layout), artifact)

    def prepared(self, network: nn.Module, artifact: Artifact):
        """The network in the form in which it is called."""
        return network

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        with torch.inference_mode(), self.autocast():
            outputs = self.network(*map(self.placed, inputs))
        return outputs.float().cpu()

    def autocast(self) -> AbstractContextManager:
        # Switched off it still costs a text as much as a layer does.
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)

    def placed(self, tensor: Tensor) -> Tensor:
        layout = self.layout if tensor.dim() == 4 else torch.preserve_format  # the others have no channels
        return tensor.to(self.device, non_blocking=True, memory_format=layout)
