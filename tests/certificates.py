"""Self-signed certificates for tests, made with the system's openssl."""

import shutil
import subprocess
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the command openssl")


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def self_signed(folder: Path, kind: str = "rsa:2048", name: str = "127.0.0.1", stem: str = "server") -> tuple[Path, Path]:
    """Make a certificate for a host, and its key in PKCS #8; returns both files.

    Args:
        kind: of the key, as openssl names it.
        name: an IP address or a host name.
        stem: of the files' names.
    """
    certificate, key = folder / f"{stem}.pem", folder / f"{stem}.key"
    options = ["-pkeyopt", "ec_paramgen_curve:prime256v1"] if kind == "ec" else []
    host = f"subjectAltName={'IP' if name[0].isdigit() else 'DNS'}:{name}"
    openssl(
        "req", "-x509", "-newkey", kind, *options, "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", host,
        "-out", certificate, "-keyout", key,
    )  # fmt: skip
    return certificate, key
