"""A draft looked through piece by piece: what of it is not in the folder yet, what of that is taken over, and what is given up.

What was moved to another name is one change, told as such: its two halves are kept or left together. What is no text (a picture, a link, a
file too long to read) is kept or left whole. A choice says which version of a change it was made on; when the task or the person has gone
on since then, nothing is done about it.
"""

import stat
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from headrace.agents.hunks import Hunk, hunks_of, likeness, merged
from headrace.core.errors import Conflict, InvalidRequest
from headrace.sandbox.draft import Change, Draft, read_text

RENAMED_FROM: Final = 0.6
"""So much of their lines a file that is gone and one that is new must share to be the same one under another name."""
PAIRS_MAX: Final = 100
"""More pairs of gone and new files than this are not compared."""

Kind: TypeAlias = Literal["added", "changed", "deleted", "renamed"]


class Reviewed(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the draft against the folder as it is now. `hunks` of None: it is kept or left whole, because of `whole`. `source` is
    what it was called before, and `foreign`: somebody else has changed the file since the draft began."""

    path: str
    kind: Kind
    version: str
    old: bytes = b""
    hunks: tuple[Hunk, ...] | None = None
    whole: str = ""
    source: str | None = None
    foreign: bool = False


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of one change, which pieces, by their numbers from 0; None: all of it. `version` of None: whichever it has now."""

    path: str
    hunks: tuple[int, ...] | None = None
    version: str | None = None


def review(draft: Draft) -> tuple[Reviewed, ...]:
    """What of the draft is not in its folder, by path."""
    waiting = draft.pending()
    moved = _renames(draft, waiting)
    sources = set(moved.values())
    return tuple(_reviewed(draft, change, moved.get(change.path)) for change in waiting if change.path not in sources)


def keep(draft: Draft, choices: Iterable[Choice]) -> tuple[Change, ...]:
    """Take over what is chosen; the rest stays in the draft. Raises Conflict, InvalidRequest, SandboxRefused."""
    chosen: dict[str, bytes | None] = {}
    for change, choice in _matched(draft, choices):
        if choice.hunks == () and change.source is None:
            continue
        chosen[change.path] = _content(change, choice)
        if change.source is not None:
            chosen[change.source] = None
    return draft.take_over(chosen)


def drop(draft: Draft, choices: Iterable[Choice]) -> tuple[Change, ...]:
    """Give up what is chosen: in the draft it is again as in the folder. Raises Conflict, InvalidRequest, SandboxRefused."""
    dropped = []
    for change, choice in _matched(draft, choices):
        given_up = _numbers(change, choice)
        if change.hunks is None or given_up == _all(change):
            draft.put_back(change.path)
            if change.source is not None:
                draft.put_back(change.source)
        else:
            draft.put_back(change.path, merged(change.old, change.hunks, _all(change) - given_up))
        dropped.append(Change(change.path, "changed" if change.kind == "renamed" else change.kind))
    return tuple(dropped)


def _matched(draft: Draft, choices: Iterable[Choice]) -> list[tuple[Reviewed, Choice]]:
    waiting = {change.path: change for change in review(draft)}
    found = []
    for choice in choices:
        change = waiting.get(choice.path)
        if change is None:
            raise Conflict(f"Nothing of {choice.path} waits to be taken over: look at the changes again.")
        if choice.version not in (None, change.version):
            raise Conflict(f"{choice.path} has changed since you looked at it: look at it again.")
        _numbers(change, choice)
        found.append((change, choice))
    return found


def _all(change: Reviewed) -> frozenset[int]:
    return frozenset(range(len(change.hunks or ())))


def _numbers(change: Reviewed, choice: Choice) -> frozenset[int]:
    """The pieces that are meant. Raises InvalidRequest."""
    if choice.hunks is None:
        return _all(change)
    if change.hunks is None:
        raise InvalidRequest(f"{change.path} is kept or left whole: {change.whole}.")
    if not set(choice.hunks) <= _all(change):
        raise InvalidRequest(f"{change.path} has {len(change.hunks)} pieces: these are not among them.")
    return frozenset(choice.hunks)


def _content(change: Reviewed, choice: Choice) -> bytes | None:
    """What the file is to hold; None: all that it holds in the draft."""
    numbers = _numbers(change, choice)
    return None if change.hunks is None or numbers == _all(change) else merged(change.old, change.hunks, numbers)


def _reviewed(draft: Draft, change: Change, source: str | None) -> Reviewed:
    path, before = change.path, source or change.path
    facts = f"{draft.digest_now(before)}\n{draft.digest_drafted(path)}"
    told = Reviewed(
        path=path,
        kind=change.kind if source is None else "renamed",
        version=sha256(facts.encode()).hexdigest()[:16],
        source=source,
        foreign=draft.is_foreign(path) or draft.is_foreign(before),
    )
    if change.kind == "deleted" or (change.kind == "added" and source is None):
        return _whole(draft, told)
    old, new = read_text(draft.origin, before), read_text(draft.work, path)
    if old is None or new is None:
        return msgspec.structs.replace(told, whole="it is no text, or too long to be shown")
    hunks = hunks_of(old, new)
    if not hunks:
        return msgspec.structs.replace(told, whole="only its name changes" if source else "only whether it may be run changes")
    return msgspec.structs.replace(told, old=old, hunks=hunks)


def _whole(draft: Draft, told: Reviewed) -> Reviewed:
    """A file that is new or gone: one piece of text where it is any, which is kept or left with the file."""
    gone = told.kind == "deleted"
    text = read_text(draft.origin if gone else draft.work, told.path)
    if not text:
        return msgspec.structs.replace(told, whole="it is empty" if text == b"" else "it is no text, or too long to be shown")
    old, new = (text, b"") if gone else (b"", text)
    return msgspec.structs.replace(told, old=old, hunks=hunks_of(old, new))


def _renames(draft: Draft, waiting: Sequence[Change]) -> dict[str, str]:
    """Files under a new name, with their old one: those that hold the same, then those that are most alike."""
    gone = [change.path for change in waiting if change.kind == "deleted" and _plain(draft.origin, change.path)]
    come = [change.path for change in waiting if change.kind == "added" and _plain(draft.work, change.path)]
    if not gone or not come or len(gone) * len(come) > PAIRS_MAX:
        return {}
    before = {path: read_text(draft.origin, path) for path in gone}
    after = {path: read_text(draft.work, path) for path in come}
    same = {(old, new): draft.digest_now(old) == draft.digest_drafted(new) for old in gone for new in come}
    alike = [
        (1.0 if same[old, new] else likeness(before[old] or b"", after[new] or b""), new, old)
        for old in gone
        for new in come
        if before[old] != b"" and after[new] != b""
    ]
    moved: dict[str, str] = {}
    for part, new, old in sorted(alike, key=lambda one: (-one[0], one[1], one[2])):
        if part >= RENAMED_FROM and new not in moved and old not in moved.values():
            moved[new] = old
    return moved


def _plain(root: Path, path: str) -> bool:
    try:
        return stat.S_ISREG((root / path).lstat().st_mode)
    except OSError:
        return False
