"""The memory of agents with the embedding model that the server brings: what is meant alike is found."""

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from headrace.agents import Readers, Writers
from headrace.cli.agentmodel import ServedEmbeddings
from headrace.cli.client import Client
from headrace.storage import Memory, MemoryStore, connect
from headrace.testing.clock import TurnedClock
from headrace.workspace import Remembering
from tests.server import Running

pytestmark = pytest.mark.engine


def test_what_is_meant_alike_is_found_without_a_word_in_common(embedded: Running, tmp_path: Path) -> None:
    embeds = ServedEmbeddings.found(Client(embedded.base_url, embedded.key))
    assert embeds is not None
    with closing(connect(tmp_path / "headrace.sqlite")) as database:
        store = MemoryStore(database)
        for id, text in (("m1", "My daughter can't eat peanuts"), ("m2", "Indent code with tabs"), ("m3", "The office opens at nine")):
            store.add(Memory(id=id, project="", text=text, how="added", writers=Writers.OWN, readers=Readers.PERSON, created=1, changed=1))
        kit = Remembering(store, "/p", "run_1", embeds, TurnedClock(), lambda prefix: prefix)
        found = asyncio.run(kit.near("Plan a dinner: which food allergies does my child have?", 1))
        assert [memory.id for memory in found] == ["m1"]
        assert len(store.get("m1").vector) == 4 * 384
