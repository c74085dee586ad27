"""A client of TorchServe's gRPC for the tests. It encodes their few messages by hand, after the frontend's *.proto files."""

import grpc

INFERENCE = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/"
MANAGEMENT = "/org.pytorch.serve.grpc.management.ManagementAPIsService/"


def field(number: int, value: bytes | str) -> bytes:
    """A field that holds a string, bytes or a message; all three are length-delimited."""
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def prediction(model: str, body: bytes) -> bytes:
    """A PredictionsRequest. Its body has the name `body`, the same as over REST."""
    return field(1, model) + field(3, field(1, "body") + field(2, body))


def registration(url: str) -> bytes:
    """A RegisterModelRequest for one worker, which the server answers when the worker is ready or has failed."""
    return varint(3 << 3) + varint(1) + varint(8 << 3) + varint(1) + field(9, url)


def call(port: int, method: str, message: bytes = b"", token: str | None = None, certificate: bytes | None = None) -> bytes:
    """Send a message, and return the answer's bytes.

    Raises:
        grpc.RpcError: the server refuses; see its `code()` and `details()`.
    """
    address = f"127.0.0.1:{port}"
    credentials = grpc.ssl_channel_credentials(certificate) if certificate else None
    with grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address) as channel:
        metadata = [("authorization", f"Bearer {token}")] if token is not None else []
        return channel.unary_unary(method)(message, metadata=metadata, timeout=20)
