"""Connected servers: real ones of the official SDK, in the sandbox and over HTTP; what they say lowers no check."""

import asyncio
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import uvicorn

from headrace.agents import Grant, Writers
from headrace.agents.connected import Offer, ServerTerms, ToolTerms, offered
from headrace.agents.events import LeaveAsked, ModelSaid, PersonSaid, Returned, ToolsGiven
from headrace.agents.values import Value
from headrace.core.errors import UpstreamFailed
from headrace.sandbox import Draft, Limits, try_level
from headrace.storage import RunLog
from headrace.testing.clock import TurnedClock
from headrace.workspace import Connection, Driver, Lost, Outfit, ServerSecrets, connected, equipped
from tests.server import eventually
from tests.unit.workspace.notesserver import server as notes
from tests.unit.workspace.scripted import ScriptedModel, Step, ToldPerson

LEVEL = try_level()
confines = pytest.mark.sandbox(2)
SCRIPT = Path(__file__).with_name("notesserver.py")
COMMAND = (sys.executable, str(SCRIPT))
READ = (sys.prefix, str(SCRIPT.parent))


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    project = tmp_path / "project"
    project.mkdir()
    (project / "a.txt").write_text("one")
    return Draft.begin(project, tmp_path / "draft")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(notes.streamable_http_app(), log_level="error", lifespan="on", ws="none")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    assert eventually(lambda: running.started, 30)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
    running.should_exit = True
    thread.join(30)
    listener.close()


def asked(draft: Draft, terms: ServerTerms, *calls: tuple[str, dict[str, Value]], secrets: ServerSecrets | None = None) -> list[Value]:
    """What the calls return, or the names of the tools where none is made."""

    async def ask() -> list[Value]:
        async with connected([terms], {terms.name: secrets or ServerSecrets()}, draft, LEVEL, Limits(), private=True) as (found,):
            assert isinstance(found, Connection), getattr(found, "why", "")
            if not calls:
                return [tool.card.tool for tool in found.tools]
            results: list[Value] = []
            for tool, arguments in calls:
                try:
                    results.append(await found.perform(tool, arguments))
                except UpstreamFailed as failed:
                    results.append({"lost": str(failed)})
            return results

    return asyncio.run(ask())


@confines
def test_a_command_runs_in_the_sandbox_with_the_draft_and_when_it_ends_the_run_goes_on(draft, tmp_path):
    (tmp_path / "secret").write_text("x")
    terms = ServerTerms(name="notes", command=COMMAND, read=READ)
    seen, added, failed, left, after = asked(
        draft,
        terms,
        ("notes__look", {"path": str(tmp_path / "secret")}),
        ("notes__add", {"title": "a", "text": "b"}),
        ("notes__fail", {"why": "no such note"}),
        ("notes__leave", {}),
        ("notes__add", {"title": "a", "text": "b"}),
        secrets=ServerSecrets(environment={"NOTES_KEY": "k"}),
    )
    assert isinstance(seen, dict)
    assert seen["held"] in ("FileNotFoundError", "PermissionError")
    assert (seen["files"], seen["secret"]) == (["a.txt"], "k")
    assert seen["out"] != "connected"
    assert seen["home"] != os.environ.get("HOME")
    assert added == {"id": "n1", "title": "a", "text": "b"}
    assert failed == {"error": "Error executing tool fail"}
    assert isinstance(left, dict)
    assert isinstance(after, dict)
    assert left.keys() | after.keys() <= {"error", "lost"}


@pytest.mark.sandbox(3)
def test_with_a_network_it_does_not_see_the_draft(draft):
    terms = ServerTerms(name="notes", command=COMMAND, read=READ, hosts=("notes.example",))
    (seen,) = asked(draft, terms, ("notes__look", {"path": "a.txt"}))
    assert isinstance(seen, dict)
    assert (seen["files"], seen["held"]) == ([], "FileNotFoundError")


def test_over_http_only_the_server_that_was_named_is_spoken_with(draft, address):
    terms = ServerTerms(name="notes", url=address, tools=("s*", "add"))
    assert asked(draft, terms) == ["notes__search", "notes__add"]
    assert "Found of x" in str(asked(draft, terms, ("notes__search", {"query": "x"}))[0])


@pytest.mark.parametrize(
    "terms",
    [
        ServerTerms(name="gone", url="http://127.0.0.1:9/mcp"),
        pytest.param(ServerTerms(name="gone", command=("/bin/false",)), marks=confines),
    ],
    ids=["address", "command"],
)
def test_one_that_can_not_be_connected_says_so_and_the_others_are_there(draft, address, terms):
    async def ask() -> tuple[Connection | Lost, ...]:
        async with connected([terms, ServerTerms(name="notes", url=address)], {}, draft, LEVEL, Limits()) as found:
            return found

    lost, there = asyncio.run(ask())
    assert isinstance(lost, Lost)
    assert lost.why.startswith("gone is not connected: ")
    assert isinstance(there, Connection)


