"""Tasks that other agents have given over A2A: which thread each is, and which belong together."""

import sqlite3

import msgspec

from headrace.core.clock import Moment
from headrace.storage.database import transaction
from headrace.storage.threads import Thread, ThreadState, thread_of


class AgentTask(msgspec.Struct, frozen=True, kw_only=True):
    """`message` is the other agent's name of the message that gave it."""

    thread: str
    owner: str
    context: str
    message: str
    created: Moment


def claim_task(database: sqlite3.Connection, fresh: AgentTask) -> tuple[AgentTask, bool]:
    """The task, and whether it is new: the same message of the same owner gives the same task."""
    with transaction(database):
        made = database.execute("INSERT OR IGNORE INTO agent_task VALUES (?, ?, ?, ?, ?)", msgspec.structs.astuple(fresh)).rowcount
        if made:
            return fresh, True
        row = database.execute(
            "SELECT thread, owner, context, message, created FROM agent_task WHERE owner = ? AND message = ?", (fresh.owner, fresh.message)
        ).fetchone()
    return AgentTask(**dict(zip(AgentTask.__struct_fields__, row, strict=True))), False


def drop_task(database: sqlite3.Connection, thread: str) -> None:
    """Nothing came of it: its message may give another."""
    database.execute("DELETE FROM agent_task WHERE thread = ?", (thread,))


def shares_context(database: sqlite3.Connection, thread: str) -> bool:
    """Whether other tasks are of the same context, which go on in the same folder."""
    sql = (
        "SELECT 1 FROM agent_task AS ours JOIN agent_task AS other ON other.owner = ours.owner AND other.context = ours.context "
        "WHERE ours.thread = ? AND other.thread <> ours.thread LIMIT 1"
    )
    return database.execute(sql, (thread,)).fetchone() is not None


def task_of(database: sqlite3.Connection, owner: str, thread: str) -> tuple[AgentTask, Thread] | None:
    """One task of this owner; None where there is none, or its thread is gone."""
    row = database.execute(
        "SELECT thread, owner, context, message, created FROM agent_task WHERE owner = ? AND thread = ?", (owner, thread)
    ).fetchone()
    found = thread_of(database, owner, thread)
    if row is None or found is None:
        return None
    return AgentTask(**dict(zip(AgentTask.__struct_fields__, row, strict=True))), found


def last_of_context(database: sqlite3.Connection, owner: str, context: str) -> Thread | None:
    """The latest thread of a context."""
    row = database.execute(
        "SELECT agent_task.thread FROM agent_task JOIN thread ON thread.id = agent_task.thread "
        "WHERE agent_task.owner = ? AND context = ? ORDER BY agent_task.created DESC, agent_task.thread DESC LIMIT 1",
        (owner, context),
    ).fetchone()
    return None if row is None else thread_of(database, owner, row[0])


def tasks_of(
    database: sqlite3.Connection,
    owner: str,
    context: str | None,
    states: tuple[ThreadState, ...],
    since: Moment,
    before: tuple[Moment, str] | None,
    limit: int,
) -> tuple[list[tuple[AgentTask, Thread]], int]:
    """Those of this owner, the latest changed first, after the one that `before` names; and how many there are without it.

    `states` of none are all. Only those that were changed at `since` or later."""
    where = "agent_task.owner = ? AND context = coalesce(?, context) AND updated >= ?"
    values: list[object] = [owner, context, since]
    if states:
        where += f" AND state IN ({', '.join('?' * len(states))})"
        values += states
    joined = "FROM agent_task JOIN thread ON thread.id = agent_task.thread"
    (total,) = database.execute(f"SELECT count(*) {joined} WHERE {where}", values).fetchone()
    if before is not None:
        where += " AND (updated, agent_task.thread) < (?, ?)"
        values += before
    rows = database.execute(
        f"SELECT agent_task.thread {joined} WHERE {where} ORDER BY updated DESC, agent_task.thread DESC LIMIT ?",
        (*values, limit),
    ).fetchall()
    found = [task_of(database, owner, thread) for (thread,) in rows]
    return [one for one in found if one is not None], total
