"""A connection read in large pieces, for an engine that takes a message apart number by number and name by name."""

import socket
import sys

PIECE = 1 << 16  # bytes


class BufferedReader:
    """In place of TorchServe's `ts.protocol.otf_message_handler._retrieve_buffer`, which asks the kernel for each number and each
    name: some forty times a request. Of one connection only, since it holds what it has read ahead."""

    def __init__(self):
        self.held, self.place = bytearray(), 0

    def __call__(self, connection: socket.socket, length: int) -> bytearray:
        """The connection's next `length` bytes.

        Raises:
            SystemExit: the other side has gone, as TorchServe's own does.
        """
        end = self.place + length
        while len(self.held) < end:
            del self.held[: self.place]
            self.place, end = 0, length
            piece = connection.recv(max(PIECE, length - len(self.held)))
            if not piece:
                sys.exit(0)
            self.held += piece
        taken = self.held[self.place : end]
        self.place = end
        return taken
