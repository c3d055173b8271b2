"""Threads as files: our own, of one thread and all of its branches, and what other workspaces export, as far as it is conversation.

Our file is JSON, `{"format": "headrace-thread/1", "title": …, "runs": [{"id", "parent", "forked_at", "events": [{"at", "event"}]}]}`, with
each branch's own events after the place where it left its parent, and `"pictures": {name: base64}`. Of ChatGPT's `conversations.json` and
Claude's of the same name the branch that was shown is read. Whatever comes in is context that nobody's leave is taken from: anyone can have
written a file.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from headrace.agents import Readers, Writers
from headrace.agents.events import IMPORTED, ContextGiven, Ended, Event, Failed, FateKnown, ModelSaid, PersonSaid, Returned
from headrace.core.clock import SECOND, Moment
from headrace.core.errors import InvalidRequest
from headrace.core.unreadable import UNREADABLE
from headrace.storage import Branch, Entry
from headrace.workspace.pictures import name_of

FORMAT: Final = "headrace-thread/1"
THREADS_MAX: Final = 10_000
EVENTS_MAX: Final = 1_000_000
"""Of all branches together, each with what it shares with others: so much is written."""
_SECONDS_MAX: Final = 2**33
_MILLIS_FROM: Final = 10**11
Told = list[tuple[Moment, Event]]


class Happened(msgspec.Struct):
    at: Moment
    event: Event


class PortedRun(msgspec.Struct):
    id: str
    events: list[Happened]
    parent: str | None = None
    forked_at: int = 0


class Ported(msgspec.Struct):
    """One thread, as our file has it."""

    title: str
    runs: list[PortedRun]
    format: str = FORMAT
    label: str = ""
    pictures: dict[str, bytes] = {}


def exported(
    title: str, label: str, branches: Iterable[Branch], entries: Mapping[str, tuple[Entry, ...]], pictures: dict[str, bytes]
) -> bytes:
    """One thread as a file, with the pictures that were shown in it by their names."""
    runs = [
        PortedRun(
            id=branch.id,
            events=[Happened(entry.at, entry.event) for entry in entries[branch.id][branch.forked_at if branch.parent else 0 :]],
            parent=branch.parent,
            forked_at=branch.forked_at,
        )
        for branch in branches
    ]
    return msgspec.json.format(msgspec.json.encode(Ported(title=title, label=label, runs=runs, pictures=pictures)), indent=1)


def imported(content: bytes) -> list[Ported]:
    """The threads of a file, whoever's export it is. Raises InvalidRequest for one that we don't know."""
    try:
        whole = msgspec.json.decode(content)
    except UNREADABLE as wrong:
        raise InvalidRequest(f"The file is no JSON: {wrong}.") from None
    if isinstance(whole, dict) and whole.get("format") == FORMAT:
        return [_ours(content)]
    conversations = whole if isinstance(whole, list) else whole.get("conversations") if isinstance(whole, dict) else None
    if not isinstance(conversations, list) or len(conversations) > THREADS_MAX:
        raise _unknown()
    try:
        return [ported for one in conversations if (ported := _foreign(one)) is not None]
    except (AttributeError, TypeError):  # something is another thing than it is in their files
        raise _unknown() from None


def whole(runs: list[PortedRun]) -> list[tuple[PortedRun, Told]]:
    """Each branch with all of its events, also those that it shares with its parent, parents first, and what follows on them here. Raises
    InvalidRequest."""
    found: dict[str, Told] = {}
    told, written = [], 0
    for run in runs:
        if run.id in found:
            raise InvalidRequest(f"Two branches of the file are called {run.id!r}.")
        shared = found.get(run.parent, [])[: run.forked_at] if run.parent is not None else []
        if run.parent is not None and (run.parent not in found or len(shared) < run.forked_at):
            raise InvalidRequest(f"Branch {run.id!r} leaves {run.parent!r} at an event that is not in the file before it.")
        written += len(shared) + len(run.events)
        if written > EVENTS_MAX:
            raise InvalidRequest(f"The branches of the thread have more than {EVENTS_MAX:,} events together.")
        found[run.id] = [*shared, *((one.at, one.event) for one in run.events)]
        told.append((run, [*found[run.id], *closing(found[run.id])]))
    return told


def left(entries: Sequence[Entry], at: int) -> Told:
    """What a branch begins with that leaves this one before its event `at`; what came in with a file stays so."""
    told = [(entry.at, entry.event) for entry in entries[:at]]
    came_in = any(isinstance(entry.event, ContextGiven) and entry.event.name == IMPORTED for entry in entries[at:])
    return [*told, *closing(told)] if came_in else told


def closing(said: Told) -> Told:
    """What follows on what came in: calls that were open are not made here, and none of it is the person's word."""
    at = max((at for at, _ in said), default=0)
    closed = {event.call for _, event in said if isinstance(event, Returned | Failed)}
    closed |= {event.call for _, event in said if isinstance(event, FateKnown) and event.happened}
    calls = [call.id for _, event in said if isinstance(event, ModelSaid) for call in event.calls if call.id not in closed]
    marker = ContextGiven(IMPORTED, "All before this came in with a file.", Writers.ANYONE, Readers.PERSON)
    return [*((at, Failed(call, "The thread was taken elsewhere before.")) for call in calls), (at, marker)]


