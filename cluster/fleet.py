"""Deploy, promote, roll back and end versions on a cluster. The cluster itself says what is deployed.

Each change replaces the whole configuration, so the changes of one machine run one after the other.
"""

import contextlib
import json
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from cluster import plan
from cluster.api import Api
from cluster.settings import Settings
from cluster.state import ClusterDir
from serving.client import Client
from serving.errors import ServerError
from serving.proof import NoSamples, Proof
from serving.verify import archive_path, newest, sums

STORE = Path("model_store")
RESTORING = 60  # seconds for the configuration before a failed change to serve again


class Fleet:
    """The models of one cluster."""

    def __init__(self, home: ClusterDir, settings: Settings, store: Path = STORE):
        self.home, self.settings, self.store = home, settings, store
        self.api = Api(settings.api, home.token())

    # --- changes

    def deploy(self, models: Iterable[tuple[str, str]]) -> list[str]:
        """Deploy versions of models, all at once, and return when they serve. Returns notes on what has no meaning here.

        The first version of a model becomes its default. Another one serves next to it.

        Raises:
            ServerError: an archive fails its checks, or a replica cannot start. What served before still serves.
        """
        with self.home.lock("fleet"):
            before = self.api.configured()
            wanted, notes = {}, []
            for model, version in models:
                default = before.get(model, {}).get("args", {})
                is_default = default.get("version", version) == version
                made = self.application(model, version, is_default, default.get("previous"))
                wanted[made["name"]] = made
                notes += [f"{model} {version}: {note}" for note in plan.notes(self.recipe(model, version), self.settings)]
            self.change(before, before | wanted, [*wanted])
            for each in wanted.values():
                self.ask_sample(each["name"], each["args"])
        return notes

    def ask_sample(self, application: str, args: dict[str, Any]) -> None:
        """Send a sample until it is answered: HAProxy learns of new replicas a moment after Serve says that they run."""
        with contextlib.suppress(NoSamples):
            self.proof(application, args).check(Client.of(self.home), 1)

    def proof(self, application: str, args: dict[str, Any]) -> Proof:
        """The samples of an application, to be sent to the address at which it answers. For the errors see `Proof.of`."""
        version = "" if application == args["model"] else args["version"]
        return Proof.of(self.archive(args["model"], args["version"]), args["model"], version)

    def promote(self, model: str, version: str) -> str | None:
        """Make a version the default: its replicas start, answer their samples, and only then the old ones end.

        Returns:
            The version before it, if there was another.

        Raises:
            ServerError: the new version cannot start or answers wrongly. The old one still serves.
        """
        with self.home.lock("fleet"):
            before = self.api.configured()
            old = before.get(model, {}).get("args")
            if old and old["version"] == version and old["sha256"] == sums(self.store).get(self.archive(model, version).name):
                return None
            previous = {key: value for key, value in old.items() if key != "previous"} if old else None
            wanted = self.application(model, version, True, previous)
            self.change(before, before | {model: wanted}, [model])
            try:
                Proof.of(self.archive(model, version), model, "").check(Client.of(self.home))
            except ServerError:
                self.change(before, before, [model] if old else [])
                raise
            return old and old["version"]

    def rollback(self, model: str) -> tuple[str, str]:
        """Promote the version before the last promotion; returns that version, and the one that it replaced.

        Raises:
            ServerError: nothing was promoted yet, or the old archive is not there any more.
        """
        now = self.default(model)
        if not now or not now["previous"]:
            raise ServerError(
                f"{model} has no version before this one; make promote ENGINE=ray MODEL={model} VERSION=... makes one"
            )
        version = now["previous"]["version"]
        self.promote(model, version)
        return version, now["version"]

    def scale(self, model: str, version: str | None, replicas: int) -> str:
        """Give a version so many replicas, and return the version. The running replicas go on.

        Raises:
            ServerError: it is not deployed, or a replica cannot start.
        """
        if replicas < 1:
            raise ServerError(f"{replicas} replicas answer nothing; make undeploy ENGINE=ray MODEL={model} ends the model")
        with self.home.lock("fleet"):
            before = self.api.configured()
            name = self.name_of(before, model, version)
            changed = json.loads(json.dumps(before[name]))
            section = changed["deployments"][0]
            section.pop("autoscaling_config", None)
            section["num_replicas"] = replicas
            self.change(before, before | {name: changed}, [name])
            return changed["args"]["version"]

    def undeploy(self, model: str, version: str | None = None) -> list[str]:
        """End a model, or one version of it, after it has answered what it has taken in. Returns the names of the applications.

        Raises:
            ServerError: it is not deployed.
        """
        with self.home.lock("fleet"):
            before = self.api.configured()
            names = [name for name, each in before.items() if each.get("args", {}).get("model") == model]
            if version:
                names = [self.name_of(before, model, version)]
            if not names:
                raise ServerError(f"{model} is not deployed; make status ENGINE=ray lists what is")
            self.api.put(self.config({name: each for name, each in before.items() if name not in names}))
            for name in names:
                self.api.wait_gone(name)
            return names

    def change(self, before: dict[str, Any], after: dict[str, Any], names: list[str]) -> None:
        """Change the configuration and wait until these applications serve. If one fails, bring the old configuration back.

        Raises:
            ServerError: one failed.
        """
        # A head that has just started knows no replicas of an application while it builds a new version of it. Until its own
        # proxy runs, which then answers in their place, a change would cost requests.
        self.api.wait([])
        self.api.put(self.config(after))
        try:
            self.api.wait([*names, plan.GATEWAY_NAME], say=partial(print, file=sys.stderr))
        except (ServerError, KeyboardInterrupt):
            self.api.put(self.config(before))
            with contextlib.suppress(ServerError):  # the first reason is the one to tell
                self.api.wait([name for name in names if name in before], RESTORING)
            raise

    # --- questions

    def config(self, applications: dict[str, Any]) -> dict[str, Any]:
        gateway = plan.gateway(self.home.key_sha256(), self.settings.max_request_size)
        return plan.config([*(applications | {plan.GATEWAY_NAME: gateway}).values()], self.settings)

    def application(self, model: str, version: str, is_default: bool, previous: dict[str, Any] | None) -> dict[str, Any]:
        return plan.application(self.archive(model, version), self.settings, self.home.key_sha256(), is_default, previous)

    def default(self, model: str) -> dict[str, Any] | None:
        """The arguments of the version that answers requests without a version, if the model is deployed."""
        return self.api.configured().get(model, {}).get("args")

    def name_of(self, configured: dict[str, Any], model: str, version: str | None) -> str:
        """The application that serves a version.

        Raises:
            ServerError: none does.
        """
        for name, each in configured.items():
            args = each.get("args", {})
            if args.get("model") == model and (version == args["version"] or (version is None and name == model)):
                return name
        raise ServerError(f"{model} {version or ''} is not deployed; make status ENGINE=ray lists what is")

    def archive(self, model: str, version: str) -> Path:
        """The archive's path; for the error see `archive_path`."""
        return archive_path(self.store, model, version, "deployed")

    def recipe(self, model: str, version: str) -> dict[str, Any]:
        return plan.described(self.archive(model, version))[2]

    def newest(self, model: str) -> str:
        return newest(self.store, model)
