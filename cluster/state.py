"""The cluster's state directory, `.ray/`. It has the files of `serving/state.py`, so that the same client finds the server.

server.json     the local head: its process, and where it listens
key_file.json   the key that callers send, in the form of TorchServe's
*.header        the same in the form that curl's `-H @file` reads
token           the cluster's token: whoever has it can run code on all nodes
code/           what the nodes import: a copy of `cluster/node/`
archives/       unpacked archives of the local node
logs/           what `ray start` prints
"""

import hashlib
import json
import secrets
from pathlib import Path

from serving.state import Running, StateDir, replace

FOLDER = Path(".ray")
KEY, TOKEN = 32, 32  # random bytes


class ClusterDir(StateDir):
    """The folder, and the files in it.

    Args:
        inference: URL of the ingress, if the cluster runs elsewhere; "" if this folder's local cluster is meant.
    """

    def __init__(self, folder: Path | str = FOLDER, inference: str = "", management: str = ""):
        super().__init__(folder)
        self.inference, self.management = inference, management
        self.token_file, self.code, self.archives = (self.folder / name for name in ("token", "code", "archives"))

    def running(self) -> Running | None:
        """The local cluster, if it runs; else the one that the settings name."""
        if (local := self.local()) or not self.inference:
            return local
        return Running(0, 0, "", self.inference, self.management, "", "model_store")

    def local(self) -> Running | None:
        """The cluster whose head runs on this machine, if one does."""
        return super().running()

    def make_secrets(self) -> None:
        """Make the callers' key and the cluster's token, unless they are there."""
        self.make()
        if not self.keys_file.exists():
            replace(self.keys_file, json.dumps({"inference": {"key": secrets.token_urlsafe(KEY)}}).encode())
        if not self.token_file.exists():
            replace(self.token_file, secrets.token_hex(TOKEN).encode())
        self.write_headers()

    def token(self) -> str:
        """The cluster's token; "" if there is none."""
        try:
            return self.token_file.read_text().strip()
        except FileNotFoundError:
            return ""

    def key_sha256(self) -> str:
        """The SHA-256 of the callers' key, as the configuration bears it; "" if callers need no key."""
        key = self.keys().get("inference", "")
        return hashlib.sha256(key.encode()).hexdigest() if key else ""
