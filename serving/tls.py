"""TLS with the user's certificate and key: check before the start that TorchServe 0.12 can use them.

TorchServe reads only RSA keys in PKCS #8, and its HTTP speaks only TLS 1.2. With another key it fails late and with an unclear
message, or only gRPC fails.
"""

import base64
import hashlib
import re
import ssl
from pathlib import Path
from typing import Any

from requests.adapters import HTTPAdapter

from serving.errors import ServerError

NAMES = ("certificate_file", "private_key_file")
RSA = bytes.fromhex("06092a864886f70d010101")  # the identifier of the algorithm in a PKCS #8 key, RFC 8017
PEM_KEY = re.compile(r"-----BEGIN PRIVATE KEY-----(.+?)-----END PRIVATE KEY-----", re.S)
PEM_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.S)


def encrypted(settings: dict[str, str], addresses: tuple[str, ...]) -> dict[str, str]:
    """The settings; if they name a certificate and its key, with HTTPS at these addresses and TLS for gRPC.

    Raises:
        ServerError: only one of the two is named, or TorchServe cannot use them.
    """
    certificate, key = (settings.get(name) for name in NAMES)
    if not certificate and not key:
        if plain := [name for name in addresses if settings[name].startswith("https:")]:
            raise ServerError(f"{plain[0]} is https; name the certificate and its key: {' and '.join(NAMES)}")
        return settings
    if not certificate or not key:
        raise ServerError(f"{NAMES[0] if certificate else NAMES[1]} stands alone; TLS needs both {' and '.join(NAMES)}")
    check(Path(certificate), Path(key))
    https = {name: re.sub("^http:", "https:", settings[name]) for name in addresses}
    return settings | https | {"enable_grpc_ssl": "true"}


def check(certificate: Path, key: Path) -> None:
    """Check that TorchServe can use this certificate and key.

    Raises:
        ServerError: a file cannot be read, they do not belong together, or the key is not an RSA key in PKCS #8.
    """
    for name, file in zip(NAMES, (certificate, key), strict=True):
        try:
            file.read_bytes()
        except OSError as error:
            raise ServerError(f"{name}={file}: {error.strerror}; name a file in PEM format") from None
    if not PEM_CERTIFICATE.search(certificate.read_text(encoding="latin-1")):
        raise ServerError(f"{certificate} holds no certificate in PEM format")
    found = PEM_KEY.search(key.read_text(encoding="latin-1"))
    try:
        if not found or RSA not in base64.b64decode(found[1])[:32]:
            raise ServerError(
                f"{key} is not an RSA key in PKCS #8 without a password, the only kind that TorchServe reads; "
                f"openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW makes one of another RSA key"
            )
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ServerError(f"{certificate} and {key} are no pair that can be used: {reason}") from None


class Pinned(HTTPAdapter):
    """HTTPS to a server with exactly this certificate. Who signed it, and which host it names, does not matter.

    Args:
        certificate: a PEM file; the first certificate in it counts.
    """

    def __init__(self, certificate: Path, **options: Any):
        first = PEM_CERTIFICATE.search(certificate.read_text(encoding="latin-1"))
        self.fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[0])).hexdigest()
        super().__init__(**options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, assert_fingerprint=self.fingerprint, **options)
