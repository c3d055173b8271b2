"""An agent's model in process: placed, metered and billed by the same gateway as everybody's requests."""

import asyncio
import json

from headrace.compose.agentmodel import GatewayModel
from headrace.core.stream import Finished, Text, ToolCallArguments, ToolCallBegun, Used
from headrace.core.usage import Usage
from headrace.metering import Admit, Settle
from headrace.testing.builders import MODEL, a_pool, a_principal
from headrace.testing.scripted import ScriptedProvider
from tests.unit.gateway.world import World

SAYS = ScriptedProvider(
    Text("Looking."), ToolCallBegun(0, "c1", "list_files"), ToolCallArguments(0, "{}"), Finished("tool_calls"), Used(Usage(100, output=20))
)


def test_what_it_says_is_heard_and_what_it_uses_is_booked():
    async def story() -> tuple[World, object]:
        world = World(a_pool("p"), scripts={"p": SAYS})
        model = GatewayModel(world.gateway, world.clock, lambda prefix: f"{prefix}1", a_principal(), MODEL)
        return world, await model.reply(json.dumps({"messages": [{"role": "user", "content": "Hi"}], "tools": []}).encode())

    world, reply = asyncio.run(story())
    assert (reply.text, reply.tokens, reply.request) == ("Looking.", 120, "req_1")  # type: ignore[attr-defined]
    assert [(call.name, call.arguments) for call in reply.calls] == [("list_files", "{}")]  # type: ignore[attr-defined]
    kinds = [type(record) for record in world.log.records]
    assert (kinds.count(Admit), kinds.count(Settle)) == (1, 1)
    assert world.admits[0].traffic_class == "agentic"
