"""TorchScript: the network traced, frozen and fused, anew each time it is loaded.

Tracing takes about a second and needs the weights and a sample, which every archive has, so no exported file travels: a
TorchScript file holds pickles, and what is fused for one machine's CPU does not suit another's.
"""

import warnings
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from handlers.runtimes.eager import Eager
from model_defs.artifact import Artifact


class TorchScript(Eager):
    """Convolutions take up the batch norms and activations behind them."""

    def prepared(self, network: nn.Module, artifact: Artifact):
        example = tuple(map(self.placed, artifact.example()))
        # The cache of autocast would put the cast weights into the trace as if they were computed each time.
        mixed = torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32, cache_enabled=False)
        with torch.no_grad(), mixed, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of each shape that a network looks at; the samples are answered at every batch size
            traced = torch.jit.trace(network, example, check_trace=False)
            return torch.jit.optimize_for_inference(torch.jit.freeze(traced))

    def autocast(self) -> AbstractContextManager:
        return nullcontext()  # the casts are in the trace