def _ours(content: bytes) -> Ported:
    try:
        ported = msgspec.json.decode(content, type=Ported)
    except UNREADABLE as wrong:
        raise InvalidRequest(f"The file can't be read: {wrong}.") from None
    if not ported.runs:
        raise InvalidRequest("The file holds no branch of the thread.")
    for name, content in ported.pictures.items():
        if name_of(content) != name:
            raise InvalidRequest(f"The picture {name!r} of the file is not the one that was exported.")
    return ported


def _foreign(one: Any) -> Ported | None:
    """One conversation of ChatGPT's or Claude's; None where nothing is said in it."""
    if not isinstance(one, dict):
        raise _unknown()
    if isinstance(one.get("mapping"), dict):
        said, title = _chatgpt(one), one.get("title")
    elif isinstance(one.get("chat_messages"), list):
        said, title = _claude(one), one.get("name")
    else:
        raise _unknown()
    if not said:
        return None
    name = title if isinstance(title, str) and title.strip() else "Untitled"
    return Ported(title=name, runs=[PortedRun(id="imported", events=[Happened(at, event) for at, event in said])])


def _chatgpt(one: dict[str, Any]) -> Told:
    """The branch that was shown: from its last node up to the root."""
    nodes, at = one["mapping"], one.get("current_node")
    chain: list[dict[str, Any]] = []
    while isinstance(at, str) and isinstance(node := nodes.get(at), dict) and len(chain) <= len(nodes):
        chain.append(node)
        at = node.get("parent")
    said: Told = []
    for node in reversed(chain):
        message = node.get("message")
        if not isinstance(message, dict):
            continue
        parts = (message.get("content") or {}).get("parts") or []
        text = "\n".join(part for part in parts if isinstance(part, str)).strip()
        role = (message.get("author") or {}).get("role")
        said += _turn(role == "user", text, _moment(message.get("create_time"))) if role in ("user", "assistant") else []
    return said


def _claude(one: dict[str, Any]) -> Told:
    said: Told = []
    for message in one["chat_messages"]:
        if isinstance(message, dict):
            blocks = [block.get("text") for block in message.get("content") or [] if isinstance(block, dict)]
            text = "\n".join(block for block in blocks if isinstance(block, str)) or message.get("text") or ""
            said += _turn(message.get("sender") == "human", text.strip(), _moment(message.get("created_at")))
    return said


def _turn(person: bool, text: str, at: Moment) -> Told:
    if not text:
        return []
    return [(at, PersonSaid(text))] if person else [(at, ModelSaid(text)), (at, Ended(text))]


def _moment(said: Any) -> Moment:
    """Unix time in seconds or milliseconds, or a day and time as ISO 8601 writes them; 0 where nothing of the kind is said."""
    seconds = 0.0
    if isinstance(said, int | float) and not isinstance(said, bool):
        seconds = said / 1000 if said > _MILLIS_FROM else said
    elif isinstance(said, str):
        with contextlib.suppress(ValueError, OverflowError):
            seconds = datetime.fromisoformat(said.replace("Z", "+00:00")).timestamp()
    return int(seconds * SECOND) if 0 < seconds < _SECONDS_MAX else 0


def _unknown() -> InvalidRequest:
    return InvalidRequest("The file is none that can be imported: a thread exported here, or the conversations.json of ChatGPT or Claude.")
