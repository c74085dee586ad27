"""Start and stop Ray on this machine: a head with everything that a cluster needs, or a node that joins one.

Only processes that were started from this state directory are ever ended: each has the directory in its environment.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

from cluster.api import Api
from cluster.settings import Settings
from cluster.state import ClusterDir
from model_defs.cpus import usable_cpus
from serving import processes
from serving.errors import ServerError
from serving.state import Running

NODE = Path(__file__).with_name("node")
MARK = "BUNDLE_CLUSTER"  # in the environment of all that this directory's cluster starts
STARTING, ENDING = 120, 20  # seconds
TRIES, SLOW = 3, "timed out during startup"  # Ray gives a node 30 s, which a busy machine may exceed
HELPERS = ("dashboard-agent-grpc", "dashboard-agent-listen", "runtime-env-agent", "metrics-export")
REDIS_PASSWORD = "REDIS_PASSWORD"  # the variable from which the head takes it
HEADLESS = 3600  # seconds for which a node goes on without the head, if Redis keeps its state; Ray's own default is 60
CROWDED = 4  # replicas per core, unless the settings say otherwise: few of them work at the same moment
INGRESS, STATS, METRICS = 8000, 8404, 9101  # Ray's ports of HAProxy
# Characters of a folder at most: sockets lie in it, whose names have up to 77 more. Linux allows 107 in all, HAProxy 97.
MAX_PATH = {"session": 30, "haproxy": 20}
# How Ray's own processes behave. Each node needs all of them before it starts: they change which way a request takes.
FAST = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",  # HAProxy in front of the replicas' own HTTP; the default way costs 13 times as much
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",  # a replica's HTTP and its code share one event loop
    "RAY_worker_niceness": "0",  # Ray would run replicas at nice 15
    "OMP_WAIT_POLICY": "PASSIVE",  # waiting threads of OpenMP leave the cores to others
    "RAY_agent_register_timeout_ms": "100000",  # a raylet ends itself if its helpers start too slowly, as on a busy machine
    "RAY_USAGE_STATS_ENABLED": "0",  # sends nothing to Ray's authors
    "ORT_DISABLE_TELEMETRY": "1",
    # A replica that dies breaks the connection, so HAProxy sends the request to another one: a prediction changes nothing.
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
    "RAY_SERVE_HAPROXY_RETRIES": "3",
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(1 << 16),  # bytes of a request that can be sent again; more cost more
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",  # else HAProxy logs each request to a Python process; replicas count them, too
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "cluster.node.middleware:middlewares",
}


def environment(home: ClusterDir, settings: Settings) -> dict[str, str]:
    """The environment of a node. Python's path has the node's code alone: no `handlers` and no `model_defs` of this checkout."""
    haproxy = folder_of(home, "haproxy")  # Ray's own default is one folder in /tmp for the whole machine
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHON"))}
    return inherited | FAST | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": str(home.code),
        MARK: str(home.folder),
        "BUNDLE_ARCHIVES": str(home.archives),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(home.token_file),
        "RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(settings.port),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
        # Ray's own 8404 and 9101, moved as far as the ingress is from 8000, so that several nodes fit on one machine.
        "RAY_SERVE_HAPROXY_STATS_PORT": str(settings.port + STATS - INGRESS),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(settings.port + METRICS - INGRESS),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(4, usable_cpus())),
        **(redis_of(home, settings.redis) if settings.redis else {}),
    }  # fmt: skip


def redis_of(home: ClusterDir, address: str) -> dict[str, str]:
    """The variables for the Redis that keeps a head's state, with a name for this cluster's part of it."""
    name = hashlib.sha256(str(home.folder).encode()).hexdigest()[:12]
    return {
        "RAY_REDIS_ADDRESS": address,
        "RAY_external_storage_namespace": f"bundle-{name}",
        "RAY_gcs_rpc_server_reconnect_timeout_s": str(HEADLESS),
    }


def start_head(home: ClusterDir, settings: Settings, store: Path) -> Running:
    """Start a head on this machine, unless it runs. When this returns, its API answers.

    Args:
        store: the model store of this machine, in which commands look for archives.

    Raises:
        ServerError: Ray is not installed, a port is in use, or Ray gave up.
    """
    home.make_secrets()
    with home.lock("server"):
        if running := home.running():
            return running
        check_ports({"port": settings.port, "gcs_port": settings.gcs_port, "dashboard_port": settings.dashboard_port})
        end_all(home)
        if not settings.redis:  # else other nodes may still run and use it
            shutil.rmtree(folder_of(home, "session"), ignore_errors=True)
        for name in MAX_PATH:
            folder_of(home, name).mkdir(mode=0o700, parents=True, exist_ok=True)
        # By this file, Ray takes a head that was killed for a running one while other nodes on this machine still look for it.
        (folder_of(home, "session") / "ray_current_cluster").unlink(missing_ok=True)
        command = [
            "--head", f"--port={settings.gcs_port}", "--dashboard-host", settings.host,
            f"--dashboard-port={settings.dashboard_port}", "--no-monitor",  # it starts machines in clouds
        ]  # fmt: skip
        if settings.redis and (password := os.environ.get(REDIS_PASSWORD)):
            command.append(f"--redis-password={password}")  # Ray takes it in no other way: users of this machine can see it
        pid = launch(home, settings, command)
        created = psutil.Process(pid).create_time()
        running = Running(pid, created, "", settings.ingress, settings.api, "", str(store.absolute()))
        home.write(running)
        try:
            wait_for_api(home, settings, pid)
        except BaseException:
            end_all(home)
            raise
        return running


def join(home: ClusterDir, settings: Settings, address: str) -> None:
    """Start a node on this machine that joins the cluster whose head listens at `address`, HOST:PORT. It needs the head's token.

    Raises:
        ServerError: there is no token here, or Ray gave up.
    """
    home.make()
    if not home.token():
        raise ServerError(f"{home.token_file} is missing; copy it from the head's .ray/ folder, readable for its owner only")
    folder_of(home, "haproxy").mkdir(mode=0o700, parents=True, exist_ok=True)
    with home.lock("server"):
        launch(home, settings, [f"--address={address}"])


def launch(home: ClusterDir, settings: Settings, arguments: list[str]) -> int:
    """Run `ray start`, which returns when the node's processes run. Returns the pid of the node's raylet.

    Raises:
        ServerError: Ray is not installed, or gave up; the message has what it printed.
    """
    ray = Path(sys.executable).with_name("ray")
    if not ray.exists():
        raise ServerError("Ray is not installed; make setup EXTRAS=ray installs it")
    shutil.rmtree(home.code, ignore_errors=True)
    package = home.code / "cluster"
    shutil.copytree(NODE, package / "node", ignore=shutil.ignore_patterns("__pycache__"))
    (package / "__init__.py").touch()
    command = [
        str(ray), "start", *arguments, "--node-ip-address", settings.host, "--disable-usage-stats",
        # With ports of their own choice, Ray's helpers have 15 seconds to tell them, which a busy machine exceeds.
        *(f"--{name}-port={port}" for name, port in zip(HELPERS, processes.free_ports(len(HELPERS)), strict=True)),
        "--include-log-monitor=false",  # it sends logs to drivers, of which there are none
        f"--num-cpus={CROWDED * usable_cpus() if settings.cpus is None else settings.cpus}",
        *([] if settings.gpus is None else [f"--num-gpus={settings.gpus}"]),
        *(["--temp-dir", str(folder_of(home, "session"))] if "--head" in arguments else []),  # the others take the head's
    ]  # fmt: skip
    printed = home.logs / "ray_start.log"
    for _ in range(TRIES):
        printed.unlink(missing_ok=True)
        status = run(command, environment(home, settings), home.folder, printed)
        raylets = [process for process in members(home) if process.name() == "raylet"]
        if status == 0 and raylets:
            end_client_server(home)
            return max(raylets, key=psutil.Process.create_time).pid
        end_all(home)
        if SLOW not in printed.read_text(errors="replace"):
            break
    raise ServerError(f"ray start failed with {status}; it said:\n{home.log_tail(printed.name, 12)}")


def end_client_server(home: ClusterDir) -> None:
    """End Ray's server for remote drivers: 60 MB, and another way to run code. Ray has no option to leave it out."""
    for process in members(home):
        with contextlib.suppress(psutil.Error):
            if "ray.util.client.server" in process.cmdline():
                process.kill()


