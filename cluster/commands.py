"""The commands of `python -m cluster`, each a function. Its docstring is its help text.

Each takes the state directory, the settings and the parsed arguments, and returns the exit status; None is 0.
"""

import argparse
import sys
from typing import Any

import yaml
from msgspec import structs
from rich.table import Table

from cluster import local, plan, rayservice
from cluster.fleet import Fleet
from cluster.settings import Settings
from cluster.state import ClusterDir
from serving import commands, explanation
from serving.client import Client
from serving.errors import ServerError
from serving.evaluate import evaluate as evaluate_test_set
from serving.proof import tolerance_of

PROBING = 10  # seconds for an answer, to find out whether a model is ready


def start(home: ClusterDir, settings: Settings, arguments: argparse.Namespace) -> int | None:
    """start Ray on this machine and deploy the models; or join a cluster"""
    if arguments.join:
        local.join(home, settings, arguments.join)
        print(f"this machine has joined {arguments.join}")
        return None
    running = local.start_head(home, settings, arguments.store)
    print(f"the cluster is up: {running.inference} (API {running.management}, token in {home.token_file})", flush=True)
    if not settings.redis:
        print("without redis in cluster.yaml, every node ends about a minute after the head has died", file=sys.stderr)
    if arguments.models:
        deploy(home, settings, arguments)
    return None


def stop(home: ClusterDir, settings: Settings, arguments: argparse.Namespace) -> None:
    """end all Ray processes that were started from here"""
    print("the cluster's processes on this machine have ended" if local.stop(home) else "no cluster runs here")


def deploy(home: ClusterDir, settings: Settings, arguments: argparse.Namespace) -> None:
    """deploy models; a second version serves next to the first, at its own address"""
    fleet = Fleet(home, settings, arguments.store)
    chosen = [(model, arguments.version or fleet.newest(model)) for model in arguments.models]
    for note in fleet.deploy(chosen):
        print(note, file=sys.stderr)
    with home.lock("tokens"):
        home.admit()  # docs/haproxy.cfg may pass requests on
    for model, version in chosen:
        print(f"{model} {version} is ready")


def undeploy(home: ClusterDir, settings: Settings, arguments: argparse.Namespace) -> None:
    """end a model, or one version of it"""
    for name in Fleet(home, settings, arguments.store).undeploy(arguments.model, arguments.version):
        print(f"{name} is no longer deployed")


def promote(home: ClusterDir, settings: Settings, arguments: argparse.Namespace) -> None:
    """make a version the default: its replicas prove themselves by the samples, then the old ones end"""
    fleet = Fleet(home, settings, arguments.store)
    version = arguments.version or fleet.newest(arguments.model)
    before = fleet.promote(arguments.model, version)
    print(f"{arguments.model} {version} answers now" + (f"; make rollback brings {before} back" if before else ""))


def rollback(home: ClusterDir, settings: Settings, arguments: argparse.Namespace) -> None:
    """promote the version before the last promotion"""
    version, before = Fleet(home, settings, arguments.store).rollback(arguments.model)
    print(f"{arguments.model} {version} answers again; {before} has ended")


def scale(home: ClusterDir, settings: Settings, arguments: argparse.Namespace) -> None:
    """change a model's number of replicas"""
    fleet = Fleet(home, settings, arguments.store)
    version = fleet.scale(arguments.model, arguments.version, arguments.workers)
    print(f"{arguments.model} {version} has {arguments.workers} replicas")


def status(home: ClusterDir, settings: Settings, arguments: argparse.Namespace) -> int | None:
    """print the models of the cluster; 0 if every replica is ready and each model answers its samples as in training"""
    running = home.running()
    if running is None:
        print("no cluster runs here; start one with: make cluster-start")
        return commands.NOT_RUNNING
    fleet = Fleet(home, settings, arguments.store)
    state = fleet.api.state()
    table, faults = Table("model", "version", "replicas", "ready", "status", "nodes", "archive"), slow_ways(home, settings, state)
    for name, each in sorted(state["applications"].items()):
        args = (each["deployed_app_config"] or {}).get("args", {})
        if "model" not in args:
            continue
        fault = fault_of(fleet, name, each, args)
        faults += [fault] if fault else []
        replicas = [replica for deployment in each["deployments"].values() for replica in deployment["replicas"]]
        ready = sum(replica["state"] == "RUNNING" for replica in replicas)
        table.add_row(
            args["model"],
            args["version"] + (" (default)" if name == args["model"] else ""),
            f"{ready} of {len(replicas)} ready",
            "no" if fault else "yes",
            each["status"],
            ", ".join(sorted({replica["node_ip"] or "-" for replica in replicas})),
            args["archive"].rpartition("/")[2],
        )
    print(f"{running.inference}; API {running.management}; nodes: {', '.join(nodes(state))}")
    commands.show(table)
    if not table.rows:
        faults.append("no model is deployed; make deploy ENGINE=ray MODEL=... deploys one")
    for fault in faults:
        print(f"not ready: {fault}", file=sys.stderr)
    return 1 if faults else None


