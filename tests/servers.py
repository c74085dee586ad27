"""What every test that starts a server needs."""

from serving.config import free_ports

__all__ = ["free_ports"]
