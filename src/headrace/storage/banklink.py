"""A worker's line to the bank: it tells how its slices stand and hears what it may have, in the background.

A round goes out whenever a request waits for more, and else a few times a second if anything has changed. What is told and the place in
the usage log that it is true for are taken together. While nobody answers, the slices in hand go on being spent, and whoever needs more is
told that nobody can be asked.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from headrace.core.clock import Moment
from headrace.core.errors import NotReady
from headrace.metering import Slice
from headrace.storage.bankwords import (
    Answered,
    Asked,
    Beat,
    Down,
    FencedOff,
    Hello,
    Lent,
    Open,
    Opened,
    Recall,
    Rules,
    RulesAre,
    Webhook,
    Welcome,
    decode_answered,
    framed,
    payload_from,
)
from headrace.storage.folder import short_path
from headrace.storage.usagemark import Mark

log = logging.getLogger("headrace")
BEAT_S = 0.1
LOOK_S = 1.0
"""How often all slices are told of, whether or not they changed."""
QUIET_LOOKS_MAX = 5
"""After so many of them without a request, what a slice has free goes back."""
FORGET_LOOKS_MAX = 600
"""After so many of them nothing is kept of it here: the store knows all of it."""
LEND_S = 3.0
"""Who is dead is known at once; who is slow waits for a disk, of which a sync has been seen to take 1.7 s."""
ANSWER_S = 5.0
AGAIN_S = 0.1


class _Gone(Exception):
    """The bank, or the store behind it, does not answer; the message says why."""


class BankLink:
    """Implements the gateway's `Lender`. `keep` is to be run as a task."""

    def __init__(
        self,
        path: Path,
        *,
        slices: Callable[[], Mapping[str, Slice]],
        place: Callable[[], tuple[str, int]],
        pid: int,
        new_process: Callable[[], str],
        moment: Callable[[], Moment],
        forget: Callable[[Iterable[str]], None],
        fenced: Callable[[], None],
        rules: Callable[[tuple[str, ...]], None],
        hosts: Callable[[int], None],
    ) -> None:
        """`place` is where the usage log ends; `forget` is told of slices that are over, `fenced` that all are lost, `rules` what is set at
        the command line, `hosts` how many share the limits of rates."""
        self._path, self._slices, self._place, self._pid = path, slices, place, pid
        self._new_process, self._moment = new_process, moment
        self._forget, self._on_fence, self._on_rules, self._on_hosts = forget, fenced, rules, hosts
        self.epoch = 0
        self.webhook: Webhook | None = None
        self._process = ""
        self._waiting: list[tuple[tuple[Slice, ...], asyncio.Future[None]]] = []
        self._wanted, self._known = asyncio.Event(), asyncio.Event()
        self._quiet: dict[str, int] = {}
        self._looked_at = 0.0
        self._version: str | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._answers: asyncio.Queue[Answered] = asyncio.Queue(maxsize=16)  # one is awaited at a time; more is a bank that is not ours
        self._complaint = ""

    async def lend(self, slices: Iterable[Slice]) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((tuple(slices), future))
        self._wanted.set()
        try:
            async with asyncio.timeout(LEND_S):
                await future
        except TimeoutError:
            raise NotReady("nobody answers") from None

    async def known(self, within_s: float) -> None:
        """Return when the bank was reached for the first time, or at the end of this time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._known.wait()

    async def keep(self) -> None:
        """Stay in touch with the bank."""
        while True:
            try:
                await self._connected()
            except (_Gone, OSError, EOFError) as why:
                self._fail(str(why) or "the connection has ended")
            await asyncio.sleep(AGAIN_S)

    async def finish(self) -> None:
        """Return everything, and end this life: nothing runs any more."""
        if self._writer is None or not self.epoch or any(one.held for one in self._slices().values()):
            return  # what is held is seen in the log
        with suppress(_Gone, OSError, EOFError, asyncio.QueueFull):
            saids = tuple(one.say(idle=True) for one in self._slices().values() if one.account is not None)
            await self._asked(Beat(Mark(*self._place()), saids, last=True))
            self.epoch = 0

    # One connection.

    async def _connected(self) -> None:
        with short_path(self._path) as name:
            reader, writer = await asyncio.open_unix_connection(name)
        self._writer = writer
        self._answers = asyncio.Queue(maxsize=16)
        listening = asyncio.ensure_future(self._listen(reader))  # noqa: TID251 -- ended in the `finally` below
        try:
            await self._introduce()
            while not listening.done():
                await self._round()
                self._wanted.clear()
                if not self._waiting:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(BEAT_S):
                            await self._wanted.wait()
            raise _Gone("the connection has ended")
        finally:
            self._writer = None
            listening.cancel()
            writer.close()

    async def _introduce(self) -> None:
        self._process = self._process or self._new_process()
        answer = await self._asked(Hello(self._process, self._pid, self._place()[0]))
        if isinstance(answer, FencedOff):
            self._lose()
            raise _Gone("the end of this worker had been booked")
        assert isinstance(answer, Welcome)
        self.epoch, self._version = answer.epoch, None
        if self.webhook is not None:
            await self._asked(self.webhook)
        if self._complaint:
            log.warning("budgets can be asked again")
        self._complaint = ""
        self._known.set()

    def tell_webhook(self, webhook: Webhook) -> None:
        """From now on alerts go there. The next connection tells it."""
        if webhook != self.webhook:
            self.webhook = webhook
            if self._writer is not None:
                self._writer.close()

    async def _round(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            await self._open([one for slices, _ in waiting for one in slices])
            answer = await self._asked(self._beat([one for slices, _ in waiting for one in slices]))
        except (_Gone, OSError, EOFError) as why:
            _refuse(waiting, str(why))
            raise
        except asyncio.CancelledError:
            _refuse(waiting, "the server stops")
            raise
        match answer:
            case Lent():
                self._hear(answer)
            case FencedOff():
                self._lose()
                _refuse(waiting, "what this worker had leased was booked")
                raise _Gone("the end of this worker had been booked")
            case _:
                raise _Gone("the bank's answer is none to what was asked")
        for _, future in waiting:
            if not future.done():
                future.set_result(None)
        if answer.version != self._version:
            rules = await self._asked(Rules())
            if isinstance(rules, RulesAre):
                self._version = answer.version
                self._on_rules(rules.contents)

    async def _open(self, wanted: Iterable[Slice]) -> None:
        slices = self._slices().values()
        new = {one.opening.name: one for one in (*wanted, *slices) if one.account is None}
        if not new:
            return
        answer = await self._asked(Open(tuple(one.opening for one in new.values())))
        assert isinstance(answer, Opened)
        for one, (number, granted, returned, settled) in zip(new.values(), answer.numbers, strict=True):
            one.account = number
            one.resume(granted, returned, settled)

    def _beat(self, wanted: Iterable[Slice]) -> Beat:
        """What has changed, what is needed, and once a second everything that has something."""
        now = asyncio.get_running_loop().time()
        look = now - self._looked_at >= LOOK_S
        if look:
            self._looked_at = now
            self._notice_quiet()
        saids = {one.account: one for one in wanted}
        self._quiet.update((one.opening.name, 0) for one in saids.values())  # somebody waits for it, so it may keep a cushion again
        for one in self._slices().values():
            if one.account is not None and (one.touched or (look and (one.free or one.held or one.mode != "hard"))):
                saids[one.account] = one
        place = self._place()  # nothing is awaited between this and the telling
        quiet = self._quiet
        return Beat(Mark(*place), tuple(one.say(idle=quiet.get(one.opening.name, 0) > QUIET_LOOKS_MAX) for one in saids.values()))

    def _notice_quiet(self) -> None:
        moment, over = self._moment(), []
        for name, one in self._slices().items():
            self._quiet[name] = 0 if one.touched or one.held or one.needs else self._quiet.get(name, 0) + 1
            at_rest = not (one.held or one.free or one.touched or one.needs)
            if at_rest and (one.opening.ends <= moment or self._quiet[name] > FORGET_LOOKS_MAX):
                over.append(name)
        for name in over:
            self._quiet.pop(name, None)
        if over:
            self._forget(over)

    def _hear(self, answer: Lent) -> None:
        by_account = {one.account: one for one in self._slices().values()}
        for told in answer.tolds:
            if (one := by_account.get(told.account)) is not None:
                one.hear(told)
        self._on_hosts(answer.hosts)

    # What is said and heard.

    async def _asked(self, message: Asked) -> Answered:
        if self._writer is None:
            raise _Gone("there is no connection")
        self._writer.write(framed(message))
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._answers.get()
        except TimeoutError:
            raise _Gone("nobody answers") from None
        if isinstance(answer, Down):
            raise _Gone(answer.why)
        return answer

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                answer = decode_answered(await payload_from(reader))
                if isinstance(answer, Recall):
                    self._recall(answer.accounts)
                else:
                    self._answers.put_nowait(answer)
        except (EOFError, ConnectionError):
            self._answers.put_nowait(Down("the connection has ended"))
            self._wanted.set()

    def _recall(self, accounts: tuple[int, ...]) -> None:
        for one in self._slices().values():
            if one.account in accounts and one.free:
                one.cushion, one.touched = 0, True
        self._wanted.set()

    def _lose(self) -> None:
        """Our end was booked while we lived: what we had is the store's, and we begin again under another name."""
        log.error("the end of this worker had been booked: its leases are given up, and it begins anew")
        self.epoch, self._process = 0, ""
        self._on_fence()

    def _fail(self, why: str) -> None:
        if self.epoch:  # at the start the bank may not have begun yet: whoever waits goes on
            waiting, self._waiting = self._waiting, []
            _refuse(waiting, why)
        for one in self._slices().values():
            one.touched = True  # what was told may not have been heard
        if why != self._complaint and self.epoch:
            log.warning("budgets can't be asked (%s): what is leased goes on being spent", why)
        self._complaint = why


def _refuse(waiting: Iterable[tuple[tuple[Slice, ...], "asyncio.Future[None]"]], why: str) -> None:
    for _, future in waiting:
        if not future.done():
            future.set_exception(NotReady(why))
