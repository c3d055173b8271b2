"""The page: its files as the build leaves them (`built/`, made of the sources in `/web`), with what a server says of them."""

import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec

__all__ = ["KINDS", "Asset", "assets"]

KINDS = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
    "json": "application/json",
    "webmanifest": "application/manifest+json",
}
"""What each kind of file is called. Others are not served."""


class Asset(msgspec.Struct, frozen=True):
    """One file. `packed` is the same as gzip made it at the build; `lasting`: its name changes whenever its content does."""

    content: bytes
    kind: str
    packed: bytes | None
    tag: str
    lasting: bool


@cache
def assets() -> dict[str, Asset]:
    """Every file of the page by its path, such as `index.html`; none where the page was not built."""
    root = files("headrace.web") / "built"
    return dict(_found(root, "")) if root.is_dir() else {}


def _found(folder: Traversable, at: str) -> list[tuple[str, Asset]]:
    found: list[tuple[str, Asset]] = []
    held = {entry.name: entry for entry in folder.iterdir()}
    for name, entry in held.items():
        kind = KINDS.get(name.rpartition(".")[2])
        if entry.is_dir():
            found += _found(entry, f"{at}{name}/")
        elif kind is not None:
            content, packed = entry.read_bytes(), held.get(f"{name}.gz")
            tag = hashlib.sha256(content).hexdigest()[:32]
            found.append((f"{at}{name}", Asset(content, kind, None if packed is None else packed.read_bytes(), tag, at == "assets/")))
    return found
