"""`headrace mcp` as another agent uses it: the real program, spoken with by the official client, over a scripted vendor."""

import asyncio
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from tests.server import PROGRAM

pytestmark = pytest.mark.sandbox(2)


def test_another_agent_asks_has_work_done_and_sees_what_it_cost(place, server, project):
    arguments = [*PROGRAM[1:], "mcp", "--folder", str(project), "--model", "coder", "--url", server.base_url]
    parameters = StdioServerParameters(command=PROGRAM[0], args=arguments, env=dict(place.environment), cwd=place.folder)
    before = (project / "add.py").read_text()

    async def speak() -> dict[str, Any]:
        async with Client(parameters) as client:
            told: dict[str, Any] = {"tools": {tool.name for tool in (await client.list_tools()).tools}}
            for name, given in (
                ("list_models", {}),
                ("ask_model", {"prompt": "Hello", "model_name": "talker"}),
                ("run_task", {"task": "Fix add.py and run a check"}),
                ("usage", {}),
            ):
                told[name] = (await client.call_tool(name, given)).structured_content
            told["wrong"] = await client.call_tool("run_task", {"task": "x", "subfolder": ".."})
            return told

    told = asyncio.run(speak())
    assert told["tools"] == {"ask_model", "list_models", "run_task", "usage"}
    assert "coder" in told["list_models"]["models"]
    assert told["ask_model"]["answer"] == "I have written the file."
    done = told["run_task"]
    assert (done["state"], done["changes"], done["answer"]) == ("done", ["changed add.py"], "The sign was wrong; the check passes now.")
    assert "+    return a + b" in done["diff"]
    assert done["next"] == f"A person takes the changes over: headrace agent keep {done['run']}"
    assert "coder" in told["usage"]
    assert told["wrong"].is_error
    assert "no folder within" in told["wrong"].content[0].text
    assert (project / "add.py").read_text() == before
    place.run("agent", "keep", done["run"])
    assert "a + b" in (project / "add.py").read_text()
