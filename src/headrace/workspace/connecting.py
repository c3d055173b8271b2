"""Connected servers (MCP): started in the sandbox or reached by HTTP for as long as a run lasts, and their tools called.

A command gets a folder that it may write to: the draft where it has no network, else an empty one, so that nothing of the draft can leave
by it. A server at an address is spoken with at exactly that host; a redirection elsewhere is refused. Whatever a server says, also that it
failed, is a result, and labelled like one.
"""

import asyncio
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from headrace.agents import Writers
from headrace.agents.connected import Offer, ServerTerms, called, offered
from headrace.agents.tools import Tool
from headrace.agents.values import Value, read
from headrace.core.errors import HeadraceError, InvalidRequest, SetupError, UpstreamFailed
from headrace.sandbox import Draft, Level, Limits, confined
from headrace.sandbox.command import bounded
from headrace.sandbox.egress import Egress, Reach

if TYPE_CHECKING:
    import httpx2
    from mcp import Client, StdioServerParameters
    from mcp.client._transport import Transport
    from mcp_types import CallToolResult
    from mcp_types import Tool as McpTool

CONNECT_S_MAX: Final = 30
CALL_S_MAX: Final = 120
TOOLS_MAX: Final = 200
SCHEMA_CHARS_MAX: Final = 20_000
RESULT_CHARS_MAX: Final = 400_000
LINE_BYTES_MAX: Final = 8 << 20
"""What a server says at once, pictures included. One that says more without an end of line is ended."""


class ServerSecrets(msgspec.Struct, frozen=True):
    """What a server is given of secrets: a bearer token for its address, or variables of its environment."""

    token: str | None = None
    environment: dict[str, str] = {}


class Connection:
    """One server that is connected: a kit of its tools."""

    writers = Writers.SERVICE

    def __init__(self, terms: ServerTerms, client: "Client", tools: Sequence["McpTool"], why: Path) -> None:
        """`why` is where it stands why the server was ended, if it was."""
        self._client, self._name, self._why = client, terms.name, why
        self._names: dict[str, str] = {}
        found = []
        for offer in map(_offer, tools[:TOOLS_MAX]):
            tool = offered(terms, offer)
            if tool is not None and tool.card.tool not in self._names:
                found.append(tool)
                self._names[called(terms.name, offer.name)] = offer.name
        self.tools: Sequence[Tool] = tuple(found)

    async def perform(self, tool: str, arguments: Mapping[str, Value]) -> Value:
        """Call it. What the server answers is returned, also when it is a failure; raises UpstreamFailed when nothing comes back."""
        from mcp import MCPError

        try:
            result = await self._client.call_tool(self._names[tool], dict(arguments), read_timeout_seconds=CALL_S_MAX)
        except MCPError as error:
            await self._check_ended()
            return {"error": error.error.message[:RESULT_CHARS_MAX]}
        except (OSError, RuntimeError, TimeoutError) as wrong:
            await self._check_ended()
            raise UpstreamFailed(
                f"The server {self._name} did not answer ({type(wrong).__name__}), so it is not known whether it did it."
            ) from wrong
        return _value(result)

    async def _check_ended(self) -> None:
        ended = await asyncio.to_thread(_read_if_there, self._why)
        if ended:
            raise UpstreamFailed(f"The server {self._name} does not answer any more, so it is not known whether it did it. {ended}")


class Lost:
    """A server that could not be connected: it has no tools, and says why."""

    writers = Writers.PERSON
    tools: Sequence[Tool] = ()

    def __init__(self, why: str) -> None:
        self.why = why

    async def perform(self, tool: str, arguments: Mapping[str, Value]) -> Value:
        raise InvalidRequest(self.why)


@asynccontextmanager
async def connected(
    servers: Sequence[ServerTerms],
    secrets: Mapping[str, ServerSecrets],
    draft: Draft,
    level: Level,
    limits: Limits,
    *,
    private: bool = False,
) -> AsyncIterator[tuple[Connection | Lost, ...]]:
    """The servers, connected in their order, and ended with the block. One that can't be connected is `Lost`, and the others are there.

    Raises SetupError when the library is missing.
    """
    if not servers:
        yield ()
        return
    try:
        import mcp
    except ImportError:
        raise SetupError("Connected servers ([[mcp]]) need more packages: pip install 'headrace[workspace]'.") from None
    async with AsyncExitStack() as stack:
        found: list[Connection | Lost] = []
        for terms in servers:
            why = draft.place / f"mcp-{terms.name}.why"
            await asyncio.to_thread(why.unlink, missing_ok=True)
            try:
                held = await stack.enter_async_context(AsyncExitStack())
                transport = await _transport(held, terms, secrets.get(terms.name, ServerSecrets()), draft, level, limits, private=private)
                client = await held.enter_async_context(mcp.Client(transport, read_timeout_seconds=CONNECT_S_MAX))
                found.append(Connection(terms, client, await _tools(client), why))
            except HeadraceError as refused:
                found.append(Lost(f"{terms.name} is not connected: {refused.message}"))
            except (OSError, RuntimeError, TimeoutError, mcp.MCPError, ExceptionGroup) as wrong:
                ended = await asyncio.to_thread(_read_if_there, why)
                found.append(Lost(f"{terms.name} is not connected: {ended or _said(wrong)}"))
        yield tuple(found)


