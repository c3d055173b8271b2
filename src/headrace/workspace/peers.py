"""Connected agents (A2A) performed: their cards read, tasks given to them and looked after, the files that come back put into the draft.

Only the origin that the person has named is spoken to, also where a card names another. What an agent answers, also that it failed, is a
result, and labelled like one; so are the files, which lie in the folder `received` of the draft.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from headrace.agents import Writers
from headrace.agents.connected import called
from headrace.agents.peers import CANCEL, CHECK, SEND, PeerTerms, handle, peer_tools, task_named
from headrace.agents.tools import Tool
from headrace.agents.values import Value
from headrace.core.errors import HeadraceError, InvalidRequest, SandboxRefused, UpstreamFailed
from headrace.core.unreadable import UNREADABLE
from headrace.sandbox import Draft
from headrace.sandbox.calling import call
from headrace.sandbox.draft import open_beneath
from headrace.wire.a2a import (
    CARD_PATH,
    STANDS,
    VERSION,
    Answered,
    Artifact,
    Card,
    Configuration,
    Fault,
    Interface,
    Message,
    OneTask,
    Part,
    SendMessage,
    Task,
    answer,
    asked,
)
from headrace.workspace.connecting import Lost

CARD_BYTES_MAX: Final = 256 << 10
ANSWER_BYTES_MAX: Final = 8 << 20
TEXT_CHARS_MAX: Final = 400_000
WAIT_S_MAX: Final = 600
LOOK_S_FIRST, LOOK_S_MAX = 0.2, 5.0
FOLDER: Final = "received"


async def peers(
    terms: Sequence[PeerTerms], tokens: Mapping[str, str], draft: Draft, new_id: Callable[[str], str]
) -> tuple["Peer | Lost", ...]:
    """The agents, each asked who it is; one that does not say is `Lost`."""

    async def found(one: PeerTerms) -> "Peer | Lost":
        try:
            return await Peer.met(one, tokens.get(one.name), draft, new_id)
        except HeadraceError as wrong:
            return Lost(f"{one.name} is not connected: {wrong.message}")

    return tuple(await asyncio.gather(*(found(one) for one in terms)))


class Peer:
    """One agent: a kit of its tools."""

    writers = Writers.SERVICE

    def __init__(self, terms: PeerTerms, url: str, says: str, token: str | None, draft: Draft, new_id: Callable[[str], str]) -> None:
        self._terms, self._url, self._token, self._draft, self._new_id = terms, url, token, draft, new_id
        self.tools: Sequence[Tool] = peer_tools(terms, says)
        self._calls: dict[str, Callable[[Mapping[str, Value]], Awaitable[Value]]] = {
            called(terms.name, SEND): self._send,
            called(terms.name, CHECK): self._check,
            called(terms.name, CANCEL): self._cancel,
        }

    @classmethod
    async def met(cls, terms: PeerTerms, token: str | None, draft: Draft, new_id: Callable[[str], str]) -> "Peer":
        """By its card. Raises HeadraceError."""
        parts = urlsplit(terms.url)
        there = terms.url if parts.path not in ("", "/") else f"{parts.scheme}://{parts.netloc}{CARD_PATH}"
        told = await asyncio.to_thread(call, there, _headers(token), None, CARD_BYTES_MAX)
        if told.status != 200:
            raise UpstreamFailed(f"its card is not at {there}, which answers with {told.status}.")
        try:
            card = msgspec.json.decode(told.body, type=Card)
        except UNREADABLE as wrong:
            raise UpstreamFailed(f"what lies at {there} is no card of A2A {VERSION}: {wrong}") from None
        spoken = [one for one in card.supported_interfaces if _is_spoken(one) and _same(one.url, terms.url)]
        if not spoken:
            raise UpstreamFailed(f"it offers no JSON-RPC of A2A 1 at {parts.scheme}://{parts.netloc}, and is spoken to nowhere else.")
        says = " ".join([card.name, card.description, *(f"{skill.name}: {skill.description}" for skill in card.skills)])
        return cls(terms, spoken[0].url, says, token, draft, new_id)

    async def perform(self, tool: str, arguments: Mapping[str, Value]) -> Value:
        """Make one call. Raises HeadraceError where nothing comes back."""
        try:
            return await self._calls[tool](arguments)
        except Fault as fault:
            return {"error": fault.message[:TEXT_CHARS_MAX]}

    async def _send(self, arguments: Mapping[str, Value]) -> Value:
        text, task = _text(arguments, "message"), arguments.get("task")
        message = Message(
            message_id=self._new_id("msg_"),
            role="ROLE_USER",
            parts=(Part(text=text),),
            task_id=self._task(arguments) if task else None,
        )
        sent = SendMessage(message=message, configuration=Configuration(return_immediately=True))
        told = answer(await self._said("SendMessage", sent), Answered)
        if told.task is None:
            return {"answer": _words(told.message.parts if told.message else ())}
        return await self._told(await self._until_it_stands(told.task))

    async def _until_it_stands(self, task: Task) -> Task:
        """As it stands, or after a while as it is."""
        look_s, waited_s = LOOK_S_FIRST, 0.0
        while task.status.state not in STANDS and waited_s < WAIT_S_MAX:
            await asyncio.sleep(look_s)
            waited_s, look_s = waited_s + look_s, min(LOOK_S_MAX, look_s * 1.5)
            task = answer(await self._said("GetTask", OneTask(id=task.id)), Task)
        if task.artifacts or task.status.state not in STANDS:
            return task
        return answer(await self._said("GetTask", OneTask(id=task.id)), Task)

    async def _check(self, arguments: Mapping[str, Value]) -> Value:
        return await self._told(answer(await self._said("GetTask", OneTask(id=self._task(arguments))), Task))

    async def _cancel(self, arguments: Mapping[str, Value]) -> Value:
        return await self._told(answer(await self._said("CancelTask", OneTask(id=self._task(arguments))), Task))

    def _task(self, arguments: Mapping[str, Value]) -> str:
        named = task_named(self._terms, _text(arguments, "task"))
        if named is None:
            raise InvalidRequest(f"This is no task of the agent {self._terms.name}: give it as it was returned.")
        return named

    async def _said(self, method: str, params: msgspec.Struct) -> bytes:
        body = asked(self._new_id("call_"), method, params)
        told = await asyncio.to_thread(call, self._url, _headers(self._token), body, ANSWER_BYTES_MAX)
        if told.status in (401, 403):
            raise UpstreamFailed(f"The agent {self._terms.name} does not know us: set its token_env.")
        if told.status != 200:
            raise UpstreamFailed(f"The agent {self._terms.name} answers with {told.status}.")
        return told.body

    async def _told(self, task: Task) -> Value:
        state = task.status.state.removeprefix("TASK_STATE_").replace("_", " ").lower()
        texts = [_words(one.parts) for one in task.artifacts if not _is_file(one)]
        if not texts and task.status.message is not None:
            texts = [_words(task.status.message.parts)]
        files = await asyncio.to_thread(self._receive, [one for one in task.artifacts if _is_file(one)])
        said: dict[str, Value] = {"task": handle(self._terms, task.id), "state": state, "answer": "\n\n".join(texts)[:TEXT_CHARS_MAX]}
        return {**said, "files": [*files]} if files else said

    def _receive(self, artifacts: Sequence[Artifact]) -> list[str]:
        """Put the files into the draft; where each lies, or why it does not."""
        found = []
        for artifact in artifacts:
            for part in artifact.parts:
                content = part.content() if part.raw is not None else (part.text or "").encode()
                path = _path(self._terms.name, part.filename or artifact.name or artifact.artifact_id)
                if content is None:
                    continue
                try:
                    with os.fdopen(open_beneath(self._draft.work, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
                        file.write(content)
                except SandboxRefused as refused:
                    found.append(f"not taken: {refused.message}")
                else:
                    found.append(path)
        return found


def _is_spoken(one: Interface) -> bool:
    return one.protocol_binding.upper() == "JSONRPC" and one.protocol_version.partition(".")[0] == "1"


def _same(url: str, named: str) -> bool:
    """Whether both are of one origin."""
    there, meant = urlsplit(url), urlsplit(named)
    return (there.scheme, there.netloc.casefold()) == (meant.scheme, meant.netloc.casefold())


def _headers(token: str | None) -> dict[str, str]:
    said = {"content-type": "application/json", "accept": "application/json", "a2a-version": VERSION, "user-agent": "headrace"}
    return {**said, "authorization": f"Bearer {token}"} if token else said


def _is_file(artifact: Artifact) -> bool:
    return any(part.filename or part.raw for part in artifact.parts)


def _words(parts: Sequence[Part]) -> str:
    texts = []
    for part in parts:
        if part.text is not None:
            texts.append(part.text)
        elif part.data is not None:
            texts.append(msgspec.json.encode(part.data).decode())
        elif part.url is not None:
            texts.append(part.url)
    return "\n".join(texts)


def _path(agent: str, name: str) -> str:
    """Where a file of theirs lies: what of its name means something to a system is left out."""
    parts = ["".join(letter for letter in part if letter.isprintable()).strip(". ") for part in name.replace("\\", "/").split("/")]
    kept = [part[:100] for part in parts if part][-8:]
    return "/".join([FOLDER, agent, *(kept or ["file"])])


def _text(arguments: Mapping[str, Value], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequest(f"The argument {name!r} must be given, as text.")
    return value
