"""Start, use and stop the server on the command line.

    python -m serving start digits sounds intents      start the server, host these models, send each one real input
    python -m serving status
    python -m serving predict digits picture.png
    python -m serving evaluate digits --clients 16
    python -m serving verify                           check the archives of the model store; needs no server
    python -m serving stop

Each command takes --help.
"""

import argparse
import sys
from pathlib import Path

from model_defs.command import reported
from serving import commands, config, describe, evaluate_protocols, explanation, openapi
from serving.state import FOLDER, StateDir


def main() -> None:
    arguments = parser().parse_args()
    with reported("serving"):
        sys.exit(arguments.run(StateDir(arguments.home), arguments))


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="python -m serving", description="Start, use and stop the server.")
    subparsers = whole.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run, **defaults) -> argparse.ArgumentParser:
        added = subparsers.add_parser(name, help=defaults.pop("help", run.__doc__), description=run.__doc__)
        added.add_argument("--home", type=Path, default=FOLDER, help="the server's own folder (default: %(default)s)")
        added.set_defaults(run=run, **defaults)
        return added

    def model_command(name: str, run, **defaults) -> argparse.ArgumentParser:
        added = command(name, run, **defaults)
        added.add_argument("model")
        added.add_argument("--version", help="of the model; the default one, or the newest archive, if left out")
        return added

    def with_artifacts(added: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="their folder (default: %(default)s)")
        return added

    start = with_artifacts(command("start", commands.start))
    start.add_argument("models", nargs="*", metavar="MODEL", help="with an archive in the model store")
    start.add_argument("--version", help="of each MODEL; the default one, or the newest archive, if left out")
    start.add_argument("--config", type=Path, default=config.FILE, help="TorchServe's settings (default: %(default)s)")
    start.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting; may be repeated")
    start.add_argument(
        "--foreground",
        action="store_true",
        help="wait for the server's end; on SIGTERM or Ctrl-C do what stop does (systemd, containers)",
    )
    command("stop", commands.stop)
    command("status", commands.status)
    command("rotate-tokens", commands.rotate_tokens)
    model_command("register", commands.register)
    model_command("unregister", commands.unregister)
    model_command("promote", commands.promote)
    model_command("rollback", commands.rollback)
    model_command("scale", commands.scale).add_argument("--workers", type=int, required=True, help="how many; 0 pauses the model")
    verify = command("verify", commands.verify)
    verify.add_argument("archives", nargs="*", type=Path, metavar="ARCHIVE", help="all of the store, if left out")
    verify.add_argument("--store", type=Path, default=Path("model_store"), help="their folder (default: %(default)s)")
    for named in (model_command("describe", describe.describe), command("openapi", openapi.openapi)):
        named.add_argument("--store", type=Path, default=Path("model_store"), help="the archives' folder (default: %(default)s)")
    described, written = subparsers.choices["describe"], subparsers.choices["openapi"]
    described.add_argument("--json", action="store_true", help="print the whole description, as the archive has it")
    written.add_argument("--output", type=Path, default=Path("openapi.json"), help="the file to write (default: %(default)s)")
    explain = model_command("explain", explanation.explain)
    explanation.add_arguments(explain)
    for asking in (model_command("predict", commands.predict), explain):
        with_artifacts(asking).add_argument("input", nargs="?", help="a file, or a text; a sample of the artifact, if left out")
    evaluate = with_artifacts(model_command("evaluate", commands.evaluate))
    evaluate.add_argument("--clients", type=int, default=8, help="that send at once (default: %(default)s)")
    evaluate.add_argument(
        "--protocol",
        choices=["native", *evaluate_protocols.PROTOCOLS],
        default="native",
        help="to send it in (default: %(default)s)",
    )
    return whole


if __name__ == "__main__":
    main()
