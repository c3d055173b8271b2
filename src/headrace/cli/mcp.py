"""`headrace mcp`: headrace as a server of MCP on standard input and output: models, tasks in a folder, and what was used."""

import asyncio
from collections.abc import Callable
from contextlib import redirect_stdout
from decimal import Decimal
from pathlib import Path
from sys import stderr
from typing import TYPE_CHECKING, TypeAlias

import click

from headrace.agents import Budget, Grant
from headrace.agents.events import Ended
from headrace.cli.agentmodel import PICO, ServedEmbeddings, ServedModel
from headrace.cli.agentrun import begin, draft_of, drive
from headrace.cli.client import Client, client_for
from headrace.compose import Books, Place
from headrace.core.errors import HeadraceError, InvalidRequest, SetupError
from headrace.core.money import usd
from headrace.sandbox import try_level
from headrace.workspace import Nobody

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

DIFF_CHARS_MAX = 40_000
Plain: TypeAlias = "dict[str, str | int | list[str]]"


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=".",
    show_default=True,
    help="Tasks may work in this folder and those within.",
)
@click.option("--model", help="The model that is asked unless another is named (default: the first that the server lists).")
@click.option("--usd-max", type=Decimal, default=Decimal(1), show_default=True, help="No task may use more dollars than this.")
@click.option("--url", help="Another server's API (default: the one of the settings; OPENAI_BASE_URL).")
@click.option("--key", help="Another key (default: the data folder's development key; OPENAI_API_KEY).")
@click.pass_obj
def mcp(place: Place, folder: Path, model: str | None, usd_max: Decimal, url: str | None, key: str | None) -> None:
    """Serve MCP on standard input and output: ask a model, run a task in a draft of a folder, see what was used."""
    served = server_of(place, folder.resolve(), lambda: client_for(place, url, key), model, usd_max)
    asyncio.run(served.run_stdio_async())


def server_of(place: Place, folder: Path, client: Callable[[], Client], model: str | None, usd_max: Decimal) -> "MCPServer":
    """The server with its tools. Raises SetupError when the library is missing."""
    try:
        from mcp.server.mcpserver import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
        from mcp.types import ToolAnnotations
    except ImportError:
        raise SetupError("headrace mcp needs more packages: pip install 'headrace[workspace]'.") from None
    server = MCPServer("headrace", instructions="Models, and tasks done by agents in a sandbox, over headrace.", log_level="ERROR")
    reads, works = ToolAnnotations(read_only_hint=True), ToolAnnotations(read_only_hint=False, destructive_hint=False)

    async def told(work: Callable[[], Plain]) -> Plain:
        """In a thread of its own; nothing of it may write to where the protocol is spoken."""
        try:
            with redirect_stdout(stderr):
                return await asyncio.to_thread(work)
        except HeadraceError as error:
            raise ToolError(error.message) from error

    @server.tool(annotations=reads)
    async def ask_model(prompt: str, model_name: str | None = None, system: str | None = None, tokens_max: int = 1_024) -> Plain:
        """Ask a model one question. It is placed, metered and paid for like any request."""
        return await told(lambda: _asked(client(), model_name or model, prompt, system, tokens_max))

    @server.tool(annotations=reads)
    async def list_models() -> Plain:
        """The models that can be asked."""
        return await told(lambda: {"models": [str(one["id"]) for one in client().get("/models")["data"]]})

    @server.tool(annotations=works)
    async def run_task(task: str, subfolder: str = "", model_name: str | None = None, steps_max: int = 50) -> Plain:
        """Have an agent do a task in a draft of the folder, in a sandbox. A person takes the changes over, or answers what it asks."""
        return await told(lambda: _worked(place, _inside(folder, subfolder), client(), model_name or model, task, steps_max, usd_max))

    @server.tool(annotations=reads)
    async def usage() -> Plain:
        """What was used of each model, in tokens and dollars."""
        return await told(lambda: _used(place))

    return server


def _asked(client: Client, model: str | None, prompt: str, system: str | None, tokens_max: int) -> Plain:
    messages = [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": prompt}]
    name = model or client.first_chat_model()
    answer = client.post("/chat/completions", {"model": name, "messages": messages, "max_completion_tokens": tokens_max})
    return {
        "answer": str(answer["choices"][0]["message"].get("content") or ""),
        "model": name,
        "tokens": int(answer["usage"]["total_tokens"]),
    }


def _inside(folder: Path, subfolder: str) -> Path:
    found = (folder / subfolder).resolve()
    if not found.is_relative_to(folder) or not found.is_dir():
        raise InvalidRequest(f"{subfolder!r} is no folder within {folder}.")
    return found


def _worked(place: Place, folder: Path, client: Client, model: str | None, task: str, steps_max: int, usd_max: Decimal) -> Plain:
    grant = Grant(budget=Budget(pico_usd_max=int(usd_max * PICO), steps_max=steps_max))
    name = begin(place, task, folder, grant, by_agent=True)
    said: list[str] = []
    driver, ending = drive(
        place,
        name,
        try_level(),
        lambda: ServedModel(client, model or client.first_chat_model()),
        Nobody(),
        lambda event: None,
        said.append,
        embeds=lambda: ServedEmbeddings.found(client),
    )
    draft = draft_of(place, name)
    answer = driver.events[-1].text if isinstance(driver.events[-1], Ended) else ""
    waits = f"It waits for a person: headrace agent resume {name}" if ending == "waiting" else ""
    changes = [f"{change.kind} {change.path}" for change in draft.changes()]
    return {
        "run": name,
        "state": ending,
        "answer": answer,
        "changes": changes,
        "diff": "".join(draft.difference())[:DIFF_CHARS_MAX],
        "next": waits or (f"A person takes the changes over: headrace agent keep {name}" if changes else ""),
        "tokens": driver.turn.tokens,
        "usd": usd(driver.turn.pico_usd),
        **({"told": said} if said else {}),
    }


def _used(place: Place) -> Plain:
    with Books.open(place) as books:
        rows = books.usage(("model",), None, None)
    return {
        row.group[0]: f"{row.requests} requests, {row.tokens_in + row.tokens_cached} in, {row.tokens_out} out, {usd(row.cost_pico)} USD"
        for row in rows
    }
