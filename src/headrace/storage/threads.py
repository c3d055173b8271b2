"""Threads and their branches. All by owner: who is not, finds nothing.

A branch is a run, whose events lie in its own log; here is only what a list needs, and the words that are searched for.
"""

import sqlite3
from typing import Final, Literal, TypeAlias

import msgspec

from headrace.core.clock import Moment
from headrace.core.errors import NoRoomLeft
from headrace.storage.database import transaction
from headrace.storage.sessions import hidden

ThreadState: TypeAlias = Literal["new", "running", "waiting", "done", "stopped", "failed"]
LISTED_MAX: Final = 500
FOUND_MAX: Final = 50
_FIELDS: Final = "id, key, title, label, folder, intent, model, pinned, created, updated, run, state, pico_usd, tokens"
_OPEN, _SHUT = "\x02", "\x03"
"""Around the words that were found, in the piece of text that shows them; neither is ever typed."""


class Thread(msgspec.Struct, frozen=True, kw_only=True):
    """One thread as a list shows it. `run` is the branch that is shown, and `state` that one's; the cost is that of all branches."""

    id: str
    key: bytes
    title: str
    label: str = ""
    folder: str | None = None
    intent: str = "auto"
    model: str = ""
    pinned: bool = False
    created: Moment
    updated: Moment
    run: str
    state: ThreadState = "new"
    pico_usd: int = 0
    tokens: int = 0


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """A run of a thread, which left `parent` before that one's event `forked_at`."""

    id: str
    thread: str
    parent: str | None
    forked_at: int
    created: Moment


class Found(msgspec.Struct, frozen=True):
    """A place where the words that were searched for stand: `piece` has them between two control characters, 2 and 3."""

    thread: str
    title: str
    run: str
    seq: int
    piece: str


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What a link shows: so many events of a run, and the title."""

    title: str
    run: str
    events: int


def keep_thread(database: sqlite3.Connection, owner: str, thread: Thread, branch: Branch) -> None:
    """Keep a new thread with its first branch."""
    with transaction(database):
        values = (owner, *(_stored(value) for value in msgspec.structs.astuple(thread)))
        marks = ", ".join("?" * len(values))
        database.execute(f"INSERT INTO thread (owner, {_FIELDS}) VALUES ({marks})", values)  # noqa: S608 -- our own column names
        _branch(database, branch)


def threads_of(database: sqlite3.Connection, owner: str) -> list[Thread]:
    """The pinned first, then the latest."""
    rows = database.execute(f"SELECT {_FIELDS} FROM thread WHERE owner = ? ORDER BY pinned DESC, updated DESC LIMIT ?", (owner, LISTED_MAX))  # noqa: S608 -- our own column names
    return [_thread(row) for row in rows]


def thread_of(database: sqlite3.Connection, owner: str, id: str) -> Thread | None:
    row = database.execute(f"SELECT {_FIELDS} FROM thread WHERE owner = ? AND id = ?", (owner, id)).fetchone()  # noqa: S608 -- our own column names
    return None if row is None else _thread(row)


def owner_of_thread(database: sqlite3.Connection, id: str) -> str:
    """Whose a thread is; "" where there is none."""
    row = database.execute("SELECT owner FROM thread WHERE id = ?", (id,)).fetchone()
    return "" if row is None else str(row[0])


def thread_of_run(database: sqlite3.Connection, run: str) -> Thread | None:
    """Whoever's it is: for who goes on with runs after a crash."""
    sql = f"SELECT {_FIELDS} FROM thread WHERE id = (SELECT thread FROM thread_run WHERE id = ?)"  # noqa: S608 -- our own column names
    row = database.execute(sql, (run,)).fetchone()
    return None if row is None else _thread(row)


def change_thread(database: sqlite3.Connection, owner: str, id: str, changes: dict[str, str | bool | int]) -> Thread | None:
    """Set some of its fields; None where there is no such thread."""
    assert changes.keys() <= {"title", "label", "intent", "model", "pinned", "updated", "run"}
    if changes:
        named = ", ".join(f"{name} = ?" for name in changes)
        database.execute(f"UPDATE thread SET {named} WHERE owner = ? AND id = ?", (*changes.values(), owner, id))  # noqa: S608 -- checked above
    return thread_of(database, owner, id)


def stand(database: sqlite3.Connection, run: str, state: ThreadState, now: Moment, pico_usd: int, tokens: int) -> None:
    """How a run stands, and what it has used since this was said last."""
    with transaction(database):
        row = database.execute("SELECT pico_usd FROM thread WHERE id = (SELECT thread FROM thread_run WHERE id = ?)", (run,)).fetchone()
        if row is None:
            return
        database.execute(
            "UPDATE thread SET pico_usd = ?, tokens = tokens + ?, updated = ?, state = iif(run = ?, ?, state) "
            "WHERE id = (SELECT thread FROM thread_run WHERE id = ?)",
            (str(int(row[0]) + pico_usd), tokens, now, run, state, run),
        )


def drop_thread(database: sqlite3.Connection, owner: str, id: str) -> list[str] | None:
    """Forget it; return its runs, whose logs and drafts are to go too, or None where there is no such thread."""
    with transaction(database):
        if database.execute("DELETE FROM thread WHERE owner = ? AND id = ?", (owner, id)).rowcount == 0:
            return None
        runs = [row[0] for row in database.execute("DELETE FROM thread_run WHERE thread = ? RETURNING id", (id,)).fetchall()]
        database.execute("DELETE FROM thread_share WHERE thread = ?", (id,))
        database.execute("DELETE FROM thread_text WHERE thread = ?", (id,))
        database.execute("DELETE FROM thread_put WHERE thread = ?", (id,))
        database.execute("DELETE FROM agent_task WHERE thread = ?", (id,))
        database.execute("DELETE FROM subscriber WHERE thread = ?", (id,))
    return runs


