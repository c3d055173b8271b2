"""Where an installation lives: its settings file, its data folder, its caches. What every command starts from."""

import os
from collections.abc import Mapping
from importlib.metadata import version as installed_version
from pathlib import Path

import msgspec

from headrace.compose.settings import Settings, load_settings, settings_file
from headrace.core.errors import SettingsInvalid
from headrace.storage import Layout


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What was said on the command line and in the environment, before any file is read."""

    config: Path | None
    data: Path | None
    environ: Mapping[str, str]
    host: str | None = None
    port: int | None = None
    workers: int | None = None
    weights: str | None = None

    def with_server(self, *, host: str | None, port: int | None, workers: int | None, weights: str | None) -> "Place":
        return msgspec.structs.replace(self, host=host, port=port, workers=workers, weights=weights)

    def settings(self) -> Settings:
        """The settings, with what the command line says above them. Raises SettingsInvalid."""
        settings = load_settings(self.config, self.environ)
        said = (("host", self.host), ("port", self.port), ("workers", self.workers))
        server = {name: value for name, value in said if value is not None}
        storage = {"path": str(self.data)} if self.data is not None else {}
        engine = {"weights": self.weights} if self.weights is not None else {}
        return msgspec.structs.replace(
            settings,
            server=msgspec.structs.replace(settings.server, **server),
            storage=msgspec.structs.replace(settings.storage, **storage),
            engine=msgspec.structs.replace(settings.engine, **engine),
        )

    @property
    def file(self) -> Path | None:
        """The settings file in force; None: there is none."""
        return settings_file(self.config, self.environ)

    def layout(self) -> Layout:
        """The paths of the data folder, which need not exist."""
        return Layout(Path(self.settings().storage.path))

    def development_key(self) -> str | None:
        """The secret of the development key; None before the first start."""
        path = self.layout().development_key
        return path.read_text().strip() if path.exists() else None


def here(config: Path | None, data: Path | None) -> Place:
    """This process's own place."""
    return Place(config=config, data=data, environ=os.environ)


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where weights are kept, for all installations of this user: HEADRACE_CACHE, else XDG_CACHE_HOME, else ~/.cache."""
    if chosen := environ.get("HEADRACE_CACHE"):
        return Path(chosen)
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".cache")
    return Path(base) / "headrace"


def version() -> str:
    return installed_version("headrace")


def secret_of(environ: Mapping[str, str], name: str, whose: str) -> str:
    """What the environment variable `name` holds. Raises SettingsInvalid when it is not set."""
    held = environ.get(name, "")
    if not held:
        raise SettingsInvalid(f"{whose} takes its secret from the environment variable {name}, which is not set")
    return held