def run(command: list[str], environment: dict[str, str], folder: Path, printed: Path) -> int:
    """Run a command that starts processes in the background, and return its exit status."""
    with printed.open("wb") as file:
        done = subprocess.run(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is for make
            umask=0o077,
            timeout=STARTING,
            check=False,
        )
    return done.returncode


def folder_of(home: ClusterDir, name: str) -> Path:
    """A folder for Ray's logs and sockets, or for HAProxy's: in the state directory, or in /tmp if its path would be too long."""
    folder = home.folder / name
    short = Path(f"/tmp/{name[:2]}-{home.folder.stat().st_ino:x}")
    return folder if len(str(folder)) <= MAX_PATH[name] else short


def wait_for_api(home: ClusterDir, settings: Settings, pid: int) -> None:
    """
    Raises:
        ServerError: the head's API does not answer in time, or the head has ended.
    """
    api, deadline = Api(settings.api, home.token()), time.monotonic() + STARTING
    while True:
        try:
            api.state()
            return
        except ServerError as error:
            if not psutil.pid_exists(pid) or time.monotonic() > deadline:
                raise ServerError(
                    f"the head does not answer: {error}; see {folder_of(home, 'session')}/session_latest/logs/"
                ) from None
        time.sleep(0.2)


def check_ports(ports: dict[str, int]) -> None:
    """
    Raises:
        ServerError: something listens at one of them.
    """
    for name, port in ports.items():
        if error := processes.port_error("0.0.0.0", port):
            raise ServerError(
                f"port {port} of {name} cannot be had ({error.strerror}{processes.holder_of(port)}); "
                f'stop what holds it, or choose another: make cluster-start ARGS="--set {name}={port + 100}"'
            )


