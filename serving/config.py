"""The server's settings: read `config.properties`, change it for one start, check it, and write it in Java's format."""

import contextlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from serving import processes, tls
from serving.errors import ServerError
from serving.known_settings import OWN, check

FILE = Path("config.properties")
PATHS = ("model_store", "metrics_config", "certificate_file", "private_key_file", "keystore")  # settings that are paths
TORCHSERVE = ("inference_address", "management_address", "metrics_address")
ADDRESSES = (*TORCHSERVE, "monitor_address")


def read(file: Path, overrides: list[str]) -> dict[str, str]:
    """The settings in the file, changed by `KEY=VALUE`s. Relative paths become absolute, from the file's folder.

    Raises:
        ServerError: no such file or setting, a wrong value, an address or the model store is missing, or TorchServe cannot use
            the certificate.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ServerError(f"{file}: {error.strerror}; name the server's settings: --config FILE") from None
    settings = OWN | parsed(lines, file, is_once=True) | parsed(overrides, file)
    for key, value in settings.items():
        check(key, value)
    for key in (*ADDRESSES, "model_store"):
        if not settings.get(key):
            raise ServerError(f"{file} does not say {key}; the bundle's own config.properties does")
    for key in PATHS:
        if settings.get(key):
            settings[key] = str(file.absolute().parent / settings[key])
    if settings["monitor_address"].startswith("https:"):
        raise ServerError("monitor_address is https; the monitor speaks plain HTTP: write http://127.0.0.1:8083")
    return tls.encrypted(settings, TORCHSERVE)


def parsed(lines: list[str], file: Path, is_once: bool = False) -> dict[str, str]:
    """Lines of `KEY=VALUE` -> the settings. The last line about a setting holds.

    Raises:
        ServerError: a line is no setting; with `is_once`, a setting is there twice with different values.
    """
    found: dict[str, str] = {}
    for line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            key, equals, value = (part.strip() for part in line.partition("="))
            if not equals:
                raise ServerError(f"{line!r} is no setting; write KEY=VALUE, as in {file.name}")
            if is_once and found.get(key, value) != value:
                raise ServerError(f"{file.name} says {key}={found[key]} and {key}={value}; say it once")
            found[key] = value
    return found


def listeners(settings: dict[str, str]) -> dict[str, tuple[str, int]]:
    """The hosts and ports at which TorchServe and the monitor listen, by the name of the setting.

    Raises:
        ServerError: a setting is not an address, or two have the same port.
    """
    found: dict[str, Any] = {}
    for name in ADDRESSES:
        with contextlib.suppress(ValueError):
            url = urlsplit(settings[name])
            found[name] = url.hostname, url.port
        if name not in found or url.scheme not in ("http", "https") or not all(found[name]):
            raise ServerError(f"{name}={settings[name]} is no address; write it as http://127.0.0.1:8080")
    for kind, usual in (("inference", "7070"), ("management", "7071")):
        text = settings.get(f"grpc_{kind}_port", usual)
        if not text.isdecimal() or not 0 < int(text) < 1 << 16:
            raise ServerError(f"grpc_{kind}_port={text} is no port; write a number from 1 to 65535")
        found[f"grpc_{kind}_port"] = settings.get(f"grpc_{kind}_address", "127.0.0.1"), int(text)
    for name, (host, _) in found.items():
        if ":" in host:
            given = name if name in ADDRESSES else name.replace("_port", "_address")
            raise ServerError(
                f"{given}={settings.get(given, host)}: TorchServe listens on IPv4 only here; write an address such as 127.0.0.1, "
                "or 0.0.0.0 for all, and let a front door listen on IPv6"
            )
    first = {port: name for name, (_, port) in reversed(found.items())}
    for name, (_, port) in found.items():
        if first[port] != name:
            raise ServerError(f"{first[port]} and {name} are both on port {port}; give each its own")
    return found


def properties(settings: dict[str, str]) -> str:
    """The settings as a file for Java: ASCII, and `\\uXXXX` for each other UTF-16 unit. Java reads the file as Latin-1."""
    encoded = "".join(f"{key}={value}\n" for key, value in settings.items()).encode("utf-16-be")
    units = (encoded[index : index + 2] for index in range(0, len(encoded), 2))
    return "".join(chr(unit[1]) if unit[0] == 0 and unit[1] < 128 else f"\\u{unit.hex()}" for unit in units)


def free_ports() -> list[str]:
    """Settings that put a server on free ports, for tests and benchmarks."""
    ports = processes.free_ports(len(ADDRESSES) + 2)
    addresses = [f"{name}=http://127.0.0.1:{port}" for name, port in zip(ADDRESSES, ports, strict=False)]
    return [*addresses, f"grpc_inference_port={ports[-2]}", f"grpc_management_port={ports[-1]}"]