def put_into_thread(database: sqlite3.Connection, owner: str, thread: str, path: str, size: int, most: int) -> None:
    """Count what a person is about to put there. Raises NoRoomLeft where that is more than one may have in all."""
    with transaction(database):
        (others,) = database.execute(
            "SELECT coalesce(sum(bytes), 0) FROM thread_put JOIN thread ON thread.id = thread_put.thread "
            "WHERE owner = ? AND NOT (thread = ? AND path = ?)",
            (owner, thread, path),
        ).fetchone()
        if others + size > most:
            raise NoRoomLeft(
                f"{path.rpartition('/')[2]} has {size:,} bytes, and your files and pictures in all threads have {others:,} of the "
                f"{most:,} that one person may have here (files.person_bytes_max): delete some, or threads with them, first."
            )
        database.execute(
            "INSERT INTO thread_put VALUES (?, ?, ?) ON CONFLICT (thread, path) DO UPDATE SET bytes = excluded.bytes", (thread, path, size)
        )


def gone_from_thread(database: sqlite3.Connection, thread: str, path: str) -> None:
    """It is there no more, and is not counted."""
    database.execute("DELETE FROM thread_put WHERE thread = ? AND path = ?", (thread, path))


def keep_branch(database: sqlite3.Connection, owner: str, branch: Branch, state: ThreadState) -> bool:
    """Add a branch, and show it from now on. False where there is no such thread."""
    with transaction(database):
        changed = database.execute(
            "UPDATE thread SET run = ?, state = ? WHERE owner = ? AND id = ?", (branch.id, state, owner, branch.thread)
        ).rowcount
        if changed:
            _branch(database, branch)
    return changed > 0


def show_branch(database: sqlite3.Connection, owner: str, thread: str, run: str, state: ThreadState) -> bool:
    """Show another branch. False where the thread has none of this name."""
    return (
        database.execute(
            "UPDATE thread SET run = ?, state = ? WHERE owner = ? AND id = ? AND ? IN (SELECT id FROM thread_run WHERE thread = ?)",
            (run, state, owner, thread, run, thread),
        ).rowcount
        > 0
    )


def branches_of(database: sqlite3.Connection, thread: str) -> list[Branch]:
    """The first first."""
    rows = database.execute(
        "SELECT id, thread, parent, forked_at, created FROM thread_run WHERE thread = ? ORDER BY created, id", (thread,)
    )
    return [Branch(id=id, thread=thread, parent=parent, forked_at=at, created=created) for id, thread, parent, at, created in rows]


def add_text(database: sqlite3.Connection, thread: str, run: str, texts: list[tuple[int, str]]) -> None:
    """What was said in a run, event by event, can be found from now on."""
    rows = [(text, thread, run, seq) for seq, text in texts if text.strip()]
    database.executemany("INSERT INTO thread_text (text, thread, run, seq) VALUES (?, ?, ?, ?)", rows)


def find_text(database: sqlite3.Connection, owner: str, words: str) -> list[Found]:
    """Where all of these words stand, each as the beginning of a word, the best places first; one a thread and event."""
    words = words.replace("\0", " ")  # SQLite takes that for the end of all words
    query = " ".join(f'"{word}"*' for part in words.split() if (word := part.replace('"', "")))
    if not query:
        return []
    rows = database.execute(
        "SELECT thread.id, title, thread_text.run, seq, snippet(thread_text, 0, ?, ?, '…', 16) FROM thread_text "
        "JOIN thread ON thread.id = thread_text.thread WHERE thread_text MATCH ? AND owner = ? ORDER BY rank LIMIT ?",
        (_OPEN, _SHUT, query, owner, FOUND_MAX),
    ).fetchall()
    by_title = database.execute(
        "SELECT id, title, run FROM thread WHERE owner = ? AND instr(lower(title), lower(?)) ORDER BY updated DESC LIMIT ?",
        (owner, words.strip(), FOUND_MAX),
    )
    titled = [Found(id, title, run, 0, "") for id, title, run in by_title]
    return [*titled, *(Found(*row) for row in rows)]


def keep_share(database: sqlite3.Connection, token: str, thread: str, run: str, events: int, now: Moment) -> None:
    """From now on who holds `token` may read this much of a thread."""
    database.execute("INSERT INTO thread_share VALUES (?, ?, ?, ?, ?)", (hidden(token), thread, run, events, now))


def share_of(database: sqlite3.Connection, token: str) -> Share | None:
    row = database.execute(
        "SELECT title, thread_share.run, events FROM thread_share JOIN thread ON thread.id = thread WHERE token = ?", (hidden(token),)
    ).fetchone()
    return None if row is None else Share(title=row[0], run=row[1], events=row[2])


def drop_shares(database: sqlite3.Connection, thread: str) -> int:
    """No link to it is good any more; how many there were."""
    return database.execute("DELETE FROM thread_share WHERE thread = ?", (thread,)).rowcount


def _branch(database: sqlite3.Connection, branch: Branch) -> None:
    database.execute(
        "INSERT INTO thread_run (id, thread, parent, forked_at, created) VALUES (?, ?, ?, ?, ?)", msgspec.structs.astuple(branch)
    )


def _thread(row: tuple[object, ...]) -> Thread:
    fields = dict(zip(Thread.__struct_fields__, row, strict=True))
    fields |= {"pinned": bool(fields["pinned"]), "pico_usd": int(str(fields["pico_usd"]))}
    return msgspec.convert(fields, Thread, builtin_types=(bytes,))


def _stored(value: object) -> object:
    """Pico-dollars may pass what SQLite's integers hold, so they are text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and value >= 1 << 63 else value
