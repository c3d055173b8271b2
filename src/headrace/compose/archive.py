"""The routes that keep something for their clients, or speak another dialect than OpenAI's chat, with what they keep it in."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.routing import BaseRoute, Route

from headrace.api import (
    Asgi,
    Background,
    Batches,
    Cache,
    Conversations,
    Files,
    Foreign,
    Keeper,
    Lines,
    MessageBatches,
    Messages,
    MessagesManner,
    Once,
    Posts,
    Quotes,
    Responses,
)
from headrace.api.askers import Keys
from headrace.api.door import Report
from headrace.api.heads import Handler
from headrace.api.message_batches import KEPT_S, PREFIX
from headrace.api.responses_background import Spawn
from headrace.compose.opening import Opened
from headrace.compose.reload import Reloading
from headrace.core.clock import SECOND, Clock
from headrace.core.errors import HeadraceError, StoreUnreachable
from headrace.gateway import Gateway
from headrace.storage import (
    BEAT_S,
    Archive,
    Blobs,
    Folder,
    Vigil,
    archive_batches,
    beat,
    bucket,
    bury,
    bury_work,
    sweep_files,
    sweep_once,
    sweep_responses,
)

log = logging.getLogger("headrace")
SWEPT_EVERY_S = 20.0


class Kept:
    """What `serve` needs of it: the handlers of the hot paths in their order, the routes, and what must be done beside them. What waits for
    a bucket has an archive of its own, so that nobody else waits behind it. `runner` works on what is kept, as one of `host`."""

    def __init__(
        self,
        *,
        runner: str,
        host: str,
        archive: Archive,
        bytes_archive: Archive,
        blobs: Blobs,
        clock: Clock,
        background: Background,
        batches: Batches,
        once: Once,
        handlers: Sequence[Handler],
        posts: Posts,
        routes: Sequence[BaseRoute],
        quotes: Callable[[Keys], list[Route]],
    ) -> None:
        """`quotes` are the routes that say what a request could cost, to whoever has one of these keys."""
        self._runner, self._host, self._vigil = runner, host, Vigil()
        self.archive, self._bytes_archive, self._blobs, self._clock = archive, bytes_archive, blobs, clock
        self.background, self.batches, self.once, self._posts = background, batches, once, posts
        self.handlers, self.routes, self.quotes = tuple(handlers), tuple(routes), quotes

    def other(self, url: bytes) -> Handler | None:
        """Who serves a POST to a vendor's own path."""
        handler = self._posts.other(url)
        return None if handler is None else self.once.guarded(url.decode("latin-1"), handler)

    async def begin(self) -> None:
        """Say that we live, before anything is worked on."""
        await self.archive.insist(beat, self._runner, self._host)

    async def keep_alive(self) -> None:
        """Say that we live, and bury who says so no more; run it as a task of the server's group."""
        while True:
            try:
                counts = await self.archive.run(beat, self._runner, self._host)
                for gone in self._vigil.look(counts, self._clock.instant()):
                    log.warning("the process %s works no more: what it worked on is lost or taken up by others", gone)
                    await self.archive.run(bury, gone)
            except StoreUnreachable:
                self._vigil.blink()
            except (HeadraceError, sqlite3.Error):
                log.exception("that this process lives can't be said now")
            await asyncio.sleep(BEAT_S)

    async def keep_vouching(self) -> None:
        """Say which requests under an Idempotency-Key are worked on here; run it as a task of the server's group."""
        while True:
            try:
                await self.once.vouch()
            except (HeadraceError, sqlite3.Error) as wrong:
                log.warning("which requests are worked on can't be said now: %s", wrong)
            await asyncio.sleep(BEAT_S)

    async def keep_swept(self) -> None:
        """Forget what nobody may read any more; run it as a task of the server's group."""
        while True:
            try:
                await self.archive.run(bury_work)
                await self.archive.run(sweep_responses, self._clock.moment() // SECOND)
                await self.archive.run(sweep_once, self._clock.moment() // SECOND)
                await self.archive.run(archive_batches, PREFIX, self._clock.moment() // SECOND - KEPT_S)
                await self._bytes_archive.run(sweep_files, self._blobs, self._clock.moment() // SECOND)
            except (HeadraceError, sqlite3.Error, OSError) as wrong:
                log.warning("what is over can't be forgotten now: %s", wrong)
            await asyncio.sleep(SWEPT_EVERY_S)

    async def stop(self) -> None:
        """End what goes on without a client."""
        self.archive.give_up()
        await self.batches.stop()
        await self.background.stop()
        await self.once.stop()
        try:
            await self.archive.run(bury, self._runner)
        except (HeadraceError, sqlite3.Error) as wrong:
            log.warning("what is left of this process's work is taken up by others only when they take it to be dead: %s", wrong)

    def close(self) -> None:
        self.archive.close()
        self._bytes_archive.close()


def _blobs(opened: Opened) -> Blobs:
    """Where the bytes of files lie: a folder, or a part of a bucket that is this installation's alone."""
    house, files = opened.house, opened.house.settings.files
    if files.url is None or files.folder is not None:
        return Folder(house.layout.files if files.folder is None else Path(files.folder))
    return bucket(files.url, endpoint=files.endpoint, region=files.region, installation=house.state.installation() or house.host)


def keep(
    opened: Opened, gateway: Gateway, reloading: Reloading, report: Report, spawn: Spawn, log: logging.Logger, cache: Cache | None
) -> Kept:
    house, keys = opened.house, reloading.keys
    archive = house.state.archive()
    foreign = Foreign(gateway=gateway, keys=keys, clock=house.clock, new_id=opened.names, report=report, log=log, cache=cache)
    blobs = _blobs(opened)
    keeper = Keeper(archive, blobs, house.clock, house.settings.responses, spawn, log)
    background = Background(gateway=gateway, keeper=keeper, runner=opened.runner, clock=house.clock, spawn=spawn, report=report, log=log)
    messages = Messages(foreign)
    responses = Responses(foreign, keeper, background)
    posts = Posts(foreign)
    handlers = (
        messages.create, messages.count_tokens, responses.create, responses.input_tokens, responses.compact, *posts.handlers,
    )  # fmt: skip
    asgi = Asgi(keys, opened.names, house.settings.server.body_bytes_max)
    conversations = Conversations(asgi, archive, house.clock)
    bytes_archive = house.state.archive()
    files = Files(asgi, bytes_archive, house.clock, blobs, house.settings.files)
    batches = Batches(
        asgi=asgi,
        archive=archive,
        runner=opened.runner,
        clock=house.clock,
        blobs=blobs,
        lines=Lines(foreign, keeper),
        settings=house.settings.batches,
        quota=house.settings.files.project_bytes_max,
        spawn=spawn,
        log=log,
    )
    manner = MessagesManner(gateway, house.clock)
    message_batches = MessageBatches(
        asgi=asgi,
        archive=archive,
        clock=house.clock,
        batches=batches,
        settings=house.settings.batches,
        authenticate=lambda headers: manner.authenticate(headers, keys),
    )
    routes = [*batches.routes(), *message_batches.routes(), *responses.routes(), *conversations.routes(), *files.routes()]

    def quotes(keys: Keys) -> list[Route]:
        asked = Asgi(keys, opened.names, house.settings.server.body_bytes_max)
        return Quotes(asgi=asked, foreign=foreign, keeper=keeper, settings=house.settings.batches).routes()

    once = Once(
        archive=archive,
        runner=opened.runner,
        keys=reloading.all_keys,
        clock=house.clock,
        new_id=opened.names,
        spawn=spawn,
        body_bytes_max=house.settings.server.body_bytes_max,
        log=log,
    )
    return Kept(
        runner=opened.runner,
        host=house.host,
        archive=archive,
        bytes_archive=bytes_archive,
        blobs=blobs,
        clock=house.clock,
        background=background,
        batches=batches,
        once=once,
        handlers=handlers,
        posts=posts,
        routes=routes,
        quotes=quotes,
    )
