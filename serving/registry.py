"""Which archives the server hosts: registered, promoted, rolled back; remembered, so that a restart brings them back.

Knows nothing of processes, nor of what is printed.
"""

import json
import re
import zipfile
from pathlib import Path

import msgspec
import yaml

from model_defs.answer_diff import difference
from model_defs.bundle_format import COMPARISON, MANIFEST, SAMPLES, SAMPLES_FILE, TOLERANCE
from serving.client import BYTES, TYPES, Client
from serving.drain import drain
from serving.state import ServerError, StateDir, replace
from serving.verify import sums, verify

DRAINING = 60  # seconds at most that an old version stays, to answer what it has taken in


class RegisteredModel(msgspec.Struct):
    """One model's versions.

    Args:
        default: the version that answers where a request names none.
        previous: the one that did before it was promoted.
        versions: the SHA-256 of each one's archive.
    """

    default: str
    previous: str | None = None
    versions: dict[str, str] = {}


class Registry:
    """The models of one server, and `registered.json`, which remembers them; `options` are the client's."""

    def __init__(self, home: StateDir, **options: float):
        self.home, self.client = home, Client.of(home, **options)
        self.store = Path(home.require().model_store)
        try:
            self.models = msgspec.json.decode(home.registered.read_bytes(), type=dict[str, RegisteredModel])
        except (FileNotFoundError, msgspec.DecodeError):
            self.models = {}

    def restore(self) -> list[str]:
        """Host again what was hosted when the server ended, as far as the archives are still the same; what is not, by name."""
        lost = []
        for model, remembered in self.models.items():
            for version in sorted(remembered.versions, key=lambda version: version != remembered.default):
                try:
                    self.host(model, version)
                except ServerError as error:
                    lost.append(f"{model} {version}: {error}")
        return lost

    def host(self, model: str, version: str) -> None:
        """Register the archive, unless the server has this very one; an older archive of the same version goes first.

        Raises:
            ServerError: the archive is not to be trusted, or a worker cannot start.
        """
        digest = verify(self.archive(model, version)).sha256
        is_hosted = version in self.hosted_versions(model)
        known = self.models.get(model)
        if not is_hosted or known is None or known.versions.get(version) != digest:
            if is_hosted:
                self.client.unregister(model, version)
            self.client.register(model, version, self.home.workers_log)
            known = known or RegisteredModel(version)
            known.versions[version] = digest
            self.remember(model, known)
        self.client.wait_ready(model, version)

    def drop(self, model: str, version: str) -> None:
        """Host a version no longer. Its queue is lost: drain it first if it has one."""
        self.client.unregister(model, version)
        known = self.models.get(model)
        if known:
            known.versions.pop(version, None)
            self.remember(model, known if known.versions else None)

    def promote(self, model: str, version: str) -> str | None:
        """Let a version answer from now on, if it answers its own samples as in training; then end the one before it.

        The old version serves until the new one is proven, and answers all that it had taken in.

        Returns:
            The version before it, if there was another.

        Raises:
            ServerError: the new version cannot be had or answers wrongly; the old one still serves, as if nothing had been.
        """
        old = self.default_version(model)
        if old is None:
            self.host(model, version)
            self.prove(model, version)
            return None
        was_hosted = version in self.hosted_versions(model)
        try:
            self.host(model, version)
            self.prove(model, version)
        except ServerError:
            if not was_hosted and version in self.hosted_versions(model):
                self.drop(model, version)
            raise
        if version == old:
            return None
        self.client.set_default(model, version)
        known = self.models[model]
        known.default, known.previous = version, old
        self.remember(model, known)
        drain(lambda: self.client.describe(model, old), DRAINING)
        self.drop(model, old)
        return old

    def rollback(self, model: str) -> tuple[str, str]:
        """Promote the version before the last promotion; returns that version, and the one that it replaced.

        Raises:
            ServerError: nothing was promoted yet, or the old archive has gone.
        """
        known = self.models.get(model)
        if known is None or known.previous is None:
            raise ServerError(f"{model} has no version before this one; make promote MODEL={model} VERSION=... makes one")
        version = known.previous
        return version, self.promote(model, version) or version

    def prove(self, model: str, version: str) -> None:
        """Send the archive's samples over HTTP and compare the answers with training's.

        Raises:
            ServerError: an answer differs.
        """
        with zipfile.ZipFile(self.archive(model, version)) as file:
            if SAMPLES_FILE not in file.namelist():
                raise ServerError(f"{model} {version} brings no samples to prove it by; make archive MODEL={model}")
            samples = json.loads(file.read(SAMPLES_FILE))
            bodies = [file.read(f"{SAMPLES}/{sample['file']}") for sample in samples]
        tolerance = self.tolerance(model, version)
        for sample, body in zip(samples, bodies, strict=True):
            answer = self.client.predict(model, body, TYPES.get(Path(sample["file"]).suffix, BYTES), version)
            given = answer.json() if answer.status_code == 200 else answer.text
            if wrong := difference(given, sample["answer"], tolerance):
                raise ServerError(f"{model} {version} answers {sample['file']} otherwise than in training: {wrong}")

    def fault(self, model: str, version: str) -> str | None:
        """Why a version is not ready: a worker that is not, or an answer that is not training's. None if it is."""
        try:
            if not self.client.is_ready(model, version):
                return f"{model} {version}: not every worker is ready"
            self.prove(model, version)
        except (ServerError, OSError) as error:  # its archive may have gone from the store
            return f"{model} {version}: {error}" if isinstance(error, OSError) else str(error)
        return None

    def tolerance(self, model: str, version: str) -> float:
        """How far a score may lie from training's: as the recipe says, and as far as the archive's runtime was measured to."""
        if not self.archive(model, version).exists():  # hosted still, and taken from the store since
            return TOLERANCE
        with zipfile.ZipFile(self.archive(model, version)) as file:
            recipe = yaml.safe_load(file.read(json.loads(file.read(MANIFEST))["model"]["configFile"]))
            measured = json.loads(file.read(COMPARISON)) if COMPARISON in file.namelist() else {}
        return recipe.get("handler", {}).get("tolerance", TOLERANCE) + measured.get("largest_difference", 0)

    def hosted_versions(self, model: str) -> set[str]:
        """The versions that the server has now."""
        return {entry["modelVersion"] for entry in self.client.describe(model)} if model in self.client.names() else set()

    def default_version(self, model: str) -> str | None:
        """The version that the server answers with now, if it hosts the model."""
        if model not in self.client.names():
            return None
        return self.client.describe(model, "")[0]["modelVersion"]

    def archive(self, model: str, version: str) -> Path:
        """
        Raises:
            ServerError: these name something outside the store.
        """
        if not re.fullmatch(r"[\w.+-]+", f"{model}{version}", re.ASCII):
            raise ServerError(f"{model!r} {version!r} is no model and version: only archives of {self.store}/ can be hosted")
        return self.store / f"{model}-{version}.mar"

    def newest(self, model: str) -> str:
        """The highest version of the model that the store has."""
        archive = re.compile(rf"{re.escape(model)}-(\d.*)\.mar")
        versions = [match[1] for name in sums(self.store) if (match := archive.fullmatch(name))]
        if not versions:
            raise ServerError(f"no archive of {model!r} in {self.store}/; make archive MODEL={model} makes one")
        return max(versions, key=in_order)

    def remember(self, model: str, hosted: RegisteredModel | None) -> None:
        if hosted is None:
            self.models.pop(model, None)
        else:
            self.models[model] = hosted
        replace(self.home.registered, msgspec.json.format(msgspec.json.encode(self.models), indent=1))


def in_order(version: str) -> list[tuple[int, str]]:
    """A sort key that puts 1.10 after 1.9."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.findall(r"\d+|[^\d.]+", version)]