def stop(home: ClusterDir) -> bool:
    """End all that was started from this state directory. Returns whether anything ran."""
    if not home.folder.exists():
        return False
    with home.lock("server"):
        had = end_all(home)
        for file in (home.server_file, home.proxy):
            file.unlink(missing_ok=True)
        return had


def end_all(home: ClusterDir) -> bool:
    """SIGTERM to the raylets, which end their workers; after `ENDING` seconds SIGKILL to what is left."""
    found = members(home)
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    deadline = time.monotonic() + ENDING
    while not all(map(processes.has_ended, found)) and time.monotonic() < deadline:
        time.sleep(0.2)
    processes.kill([*found, *members(home)])
    return bool(found)


def members(home: ClusterDir) -> list[psutil.Process]:
    """All processes of this directory's cluster on this machine.

    Some of Ray's processes write their title over their environment. They are found as children of the others, too.
    """
    found = {process for process in psutil.process_iter() if is_member(process, str(home.folder))}
    for process in [*found]:
        with contextlib.suppress(psutil.Error):
            found.update(process.children(recursive=True))
    return [process for process in found if not processes.has_ended(process)]


def is_member(process: psutil.Process, folder: str) -> bool:
    """Whether it was started from this state directory: by its environment, or if that is gone, by its title and folder."""
    with contextlib.suppress(psutil.Error, OSError):
        if process.environ().get(MARK) == folder:
            return True
        return process.cmdline()[:1] != [] and process.cmdline()[0].startswith("ray::") and process.cwd() == folder
    return False


def ingress_program(port: int) -> str:
    """The name of the program that listens at the ingress: `haproxy`, unless the fast way is off. "" if nothing listens."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            with contextlib.suppress(psutil.Error):
                return psutil.Process(connection.pid).name()
    return ""
