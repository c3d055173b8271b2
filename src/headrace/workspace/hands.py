"""The workspace's tools performed: files of the draft, commands in the sandbox, pages of the web."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from msgspec import structs

from headrace.agents.values import Value
from headrace.agents.words import host_of
from headrace.core.errors import InvalidRequest
from headrace.sandbox import Draft, Level, Limits, Outcome, run
from headrace.sandbox.command import unheard
from headrace.sandbox.draft import delete_beneath, open_beneath, readable
from headrace.sandbox.egress import PORTS, Egress, Reach
from headrace.sandbox.fetch import fetch

FILE_BYTES_MAX: Final = 400_000
LISTED_MAX: Final = 2_000

Arguments: TypeAlias = Mapping[str, Value]


class Screen(Protocol):
    """Where it is seen what a command does while it runs."""

    def shell(self, command: str) -> None:
        """It begins."""
        ...

    def printed(self, text: str) -> None:
        """It has said this, on either of its outputs; whatever control sequences it is made of."""
        ...


class Hands:
    """What an agent's calls do. `private` lets pages and hosts of this machine's networks be reached, where the settings say so."""

    def __init__(
        self,
        draft: Draft,
        level: Level,
        limits: Limits,
        *,
        ports: frozenset[int] = PORTS,
        private: bool = False,
        screen: Screen | None = None,
    ) -> None:
        self._draft, self._level, self._limits, self._screen = draft, level, limits, screen
        self._reach = Reach(frozenset(), ports, private)
        self._halt: asyncio.Event | None = None
        self._tools: dict[str, Callable[[Arguments], Awaitable[Value]]] = {
            "list_files": self._list_files,
            "read_file": self._read_file,
            "write_file": self._write_file,
            "edit_file": self._edit_file,
            "delete_file": self._delete_file,
            "run_command": self._run_command,
            "fetch": self._fetch,
        }

    async def perform(self, tool: str, arguments: Arguments) -> Value:
        """Make one call. Raises HeadraceError with a sentence for the model."""
        return await self._tools[tool](arguments)

    async def _list_files(self, arguments: Arguments) -> Value:
        folder = _text(arguments, "folder", "").strip("./")
        found = sorted(path for path in map(readable, self._draft.paths()) if not folder or path.startswith(f"{folder}/"))
        left_out = len(found) - LISTED_MAX
        return [*found[:LISTED_MAX], *([f"and {left_out} more"] if left_out > 0 else [])]

    async def _read_file(self, arguments: Arguments) -> Value:
        return self._read(_text(arguments, "path"))

    def _read(self, path: str) -> str:
        with os.fdopen(open_beneath(self._draft.work, path, os.O_RDONLY), "rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise InvalidRequest(f"{path} holds more than {FILE_BYTES_MAX:,} bytes: read a part of it with a command.")
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise InvalidRequest(f"{path} is no text.") from None

    async def _write_file(self, arguments: Arguments) -> Value:
        path, text = _text(arguments, "path"), _text(arguments, "text")
        self._write(path, text)
        return f"{path} holds {len(text.splitlines())} lines."

    def _write(self, path: str, text: str) -> None:
        with os.fdopen(open_beneath(self._draft.work, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
            file.write(text.encode())

    async def _edit_file(self, arguments: Arguments) -> Value:
        path, old, new = (_text(arguments, name) for name in ("path", "old", "new"))
        text = self._read(path)
        times = text.count(old) if old else 0
        if times != 1:
            raise InvalidRequest(f"The passage stands {times} times in {path}: give one that stands there once.")
        self._write(path, text.replace(old, new))
        return f"{path} is changed."

    async def _delete_file(self, arguments: Arguments) -> Value:
        path = _text(arguments, "path")
        delete_beneath(self._draft.work, path)
        return f"{path} is deleted."

    def interrupt(self) -> bool:
        """Stop the command that runs, and nothing else; whether there was one."""
        if self._halt is None:
            return False
        self._halt.set()
        return True

    async def _run_command(self, arguments: Arguments) -> Value:
        hosts = frozenset(_text(arguments, "hosts", "").casefold().split())
        command = _text(arguments, "command")
        if not hosts:
            outcome = await self._run(command)
        else:
            proxy, socket = Egress(structs.replace(self._reach, hosts=hosts)), self._socket()
            await proxy.start(socket)
            try:
                outcome = await self._run(command, socket)
            finally:
                await proxy.stop()
        said: dict[str, Value] = {"exit_code": outcome.exit_code, "stdout": outcome.stdout, "stderr": outcome.stderr}
        return {**said, **({"stopped": outcome.says} if outcome.says else {})}

    async def _run(self, command: str, proxy: Path | None = None) -> Outcome:
        if self._screen is not None:
            self._screen.shell(command)
        hear = unheard if self._screen is None else self._screen.printed
        self._halt = asyncio.Event()
        try:
            return await run(command, self._draft, self._level, self._limits, proxy=proxy, hear=hear, halt=self._halt)
        finally:
            self._halt = None

    def _socket(self) -> Path:
        return self._draft.place / "proxy.sock"

    async def _fetch(self, arguments: Arguments) -> Value:
        url = _text(arguments, "url")
        page = await fetch(url, structs.replace(self._reach, hosts=frozenset((host_of(url),))))
        if page.leads_to is not None:
            return {"status": page.status, "leads_to": page.leads_to}
        return {"status": page.status, "text": page.text}


def _text(arguments: Arguments, name: str, default: str | None = None) -> str:
    value = arguments.get(name, default)
    if not isinstance(value, str):
        raise InvalidRequest(f"The argument {name!r} must be given, as text.")
    return value
