"""TorchServe's gRPC, without its generated code: the few messages that the tests send, encoded by hand (frontend's *.proto)."""

import grpc

INFERENCE = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/"
MANAGEMENT = "/org.pytorch.serve.grpc.management.ManagementAPIsService/"


def field(number: int, value: bytes | str) -> bytes:
    """A string, bytes or message; all three are length-delimited."""
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def prediction(model: str, body: bytes) -> bytes:
    """A PredictionsRequest with the body under `body`, as REST puts it."""
    return field(1, model) + field(3, field(1, "body") + field(2, body))


def registration(url: str) -> bytes:
    """A RegisterModelRequest for one worker, answered when it is there or has failed."""
    return varint(3 << 3) + varint(1) + varint(8 << 3) + varint(1) + field(9, url)


def call(port: int, method: str, message: bytes = b"", token: str | None = None, certificate: bytes | None = None) -> bytes:
    """The answer's bytes.

    Raises:
        grpc.RpcError: with its `code()` and `details()`.
    """
    address = f"127.0.0.1:{port}"
    credentials = grpc.ssl_channel_credentials(certificate) if certificate else None
    with grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address) as channel:
        metadata = [("authorization", f"Bearer {token}")] if token is not None else []
        return channel.unary_unary(method)(message, metadata=metadata, timeout=20)
