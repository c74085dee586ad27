"""Export to `network.param` and `network.bin`, by pnnx, which reads a trace of the network for one sample."""

import importlib.util
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

from archive.errors import ArchiveError
from archive.export import varying_axes
from handlers.runtimes.ncnn import Ncnn
from handlers.runtimes.runtime import require
from model_defs.artifact import Artifact


def export(artifact: Artifact, precision: str, device: str, folder: Path) -> None:
    require("ncnn", ("pnnx",))
    if varying_axes(artifact) != [{0}]:
        raise ArchiveError("ncnn takes networks of one input of a fixed size, and this is none: take openvino or onnxruntime")
    pnnx = Path(importlib.util.find_spec("pnnx").origin).with_name("pnnx")
    sample = artifact.example()[0][:1].float()
    with tempfile.TemporaryDirectory() as temporary:
        torch.jit.trace(artifact.build_network(), sample, check_trace=False).save(Path(temporary, "traced.pt"))
        done = subprocess.run([pnnx, "traced.pt", "fp16=0"], cwd=temporary, capture_output=True, text=True, check=False)
        made = [Path(temporary, f"traced.ncnn.{kind}") for kind in ("param", "bin")]
        if done.returncode or not all(file.exists() for file in made):
            raise ArchiveError(f"pnnx cannot convert this network for ncnn: {(done.stderr or done.stdout).strip()[-300:]}")
        operators = {line.split()[0] for line in made[0].read_text().splitlines()[2:]}
        if unknown := sorted(operator for operator in operators if "::" in operator):
            raise ArchiveError(f"ncnn has no {', '.join(unknown)}, which this network needs: take openvino or onnxruntime")
        for file, name in zip(made, Ncnn.files, strict=True):
            shutil.copy(file, folder / name)
