"""Export to `network.xml` and `network.bin`; int8 comes from ONNX Runtime's quantiser."""

import io
from pathlib import Path

from archive.export import varying_axes
from archive.exporters.onnxruntime import onnx_of
from handlers.runtimes.openvino import OpenVino, core
from model_defs.artifact import Artifact
from model_defs.onnx_network import OnnxNetwork


def export(artifact: Artifact, precision: str, device: str, folder: Path) -> None:
    import openvino

    # ONNX Runtime's quantiser lost less accuracy than nncf, OpenVINO's own (docs/decisions.md).
    if precision == "int8" or isinstance(artifact.build_network(), OnnxNetwork):
        network = core().read_model(io.BytesIO(onnx_of(artifact, precision)))
    else:
        example = artifact.example()
        shapes = [
            openvino.PartialShape([-1 if axis in varying else size for axis, size in enumerate(tensor.shape)])
            for tensor, varying in zip(example, varying_axes(artifact), strict=True)
        ]
        network = openvino.convert_model(artifact.build_network(), example_input=example, input=shapes)
    openvino.save_model(network, folder / OpenVino.files[0], compress_to_fp16=False)
