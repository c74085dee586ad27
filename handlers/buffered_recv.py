"""A buffered reader of a socket, for TorchServe's protocol, whose messages have dozens of short fields per request."""

import socket
import sys

PIECE = 1 << 16  # bytes to ask the socket for at once


class BufferedReader:
    """Replaces `ts.protocol.otf_message_handler._retrieve_buffer` of TorchServe 0.12, which calls `recv` for each field.

    One object reads one connection only, because it keeps the bytes that it has read ahead.
    """

    def __init__(self):
        self.buffer, self.position = bytearray(), 0

    def __call__(self, connection: socket.socket, length: int) -> bytearray:
        """The connection's next `length` bytes.

        Raises:
            SystemExit: the other side has closed the connection. TorchServe's own function raises it too.
        """
        end = self.position + length
        while len(self.buffer) < end:
            del self.buffer[: self.position]
            self.position, end = 0, length
            piece = connection.recv(max(PIECE, length - len(self.buffer)))
            if not piece:
                sys.exit(0)
            self.buffer += piece
        taken = self.buffer[self.position : end]
        self.position = end
        return taken
