"""Which archives the server hosts: register, promote, roll back, and host them again after a restart (`registered.json`).

Each change of a model holds the model's lock, so that two commands about one model run one after the other. Commands about
different models run at once.
"""

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import msgspec

from model_defs.cpus import usable_cpus
from serving import explainers
from serving.client import Client
from serving.drain import drain
from serving.errors import ServerError
from serving.proof import Proof
from serving.state import RegisteredModel, StateDir
from serving.verify import archive_path, newest, verify

DRAINING = 60  # seconds that an old version has at most to answer what it has taken in


class Registry:
    """The models of one server; `options` are the client's."""

    def __init__(self, home: StateDir, **options: float):
        self.home, self.options, self.client = home, options, Client.of(home, **options)
        self.store = Path(home.require().model_store)

    # --- changes

    def restore(self) -> list[str]:
        """Host again what was hosted when the server ended. Returns one line for each version for which that failed."""
        known = self.home.registered().items()
        # TorchServe's default is the version that comes first.
        versions = {model: sorted(each.versions, key=lambda version: version != each.default) for model, each in known}
        return [f"{model} {version}: {error}" for model, version, error in self.host_all(versions) if error]

    def host_all(self, models: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str, ServerError | None]]:
        """Host versions of models, as many models at a time as there are cores. A model that cannot start delays no other.

        Yields:
            The model, the version, and what prevents it, as soon as all versions of the model are done.
        """

        def host(model: str) -> list[tuple[str, str, ServerError | None]]:
            registry = Registry(self.home, **self.options)  # of its own: a client is for one thread
            return [(model, version, error_of(registry.host, model, version)) for version in models[model]]

        pool = ThreadPoolExecutor(usable_cpus())
        try:
            for done in as_completed([pool.submit(host, model) for model in models]):
                yield from done.result()
        finally:  # SIGTERM does not wait for models that start
            pool.shutdown(wait=False, cancel_futures=True)

    def host(self, model: str, version: str) -> None:
        """Register the archive. If the server has another archive of that version, it is unregistered first.

        Raises:
            ServerError: the archive fails its checks, or a worker cannot start.
        """
        with self.changing(model, version):
            self._host(model, version)

    def _host(self, model: str, version: str) -> None:
        digest = verify(self.archive(model, version)).sha256
        is_hosted = version in self.hosted_versions(model)
        known = self.home.registered().get(model)
        if not is_hosted or known is None or known.versions.get(version) != digest:
            if is_hosted:
                explainers.drop(self.home, self.client, model, version)
                self.client.unregister(model, version)
            self.client.register(model, version, self.home.workers_log)
            explainers.host(self.home, self.client, self.archive(model, version), model, version)
            known = known or RegisteredModel(version)
            if known.versions.get(version) != digest:  # another archive: its recipe says how many workers it wants
                known.workers.pop(version, None)
            known.versions[version] = digest
            self.home.remember(model, known)
            if (workers := known.workers.get(version)) is not None:
                self.client.scale(model, workers, version, self.home.workers_log)
                if workers == 0:  # it was paused, and still is
                    return
        self.client.wait_ready(model, version)

    def drop(self, model: str, version: str) -> None:
        """Unregister a version. TorchServe never answers what is in its queue, so drain it first."""
        with self.changing(model, version):
            self._drop(model, version)

    def _drop(self, model: str, version: str) -> None:
        known = self.home.registered().get(model)
        is_hosted = known is None or version not in known.versions or version in self.hosted_versions(model)
        if known:  # first, so that nobody misses a version that goes (serving/readiness.py)
            left = msgspec.structs.replace(
                known, versions=without(known.versions, version), workers=without(known.workers, version)
            )
            self.home.remember(model, left if left.versions else None)
        try:
            if is_hosted:
                explainers.drop(self.home, self.client, model, version)
                self.client.unregister(model, version)
        except ServerError:
            if known:
                self.home.remember(model, known)
            raise

    def want(self, model: str, version: str) -> None:
        """Remember a version that a start is to host: it is missed until it is hosted or unregistered."""
        with self.changing(model, version):
            known = self.home.registered().get(model) or RegisteredModel(version)
            known.versions.setdefault(version, "")
            self.home.remember(model, known)

    def scale(self, model: str, workers: int, version: str | None = None) -> str:
        """Start or end workers, and give the version so many at the next start, too. Returns the version.

        Raises:
            ServerError: the model is not hosted, or a worker cannot start; or a negative number, for which TorchServe ends all.
        """
        if workers < 0:
            raise ServerError(f"{workers} workers: give 1 or more, or 0 to pause {model}")
        with self.changing(model, version or ""):
            version = self.client.scale(model, workers, version, self.home.workers_log)
            known = self.home.registered().get(model)
            if known and version in known.versions:
                known.workers[version] = workers
                self.home.remember(model, known)
        return version

    def promote(self, model: str, version: str) -> str | None:
        """Make a version the default if it answers its own samples as in training; then end the version before it.

        The old version serves until the new one has passed, and answers all that it has taken in.

        Returns:
            The version before it, if there was another.

        Raises:
            ServerError: the new version cannot be hosted or answers wrongly. The old one still serves, and nothing has changed.
        """
        with self.changing(model, version):
            return self._promote(model, version)

    def _promote(self, model: str, version: str) -> str | None:
        old, was_hosted = self.default_version(model), version in self.hosted_versions(model)
        try:
            self._host(model, version)
            self.prove(model, version)
        except ServerError:
            if not was_hosted and version in self.hosted_versions(model):
                self._drop(model, version)
            raise
        if old in (None, version):
            return None
        self.client.set_default(model, version)
        explainers.set_default(self.client, model, version)
        known = self.home.registered()[model]
        known.default, known.previous = version, old
        self.home.remember(model, known)
        drain(lambda: self.client.describe(model, old), DRAINING)
        self._drop(model, old)
        return old

    def rollback(self, model: str) -> tuple[str, str]:
        """Promote the version before the last promotion; returns that version, and the one that it replaced.

        Raises:
            ServerError: nothing was promoted yet, or the old archive is not there any more.
        """
        with self.changing(model):
            known = self.home.registered().get(model)
            if known is None or known.previous is None:
                raise ServerError(f"{model} has no version before this one; make promote MODEL={model} VERSION=... makes one")
            version = known.previous
            return version, self._promote(model, version) or version

    @contextlib.contextmanager
    def changing(self, model: str, version: str = "") -> Iterator[None]:
        """Hold the model's lock.

        Raises:
            ServerError: the names are those of something outside the store.
        """
        self.archive(model, version)
        with self.home.lock(f"model-{model}"):
            yield

    # --- questions

    def prove(self, model: str, version: str) -> None:
        """Send the archive's samples over HTTP and compare the answers with those of training.

        Raises:
            ServerError: an answer differs.
        """
        Proof.of(self.hosted_archive(model, version), model, version).check(self.client)

    def fault(self, model: str, version: str) -> str | None:
        """Why a version is not ready: a worker is not, or an answer differs from training's. None if it is ready."""
        try:
            if not self.client.is_ready(model, version):
                return f"{model} {version}: not every worker is ready"
            self.prove(model, version)
        except (OSError, zipfile.BadZipFile) as error:  # its archive is not in the store any more, or is damaged
            return f"{model} {version}: {error}"
        except ServerError as error:
            return str(error)
        return None

    def missing(self) -> list[str]:
        """One line for each version that should be hosted and is not."""
        hosted = {(each["modelName"], each["modelVersion"]) for each in self.client.models()}
        wanted = [(model, version) for model, known in self.home.registered().items() for version in known.versions]
        return [
            f"{model} {version} should be hosted and is not; make register MODEL={model} VERSION={version} hosts it, "
            f"make unregister MODEL={model} forgets it"
            for model, version in wanted
            if (model, version) not in hosted
        ]

    def hosted_versions(self, model: str) -> set[str]:
        """The versions that the server has now."""
        return {entry["modelVersion"] for entry in self.client.describe(model)} if model in self.client.names() else set()

    def default_version(self, model: str) -> str | None:
        """The version that the server answers with now, if it hosts the model."""
        if model not in self.client.names():
            return None
        return self.client.describe(model, "")[0]["modelVersion"]

    def archive(self, model: str, version: str) -> Path:
        """The archive's path; for the error see `archive_path`."""
        return archive_path(self.store, model, version)

    def hosted_archive(self, model: str, version: str) -> Path:
        """The archive of a version that the server has. TorchServe's own API can host one under another name."""
        return self.store / Path(self.client.describe(model, version)[0]["modelUrl"]).name

    def newest(self, model: str) -> str:
        """The highest version of the model that the store has."""
        return newest(self.store, model)


def without(entries: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in entries.items() if name != key}


def error_of(change: Callable[[str, str], None], model: str, version: str) -> ServerError | None:
    """Make the change; return the error that it raises."""
    try:
        change(model, version)
    except ServerError as error:
        return error
    return None
