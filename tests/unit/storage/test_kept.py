"""What clients ask to have kept: responses, conversations, files, answers to requests that must not be worked on twice."""

import io
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headrace.core.errors import BodyTooLarge, Conflict, NotReady
from headrace.core.rules import Rules
from headrace.storage import (
    Answered,
    Archive,
    Claim,
    Context,
    Conversation,
    Database,
    Folder,
    StoredEvent,
    StoredFile,
    StoredPart,
    StoredResponse,
    StoredUpload,
    add_items,
    answer_once,
    beat,
    begin_response,
    bury,
    bury_host,
    bury_work,
    cancel_response,
    claim,
    complete_upload,
    connect,
    context_of,
    conversation_of,
    drop_conversation,
    drop_file,
    drop_item,
    drop_response,
    end_upload,
    events_after,
    file_of,
    files_of,
    is_cancelled,
    items_of,
    keep_conversation,
    keep_events,
    keep_file,
    keep_part,
    keep_response,
    keep_upload,
    parts_of,
    release,
    response_of,
    sweep_files,
    sweep_once,
    sweep_responses,
    upload_of,
    vouch,
)
from headrace.storage.database import migrations

NOW, LATER = 1_000, 9_000
ME, OTHER = "acme/one", "acme/two"


@pytest.fixture
def database(shared: Database) -> Database:
    for runner in ("me", "other"):
        beat(shared, runner, "host")
    return shared


def response(id: str, **more: Any) -> StoredResponse:
    fields: dict[str, Any] = {
        "id": id,
        "created_s": NOW,
        "expires_s": LATER,
        "status": "completed",
        "background": False,
        "previous": None,
        "body": {"id": id, "output": [{"id": f"out {id}"}]},
        "input": [{"id": f"in {id}"}],
    }
    return StoredResponse(**fields | more)


# Responses.


def test_a_response_is_its_owners_until_its_time_is_over(database: Database) -> None:
    keep_response(database, ME, response("a"))
    assert response_of(database, ME, "a", NOW) == response("a")
    assert response_of(database, OTHER, "a", NOW) is None
    assert response_of(database, ME, "a", LATER) is None
    assert sweep_responses(database, NOW) == 0
    assert sweep_responses(database, LATER) == 1
    assert response_of(database, ME, "a", NOW) is None


def test_what_was_said_before_is_found_along_the_chain(database: Database) -> None:
    european, ours = Rules(names=("request",), jurisdictions=frozenset(("eu",))), Rules(vendors=frozenset(("one", "two")))
    keep_response(database, ME, response("a", rules=european))
    keep_response(database, ME, response("b", previous="a", body={"id": "b"}))
    keep_response(database, ME, response("c", previous="b", rules=ours))
    said = [{"id": one} for one in ("in a", "out a", "in b", "in c", "out c")]
    assert context_of(database, ME, "c", NOW) == Context(said, european.and_(ours))
    assert context_of(database, OTHER, "c", NOW) is None
    assert drop_response(database, ME, "b")
    assert not drop_response(database, ME, "b")
    assert context_of(database, ME, "c", NOW) is None


def test_events_are_kept_once_and_found_from_any_number_on(database: Database) -> None:
    events = [StoredEvent(number, f"t{number}", b"{}") for number in range(4)]
    working = response("a", status="in_progress", background=True)
    begin_response(database, ME, working, events[:1], "me")
    assert not keep_events(database, ME, working, events[:3], "me")
    assert not keep_events(database, ME, working, events[2:], "me")
    assert events_after(database, ME, "a", 1) == events[2:]
    assert events_after(database, OTHER, "a", -1) == []
    cancel_response(database, OTHER, "a")
    assert not keep_events(database, ME, working, [], "me")
    cancel_response(database, ME, "a")
    assert keep_events(database, ME, working, [], "me")
    assert is_cancelled(database, ME, "a", "me")
    assert drop_response(database, ME, "a")
    assert is_cancelled(database, ME, "a", "me")
    assert events_after(database, ME, "a", -1) == []


def test_what_a_killed_server_worked_on_has_failed(database: Database) -> None:
    running = response("a", status="in_progress", background=True)
    begin_response(database, ME, running, [StoredEvent(0, "response.created", b"{}")], "me")
    begin_response(database, ME, response("b", status="queued", background=True), [], "other")
    keep_response(database, ME, response("c", status="in_progress"))
    bury_work(database)
    assert {one.status for id in "abc" if (one := response_of(database, ME, id, NOW))} == {"in_progress", "queued"}
    bury(database, "me")
    assert [one.status for id in "ab" if (one := response_of(database, ME, id, NOW))] == ["failed", "queued"]
    assert keep_events(database, ME, running, [StoredEvent(1, "response.output_text.delta", b"{}")], "me"), "who was thought dead ends"
    bury_host(database, "host")
    for id, number in (("a", 1), ("b", 0)):
        found = response_of(database, ME, id, NOW)
        assert found is not None
        assert (found.status, found.body["status"], found.body["error"]["code"]) == ("failed", "failed", "server_error")
        assert [(one.number, one.type) for one in events_after(database, ME, id, number - 1)] == [(number, "response.failed")]


