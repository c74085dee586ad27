"""TorchScript: traces, freezes and fuses the network each time it is loaded.

Tracing takes about a second. It needs the weights and a sample, which every archive has, so no exported file is archived: a
TorchScript file holds pickles, and what is fused for one machine's CPU does not suit another's.
"""

import warnings
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from handlers.runtimes.eager import Eager
from model_defs.artifact import Artifact


class TorchScript(Eager):
    """Convolutions absorb the batch norms and activations that follow them."""

    def prepared(self, network: nn.Module, artifact: Artifact):
        example = tuple(map(self.on_device, artifact.example()))
        # With autocast's cache the trace would hold the cast weights as if they were computed in each call.
        mixed = torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32, cache_enabled=False)
        with torch.no_grad(), mixed, warnings.catch_warnings():
            # Tracing warns about each shape that the network reads. The samples are answered at every batch size before READY.
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(network, example, check_trace=False)
            return torch.jit.optimize_for_inference(torch.jit.freeze(traced))

    def autocast(self) -> AbstractContextManager:
        return nullcontext()  # the casts are in the trace