def nodes(state: dict[str, Any]) -> list[str]:
    """The nodes with their proxy's state, for example `127.0.0.2 HEALTHY`."""
    return [f"{proxy['node_ip']} {proxy['status']}" for proxy in (state.get("proxies") or {}).values()]


def slow_ways(home: ClusterDir, settings: Settings, state: dict[str, Any]) -> list[str]:
    """A fault if the local ingress is not HAProxy."""
    program = local.ingress_program(settings.port) if home.local() else ""
    if program in ("", "haproxy"):
        return []
    return [
        f"port {settings.port} is served by {program}, not by HAProxy: each request costs 13 times as much; see docs/cluster.md"
    ]


def fault_of(fleet: Fleet, name: str, application: dict[str, Any], args: dict[str, Any]) -> str | None:
    """Why a version is not ready; None if it is."""
    if application["status"] != "RUNNING":
        return f"{name} is {application['status']}: {application['message'].strip().splitlines()[-1:] or 'no reason given'}"
    client = Client.of(fleet.home, patience=PROBING, retrying=0)
    try:
        fleet.proof(name, args).check(client)
    except (OSError, ServerError) as error:
        return f"{name}: {error}"
    return None


def predict(home: ClusterDir, settings: Settings, arguments: argparse.Namespace) -> int | None:
    """send one input: a file, a text, or by default a sample of the artifact"""
    return commands.predict(home, arguments)


def explain(home: ClusterDir, settings: Settings, arguments: argparse.Namespace) -> int | None:
    """ask why a model answers one input as it does; write the picture to a file and print the weights"""
    return explanation.explain(home, arguments)


def evaluate(home: ClusterDir, settings: Settings, arguments: argparse.Namespace) -> int | None:
    """send the whole test set, and compare each answer with the one found in training"""
    fleet = Fleet(home, settings, arguments.store)
    now = fleet.default(arguments.model)
    version = arguments.version or (now or {}).get("version") or fleet.newest(arguments.model)
    archive = fleet.archive(arguments.model, version)
    test_set = arguments.artifacts / arguments.model / "test.zip"
    figures = evaluate_test_set(
        home, arguments.model, test_set, arguments.clients, arguments.version, tolerance_of(archive), arguments.protocol, archive
    )
    print(f"{arguments.model}: {figures}")
    return 1 if figures.disagreements else None


def config(home: ClusterDir, settings: Settings, arguments: argparse.Namespace) -> None:
    """print the Serve configuration of these models; needs no cluster"""
    print(dumped(whole(home, settings, arguments)))


def manifests(home: ClusterDir, settings: Settings, arguments: argparse.Namespace) -> None:
    """print a KubeRay RayService with these models, and what belongs to it; needs no cluster"""
    if "://" not in settings.archives:
        settings = structs.replace(settings, archives=rayservice.ARCHIVES)
    print("---\n".join(dumped(each) for each in rayservice.manifests(whole(home, settings, arguments), settings)))


def whole(home: ClusterDir, settings: Settings, arguments: argparse.Namespace) -> dict[str, Any]:
    home.make_secrets()
    fleet = Fleet(home, settings, arguments.store)
    chosen = [(model, arguments.version or fleet.newest(model)) for model in arguments.models]
    for model, version in chosen:
        for note in plan.notes(fleet.recipe(model, version), settings):
            print(f"{model} {version}: {note}", file=sys.stderr)
    return fleet.config({model: fleet.application(model, version, True, None) for model, version in chosen})


def dumped(value: dict[str, Any]) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