# Conversations.


def test_a_conversation_keeps_its_items_in_order(database: Database) -> None:
    keep_conversation(database, ME, Conversation("c", NOW, {"a": "b"}), [{"id": "1"}])
    assert add_items(database, ME, "c", [{"id": "2"}, {"id": "1", "again": True}, {"id": "3"}])
    assert not add_items(database, OTHER, "c", [{"id": "4"}])
    assert items_of(database, ME, "c") == [{"id": "1"}, {"id": "2"}, {"id": "3"}]
    assert drop_item(database, ME, "c", "2")
    assert not drop_item(database, ME, "c", "2")
    add_items(database, ME, "c", [{"id": "5"}])
    assert [item["id"] for item in items_of(database, ME, "c")] == ["1", "3", "5"]
    keep_conversation(database, ME, Conversation("c", NOW, {}), [])
    assert conversation_of(database, ME, "c") == Conversation("c", NOW, {})
    assert conversation_of(database, OTHER, "c") is None
    assert drop_conversation(database, ME, "c")
    assert not drop_conversation(database, ME, "c")
    assert items_of(database, ME, "c") == []


# Files.


def file(id: str, size: int = 3, expires_s: int = 0, purpose: str = "batch") -> StoredFile:
    return StoredFile(id=id, created_s=NOW, expires_s=expires_s, size=size, filename="x", purpose=purpose)


def upload(id: str, size: int = 6) -> StoredUpload:
    return StoredUpload(
        id=id, created_s=NOW, expires_s=LATER, status="pending", size=size, filename="x", purpose="batch", file_expires_s=0, file=None
    )


def test_bytes_are_there_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    assert Folder(folder).write("a", io.BytesIO(b"abc")) == 3
    assert (folder / "a").read_bytes() == b"abc"
    assert (folder / "a").stat().st_mode & 0o777 == 0o600

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        Folder(folder).write("b", Broken())
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_a_project_has_a_quota(database: Database, tmp_path: Path) -> None:
    keep_file(database, ME, file("a", 6), 10)
    with pytest.raises(BodyTooLarge, match="may keep 10"):
        keep_file(database, ME, file("b", 5), 10)
    with pytest.raises(BodyTooLarge):
        keep_upload(database, ME, upload("u", 5), 10)
    keep_file(database, OTHER, file("b", 5), 10)
    assert drop_file(database, Folder(tmp_path), ME, "a")
    assert not drop_file(database, Folder(tmp_path), ME, "a")
    keep_file(database, ME, file("c", 10), 10)


