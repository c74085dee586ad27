"""Run the bundle's archives on Ray Serve, from the command line.

    python -m cluster start digits intents      start Ray on this machine and deploy these models
    python -m cluster status
    python -m cluster promote digits --version 2.0
    python -m cluster rayservice digits         print the manifests for Kubernetes
    python -m cluster stop

Each command takes --help.
"""

import argparse
import sys
from pathlib import Path

from cluster import commands, settings
from cluster.fleet import STORE
from cluster.state import FOLDER, ClusterDir
from model_defs.command import reported
from serving import explanation
from serving.evaluate_protocols import PROTOCOLS


def main() -> None:
    arguments = parser().parse_args()
    with reported("cluster"):
        chosen = settings.read(arguments.config, arguments.set)
        home = ClusterDir(arguments.home, chosen.ingress if arguments.remote else "", chosen.api)
        sys.exit(arguments.run(home, chosen, arguments))


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="python -m cluster", description="Run archives on Ray Serve.")
    subparsers = whole.add_subparsers(required=True, metavar="COMMAND")
    paths = {"type": Path, "help": "(default: %(default)s)"}

    def command(name: str, run, help: str = "") -> argparse.ArgumentParser:
        added = subparsers.add_parser(name, help=help or run.__doc__, description=run.__doc__)
        added.add_argument("--home", default=FOLDER, **paths)
        added.add_argument("--config", default=settings.FILE, **paths)
        added.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting; may be repeated")
        added.add_argument("--store", default=STORE, **paths)
        added.add_argument("--artifacts", default=Path("artifacts"), **paths)
        added.add_argument("--remote", action="store_true", help="the cluster of the settings runs on other machines")
        added.set_defaults(run=run)
        return added

    for name, run, count in (("start", commands.start, "*"), ("deploy", commands.deploy, "+"), ("config", commands.config, "+"),
                             ("rayservice", commands.manifests, "+")):  # fmt: skip
        added = command(name, run)
        added.add_argument("models", nargs=count, metavar="MODEL", help="with an archive in the model store")
        added.add_argument("--version", help="of the models; the newest archive, if left out")
        if name == "start":
            added.add_argument("--join", metavar="HOST:PORT", help="of the head of a cluster that this machine joins")
    command("stop", commands.stop)
    command("status", commands.status)
    for name in ("undeploy", "promote", "rollback", "scale", "predict", "explain", "evaluate"):
        added = command(name, getattr(commands, name))
        added.add_argument("model")
        added.add_argument("--version", help="of the model; the default one, or the newest archive, if left out")
        if name == "scale":
            added.add_argument("--workers", type=int, required=True, help="how many replicas")
        if name in ("predict", "explain"):
            added.add_argument("input", nargs="?", help="a file, or a text; a sample of the artifact, if left out")
        if name == "explain":
            explanation.add_arguments(added)
        if name == "evaluate":
            added.add_argument("--clients", type=int, default=8, help="that send at once (default: %(default)s)")
            added.add_argument("--protocol", choices=["native", *PROTOCOLS], default="native", help="(default: %(default)s)")
    return whole


if __name__ == "__main__":
    main()
