"""ncnn on the CPU, over `network.param` and `network.bin`: the fastest runtime here for 3 x 3 convolutions in fp32.

It computes them by Winograd's minimal filtering ("Fast Algorithms for Convolutional Neural Networks", arXiv 1509.09308), with two
to five times fewer multiplications than the other runtimes. It has no batches: the samples of a batch go through the network
one by one, which costs a convolutional network on a CPU nothing.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from handlers.runtimes.runtime import Exported, RuntimeUnavailable
from handlers.settings import Settings

LOWER_PRECISIONS = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")
INPUT, OUTPUT = "in0", "out0"  # as pnnx names them


class Ncnn(Exported):
    precisions = ("fp32",)
    packages = ("ncnn",)
    files = ("network.param", "network.bin")

    def loaded(self, files: list[Path], settings: Settings, device: str, threads: int) -> Callable[[tuple[Tensor, ...]], Tensor]:
        import ncnn

        network = ncnn.Net()
        network.opt.num_threads = threads
        for option in LOWER_PRECISIONS:
            setattr(network.opt, option, False)
        if network.load_param(str(files[0])) or network.load_model(str(files[1])):
            raise RuntimeUnavailable(f"ncnn {ncnn.__version__} cannot read {files[0]}; make archive exports it anew")

        def output(sample: np.ndarray) -> np.ndarray:
            extractor = network.create_extractor()
            extractor.input(INPUT, ncnn.Mat(sample))
            failed, output = extractor.extract(OUTPUT)
            if failed:
                raise RuntimeError(f"ncnn gave up on an input of shape {sample.shape}, with its error {failed}")
            return np.array(output)

        def run(inputs: tuple[Tensor, ...]) -> Tensor:
            (batch,) = inputs  # (B, C, H, W)
            return torch.from_numpy(np.stack([output(sample) for sample in batch.float().numpy()]))

        return run
