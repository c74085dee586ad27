"""Look into an ONNX file, in a process of its own with bounds on time and memory: `python -m importers.onnx_probe FILE`.

It prints JSON: the inputs and outputs with their types and shapes, and whether the first output is a softmax's. An ONNX file
holds no code, but it can ask for any amount of memory and time, and a damaged one can end the process that reads it.
"""

import json
import resource
import sys
from pathlib import Path

ADDRESSES = 24 << 30  # bytes of address space that reading may take, in addition to a few times the file
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
SEMANTIC = ("Identity", "Cast", "Reshape", "Squeeze", "Flatten")  # operations after a softmax that keep its values
EXTERNAL = 1  # onnx.TensorProto.EXTERNAL
MAX_NODES, MAX_BACK = 200_000, 5


def probe(file: Path) -> dict:
    """
    Raises:
        ValueError: no ONNX file, one whose weights lie in other files, or one with operations of its own.
    """
    import onnx

    content = file.read_bytes()
    model = onnx.load_model_from_string(content)
    graph = model.graph
    if not graph.node or not graph.output:
        raise ValueError("no ONNX file, or one without operations")
    if len(graph.node) > MAX_NODES:
        raise ValueError(f"{len(graph.node):,} operations; {MAX_NODES:,} at most")
    if any(tensor.data_location == EXTERNAL for tensor in graph.initializer):
        raise ValueError("its weights lie in other files; save it as one: onnx.save(onnx.load(file), 'model.onnx')")
    if strange := {node.domain for node in graph.node} - {*DOMAINS}:
        raise ValueError(f"it needs operations of its own, of {sorted(strange)[0]!r}, which nothing here has")
    from model_defs.onnx_network import session

    opened = session(content, 1)
    return {
        "inputs": [[each.name, each.type, each.shape] for each in opened.get_inputs()],
        "outputs": [[each.name, each.type, each.shape] for each in opened.get_outputs()],
        "gives_probabilities": ends_in_softmax(graph),
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "opset": max((each.version for each in model.opset_import if each.domain in DOMAINS[:2]), default=0),
    }


def ends_in_softmax(graph) -> bool:
    made_by = {name: node for node in graph.node for name in node.output}
    name = graph.output[0].name
    for _ in range(MAX_BACK):
        node = made_by.get(name)
        if node is None or node.op_type not in SEMANTIC:
            return node is not None and node.op_type == "Softmax"
        name = node.input[0]
    return False


if __name__ == "__main__":
    given = Path(sys.argv[1])
    most = ADDRESSES + 8 * given.stat().st_size
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    try:
        print(json.dumps(probe(given)))
    except Exception as error:  # of protobuf, onnx and onnxruntime
        sys.exit(f"{(str(error).strip().splitlines() or [type(error).__name__])[0][:300]}")