def _read_if_there(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def _said(wrong: BaseException) -> str:
    while isinstance(wrong, BaseExceptionGroup):
        wrong = wrong.exceptions[0]
    return str(wrong) or type(wrong).__name__


async def _tools(client: "Client") -> list["McpTool"]:
    found: list[McpTool] = []
    cursor: str | None = None
    while len(found) < TOOLS_MAX:
        listed = await client.list_tools(cursor=cursor)
        found += listed.tools
        cursor = listed.next_cursor
        if cursor is None:
            break
    return found


async def _transport(
    stack: AsyncExitStack, terms: ServerTerms, secrets: ServerSecrets, draft: Draft, level: Level, limits: Limits, *, private: bool
) -> "Transport":
    if terms.url is not None:
        from mcp.client.streamable_http import streamable_http_client

        return streamable_http_client(terms.url, http_client=await stack.enter_async_context(_http(terms.url, secrets.token)))
    from mcp import stdio_client

    place = draft.place / f"mcp-{terms.name}"
    parameters = await _confined(stack, terms, secrets, draft, place, level, limits, private=private)
    errors = stack.enter_context(await asyncio.to_thread((draft.place / f"mcp-{terms.name}.log").open, "a"))
    return stdio_client(parameters, errlog=errors)


async def _confined(
    stack: AsyncExitStack,
    terms: ServerTerms,
    secrets: ServerSecrets,
    draft: Draft,
    place: Path,
    level: Level,
    limits: Limits,
    *,
    private: bool,
) -> "StdioServerParameters":
    """The command in the sandbox. With a network it gets a folder of its own instead of the draft."""
    from mcp import StdioServerParameters

    folder, proxy = draft, None
    if terms.hosts:
        folder, proxy = Draft.blank(place), place / "proxy.sock"
        egress = Egress(Reach(frozenset(host.casefold() for host in terms.hosts), private=private))
        await egress.start(proxy)
        stack.push_async_callback(egress.stop)
    line = confined(
        shlex.join(terms.command),
        folder,
        level,
        limits,
        proxy=proxy,
        read=[Path(path) for path in terms.read],
        # The library passes on who we are and which shell we use, unless told otherwise.
        environment={"USER": "nobody", "LOGNAME": "nobody", "SHELL": "/bin/sh", **secrets.environment},
    )
    words = [*bounded(LINE_BYTES_MAX, draft.place / f"mcp-{terms.name}.why"), *line.words]
    return StdioServerParameters(command=words[0], args=words[1:], env=line.environment, cwd="/")


def _http(url: str, token: str | None) -> "httpx2.AsyncClient":
    """A client that speaks with the one origin that the person named."""
    import httpx2

    meant = httpx2.URL(url)

    async def stay(request: httpx2.Request) -> None:
        there = request.url
        if (there.scheme, there.host, there.port) != (meant.scheme, meant.host, meant.port):
            raise httpx2.RequestError(f"{there.host} is not the server that was named.", request=request)

    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx2.AsyncClient(
        headers=headers, timeout=httpx2.Timeout(CONNECT_S_MAX, read=CALL_S_MAX), trust_env=False, event_hooks={"request": [stay]}
    )


def _offer(tool: "McpTool") -> Offer:
    schema = msgspec.json.encode(tool.input_schema).decode()
    properties = tool.input_schema.get("properties")
    hints = tool.annotations
    return Offer(
        name=tool.name,
        says=tool.description or tool.title or tool.name,
        schema=schema if len(schema) <= SCHEMA_CHARS_MAX else '{"type":"object"}',
        arguments=tuple(properties) if isinstance(properties, dict) else (),
        reads_only=hints.read_only_hint if hints else None,
        destroys=hints.destructive_hint if hints else None,
    )


def _value(result: "CallToolResult") -> Value:
    """What came back as plain data: the structured answer, or the texts; of pictures and sounds only that they were there."""
    if result.structured_content is not None and not result.is_error:
        encoded = msgspec.json.encode(result.structured_content).decode()
        return read(encoded) if len(encoded) <= RESULT_CHARS_MAX else encoded[:RESULT_CHARS_MAX]
    texts = [each.text if each.type == "text" else f"[{each.type}, which is not shown]" for each in result.content]
    text = "\n".join(texts)[:RESULT_CHARS_MAX]
    return {"error": text} if result.is_error else text
