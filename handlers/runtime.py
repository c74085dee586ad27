"""What runs the network: a callable from a batch of inputs to outputs, which owns device, precision and threads.

A runtime's missing package is an error that names what installs it: there is no silent second choice.
"""

import torch
from torch import Tensor, nn

PRECISION = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Eager:
    """The network as it was trained.

    Args:
        network: in evaluation mode.
        device: "cpu", "cuda:0" ...
        precision: "fp32" or "bf16".
        threads: CPU threads for one operation; of the whole process.
    """

    def __init__(self, network: nn.Module, device: str, precision: str, threads: int):
        torch.set_num_threads(threads)
        self.device, self.dtype = torch.device(device), PRECISION[precision]
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # else a library may open a context on GPU 0
        self.network = network.to(self.device)

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """What `collate` gave, the batch first -> what the network makes of it, float32 on the CPU."""
        mixed = self.dtype != torch.float32
        with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=mixed):
            outputs = self.network(*(tensor.to(self.device, non_blocking=True) for tensor in inputs))
        return outputs.float().cpu()


RUNTIMES = {"eager": Eager}