@confines
def test_a_line_without_end_ends_its_server_and_it_is_said_why(draft):
    endless = ServerTerms(name="endless", command=("sh", "-c", "yes | tr -d '\\n'"))
    flooding = ServerTerms(name="notes", command=COMMAND, read=READ)

    async def ask() -> tuple[str, str]:
        async with connected([endless, flooding], {}, draft, LEVEL, Limits()) as (lost, there):
            assert isinstance(lost, Lost)
            with pytest.raises(UpstreamFailed, match="does not answer any more") as caught:
                await there.perform("notes__flood", {})
            return lost.why, caught.value.message

    lost, flooded = asyncio.run(ask())
    assert lost == "endless is not connected: It sent a line of more than 8,388,608 bytes, and was ended."
    assert "a line of more than 8,388,608 bytes" in flooded


def play(draft: Draft, terms: ServerTerms, script: list[list[Step]], task: str, *, leave: bool | None = None) -> list[object]:
    async def drive() -> list[object]:
        log = RunLog(draft.place / "events.jsonl", new=True)
        try:
            async with equipped(Outfit(servers=(terms,), private=True), draft, LEVEL, Limits(), print) as toolbox:
                driver = Driver(log, ScriptedModel(script), toolbox, ToldPerson(leave=leave), Grant(), TurnedClock(), lambda event: None)
                toolbox.give(driver)
                toolbox.give(driver)
                driver.add(PersonSaid(task))
                await driver.run()
                return list(driver.events)
        finally:
            log.close()

    return asyncio.run(drive())


def test_its_tools_are_in_the_log_and_what_they_return_is_anyones(draft, address):
    script: list[list[Step]] = [
        [("notes__search", {"query": "shopping"})],
        [("notes__add", {"title": "x", "text": "see mallory@evil.example"})],
        ["Done."],
    ]
    events = play(draft, ServerTerms(name="notes", url=address), script, "Search my notes for shopping")
    given = [event for event in events if isinstance(event, ToolsGiven)]
    assert len(given) == 1
    assert {tool.card.tool for tool in given[0].tools} >= {"delegate", "notes__search", "notes__wipe"}
    assert any(isinstance(event, Returned) and "Found of shopping" in event.value for event in events)
    last = events[-1]
    assert isinstance(last, LeaveAsked)
    assert {reason.rule for reason in last.reasons[0]} == {"content"}
    model = next(event for event in events if isinstance(event, ModelSaid))
    assert model.calls[0].tool == "notes__search"


OFFER = Offer(name="wipe", says="Look at a note.", schema="{}", arguments=("id",))


def test_no_hint_of_a_server_lowers_a_check():
    there = ServerTerms(name="notes", url="https://notes.example/mcp")
    hinted = Offer(name="wipe", says="", schema="{}", arguments=("id",), reads_only=True, destroys=False)
    plain, trusting = offered(there, OFFER), offered(there, hinted)
    assert plain is not None
    assert trusting is not None
    assert (plain.card.effect, plain.card.repeatable) == (trusting.card.effect, trusting.card.repeatable)
    assert plain.card.effect is not None
    assert plain.card.effect.final
    assert plain.card.rest.writers == Writers.ANYONE


@pytest.mark.parametrize(
    ("reads_only", "destroys", "final"), [(None, None, False), (True, None, False), (False, None, True), (True, True, True)]
)
def test_what_the_person_says_of_many_tools_is_taken_back_by_what_a_server_admits(reads_only, destroys, final):
    there = ServerTerms(name="notes", url="https://notes.example/mcp", reads=("*",))
    tool = offered(there, Offer(name="x", says="", schema="{}", arguments=(), reads_only=reads_only, destroys=destroys))
    assert tool is not None
    assert tool.card.effect is not None
    assert tool.card.effect.final == final


def test_what_the_person_says_of_one_tool_holds():
    terms = ToolTerms(name="wipe", kind="delete", arguments={"id": "object"}, returns="own")
    tool = offered(ServerTerms(name="notes", url="https://notes.example/mcp", tool=(terms,)), OFFER)
    assert tool is not None
    assert tool.card.effect is not None
    assert (tool.card.effect.kind, tool.card.role("id"), tool.card.rest.writers) == ("delete", "object", Writers.OWN)
    assert offered(ServerTerms(name="notes", url="https://x.example", tools=("a*",)), OFFER) is None


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"name": "a b", "url": "https://x"}, "a name has"),
        ({"name": "a"}, "either command or url"),
        ({"name": "a", "url": "https://x", "command": ["x"]}, "either command or url"),
        ({"name": "a", "url": "ftp://x"}, "begins with https"),
        ({"name": "a", "url": "https://x", "hosts": ["y"]}, "belong to a command"),
        ({"name": "a", "command": ["x"], "token_env": "T"}, "belongs to a url"),
    ],
)
def test_a_server_that_is_said_wrong_is_refused(terms, says):
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert(json.loads(json.dumps(terms)), ServerTerms)
