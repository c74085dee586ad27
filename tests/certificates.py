"""Certificates that tests sign themselves, with the openssl of the system."""

import shutil
import subprocess
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the command openssl")


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def self_signed(folder: Path, kind: str = "rsa:2048", name: str = "127.0.0.1", stem: str = "server") -> tuple[Path, Path]:
    """A certificate for that host, and its key in PKCS #8."""
    certificate, key = folder / f"{stem}.pem", folder / f"{stem}.key"
    options = ["-pkeyopt", "ec_paramgen_curve:prime256v1"] if kind == "ec" else []
    host = f"subjectAltName={'IP' if name[0].isdigit() else 'DNS'}:{name}"
    openssl(
        "req", "-x509", "-newkey", kind, *options, "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", host,
        "-out", certificate, "-keyout", key,
    )  # fmt: skip
    return certificate, key
