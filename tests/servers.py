"""What every test that starts a server needs."""

import socket

from serving import config


def free_ports() -> list[str]:
    """Settings that put a server on ports which nobody has."""
    sockets = [socket.socket() for _ in range(5)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    addresses = [f"{name}=http://127.0.0.1:{port}" for name, port in zip(config.ADDRESSES, ports, strict=False)]
    return [*addresses, f"grpc_inference_port={ports[3]}", f"grpc_management_port={ports[4]}"]