def test_files_are_found_and_swept(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    assert sweep_files(database, Folder(folder), NOW) == 0
    for id, expires_s, purpose in (("a", 0, "batch"), ("b", LATER, "vision")):
        Folder(folder).write(id, io.BytesIO(b"abc"))
        keep_file(database, ME, file(id, expires_s=expires_s, purpose=purpose), 100)
    Folder(folder).write("orphan", io.BytesIO(b"x"))
    os.utime(folder / "orphan", (1, 1))
    Folder(folder).write("being-written", io.BytesIO(b"x"))
    os.utime(folder / "being-written", (LATER, LATER))
    assert [one.id for one in files_of(database, ME, None, NOW)] == ["a", "b"]
    assert [one.id for one in files_of(database, ME, "vision", NOW)] == ["b"]
    assert files_of(database, OTHER, None, NOW) == []
    assert file_of(database, ME, "b", LATER) is None
    assert sweep_files(database, Folder(folder), LATER) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["a", "being-written"]


def test_an_upload_becomes_a_file(database: Database, tmp_path: Path) -> None:
    folder = tmp_path
    keep_upload(database, ME, upload("u"), 100)
    for id, content in (("p1", b"abc"), ("p2", b"def")):
        Folder(folder).write(id, io.BytesIO(content))
        keep_part(database, ME, "u", StoredPart(id=id, size=3, created_s=NOW))
    with pytest.raises(BodyTooLarge, match="6 bytes"):
        keep_part(database, ME, "u", StoredPart(id="p3", size=1, created_s=NOW))
    with pytest.raises(Conflict):
        keep_part(database, OTHER, "u", StoredPart(id="p3", size=1, created_s=NOW))
    assert [part.id for part in parts_of(database, ME, "u")] == ["p1", "p2"]
    assert Folder(folder).join(["p2", "p1"], "f") == 6
    complete_upload(database, Folder(folder), ME, "u", file("f", 6))
    assert (folder / "f").read_bytes() == b"defabc"
    assert not (folder / "p1").exists()
    done = upload_of(database, ME, "u")
    assert done is not None
    assert (done.status, done.file) == ("completed", "f")
    with pytest.raises(Conflict):
        complete_upload(database, Folder(folder), ME, "u", file("g", 6))


def test_what_uploads_announce_is_counted_from_then_on(database: Database, tmp_path: Path) -> None:
    keep_upload(database, ME, upload("u"), 10)
    with pytest.raises(BodyTooLarge, match="6 are announced"):
        keep_upload(database, ME, upload("v"), 10)
    keep_upload(database, OTHER, upload("v"), 10)
    end_upload(database, Folder(tmp_path), ME, "u", "cancelled")
    keep_upload(database, ME, upload("w"), 10)


def test_an_upload_that_ends_otherwise(database: Database, tmp_path: Path) -> None:
    for id in ("u", "v"):
        keep_upload(database, ME, upload(id), 100)
        Folder(tmp_path).write(f"part {id}", io.BytesIO(b"abc"))
        keep_part(database, ME, id, StoredPart(id=f"part {id}", size=3, created_s=NOW))
    end_upload(database, Folder(tmp_path), ME, "u", "cancelled")
    sweep_files(database, Folder(tmp_path), LATER)
    assert [(found.status if (found := upload_of(database, ME, id)) else None) for id in ("u", "v")] == ["cancelled", "expired"]
    assert not list(tmp_path.glob("part*"))


# Once.

ANSWER = Answered(status=200, headers=b"a: b\r\n", body=b"{}", streamed=True)


class Keys(RuleBasedStateMachine):
    """Whatever happens to a key, its work is claimed by one at a time, and an answer that is there is given to all."""

    def __init__(self) -> None:
        super().__init__()
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        for script in migrations():
            self.database.executescript(script)
        beat(self.database, "me", "host")
        self.now_s, self.state, self.since_s = NOW, "free", NOW
        self.claims, self.held = 0, Claim(ME, "/p", "k", "nobody's")

    @rule(digest=st.sampled_from([b"1", b"2"]))
    def claim(self, digest: bytes) -> None:
        if self.state != "free" and self.now_s - self.since_s >= 86_400:
            self.state = "free"
        self.claims += 1
        wanted = Claim(ME, "/p", "k", f"claim {self.claims}")
        held = claim(self.database, wanted, digest, "me", self.now_s)
        assert (held is None) == (self.state == "free")
        if held is None:
            self.state, self.since_s, self.held = "working", self.now_s, wanted
        else:
            assert held.state == self.state
            assert (held.answered == ANSWER) == (self.state == "done")

    @rule()
    def answer(self) -> None:
        """Late, too: what was taken to be lost is known then."""
        answer_once(self.database, self.held, ANSWER)
        self.state = "done" if self.state != "free" else "free"

    @rule()
    def who_holds_it_no_more_changes_nothing(self) -> None:
        earlier = Claim(ME, "/p", "k", "earlier")
        release(self.database, earlier)
        answer_once(self.database, earlier, ANSWER)

    @rule(mine=st.booleans())
    def vouch(self, mine: bool) -> None:
        lost = vouch(self.database, "me", {self.held.id} if mine else set())
        assert lost == (self.state == "working" and not mine)
        self.state = "lost" if lost else self.state

    @rule()
    def release(self) -> None:
        release(self.database, self.held)
        self.state = "free" if self.state != "done" else self.state

    @rule()
    def die(self) -> None:
        bury(self.database, "me")
        beat(self.database, "me", "host")
        self.state = "lost" if self.state == "working" else self.state

    @rule(seconds=st.sampled_from([1, 80_000]), sweep=st.booleans())
    def wait(self, seconds: int, sweep: bool) -> None:
        self.now_s += seconds
        if sweep:
            sweep_once(self.database, self.now_s)
            if self.state != "free" and self.now_s - self.since_s >= 86_400:
                self.state = "free"

    @invariant()
    def others_are_free(self) -> None:
        assert self.database.execute("SELECT count(*) FROM once").fetchone()[0] <= 1

    def teardown(self) -> None:
        self.database.close()


TestKeys = Keys.TestCase
TestKeys.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


async def test_an_archive_has_one_thread(tmp_path: Path) -> None:
    archive = Archive(lambda: connect(tmp_path / "x.sqlite"))
    await archive.run(keep_response, ME, response("a"))
    assert await archive.run(response_of, ME, "a", NOW) == response("a")
    with pytest.raises(Conflict):
        await archive.run(keep_part, ME, "u", part=StoredPart(id="p", size=1, created_s=NOW))
    archive.close()
    Archive(lambda: connect(tmp_path / "never-opened.sqlite")).close()
    assert not (tmp_path / "never-opened.sqlite").exists()


async def test_who_writes_into_a_busy_database_is_told_to_try_again(tmp_path: Path) -> None:
    def impatient() -> sqlite3.Connection:
        database = connect(tmp_path / "x.sqlite")
        database.execute("PRAGMA busy_timeout = 1")
        return database

    other, archive = impatient(), Archive(impatient)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(NotReady, match="try again"):
        await archive.run(lambda database: database.execute("DELETE FROM session"))
    with pytest.raises(sqlite3.OperationalError, match="nothing_of_it"):
        await archive.run(lambda database: database.execute("DELETE FROM nothing_of_it"))
    archive.close()
    other.close()
