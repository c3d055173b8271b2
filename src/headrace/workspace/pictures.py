"""Pictures that a person shows: kept beside each run under the digest of what they hold, and shown to models as they are.

A name is the digest and the kind, so a picture never changes once something was said about it, and is kept once however often it is shown.
What a picture shows may be anyone's, so only the four kinds that every vendor reads and that hold no scripts are taken, by their first
bytes and never by what somebody calls them.
"""

import contextlib
import os
import re
import shutil
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeAlias

from headrace.agents.events import Event, PersonSaid
from headrace.core.errors import InvalidRequest, NotFound

FOLDER: Final = "pictures"
BYTES_MAX: Final = 3_750_000
"""So large a picture every vendor takes; the page makes larger ones smaller before it sends them."""
MESSAGE_MAX: Final = 8
REQUEST_BYTES_MAX: Final = 14 << 20
"""Of all pictures that one request to a model shows, the latest first: vendors take some 20 MB with everything around them."""
KINDS: Final = {"png": "image/png", "jpg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}
_NAME: Final = re.compile(r"[0-9a-f]{32}\.(?:png|jpg|gif|webp)")

Shows: TypeAlias = Callable[[str], str | None]
"""A picture as a data URL, by its name; None where it is not shown to this model."""


def name_of(content: bytes) -> str:
    """The name under which it is kept. Raises InvalidRequest for what is no picture that can be shown."""
    if len(content) > BYTES_MAX:
        raise InvalidRequest(f"A picture has at most {BYTES_MAX:,} bytes, and this one {len(content):,}: make it smaller first.")
    kind = _kind(content)
    if kind is None:
        raise InvalidRequest("This is no picture that models read: PNG, JPEG, GIF and WebP are.")
    return f"{sha256(content).hexdigest()[:32]}.{kind}"


def _kind(content: bytes) -> str | None:
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return "webp" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else None


def keep_picture(home: Path, content: bytes) -> str:
    """Keep it with a run; its name. Raises InvalidRequest."""
    name, folder = name_of(content), home / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    if not (folder / name).exists():
        fresh = folder / f".{name}"
        fresh.write_bytes(content)
        fresh.replace(folder / name)
    return name


def has_picture(home: Path, name: str) -> bool:
    return _NAME.fullmatch(name) is not None and (home / FOLDER / name).exists()


def read_picture(home: Path, name: str) -> bytes:
    """Raises NotFound."""
    if not has_picture(home, name):
        raise NotFound("Picture", name)
    return (home / FOLDER / name).read_bytes()


def kind_of(name: str) -> str:
    """The media type of a picture of this name."""
    return KINDS[name.rpartition(".")[2]]


def copy_pictures(home: Path, fresh: Path) -> None:
    """The pictures of one run for another that leaves it: the same bytes under a second name, or a copy where there can be none."""
    for path in (home / FOLDER).iterdir() if (home / FOLDER).exists() else ():
        (fresh / FOLDER).mkdir(mode=0o700, exist_ok=True)
        try:
            os.link(path, fresh / FOLDER / path.name)
        except OSError:
            shutil.copy2(path, fresh / FOLDER / path.name)


def named_in(events: Iterable[Event]) -> list[str]:
    """The pictures that were shown, in order, each as often as it was."""
    return [name for event in events if isinstance(event, PersonSaid) for name in event.pictures]


def shows_of(home: Path, events: Sequence[Event]) -> Shows:
    """How the pictures of a conversation are shown in one request: the latest, as many as a request can hold."""
    left, shown = REQUEST_BYTES_MAX, set[str]()
    for name in reversed(named_in(events)):
        if name in shown:
            continue
        with contextlib.suppress(OSError):
            size = (home / FOLDER / name).stat().st_size
            if size > left:
                break
            left -= size
            shown.add(name)

    def shows(name: str) -> str | None:
        if name not in shown:
            return None
        return f"data:{kind_of(name)};base64,{b64encode(read_picture(home, name)).decode()}"

    return shows
