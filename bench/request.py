"""What a governed request costs in this process alone: no socket, no system, no other process.

    make bench-request          ARGS="--shape 2k --steps"

The door, the gateway and the transport of a real server, with everything on as in `bench.relay`, between two transports that are only
memory: a client's bytes go in, the upstream's answer comes back, the answer's bytes come out; a hard budget is lent without end. The
figure is processor time a request in a tight loop, which is far less than beside a kernel that empties the caches; it is for comparing
two versions of this code. `--steps` counts the interpreter's steps a request, function by function, which no other work on the machine
disturbs; what is done by the clock is left out. With `--shape sse` a request is a stream, each event of which comes by itself.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import uvicorn
import uvloop
from uvicorn.server import ServerState

from bench.machine import machine, tell
from bench.relay import WORDS
from bench.relay import settings as settings_for
from bench.vendor import ANSWER, BEGIN, END, EVENT, EVENTS
from headrace.api import Door, Heads, Lane
from headrace.compose.adapters import Adapters
from headrace.compose.clock import MachineClock, chance
from headrace.compose.opening import open_house, open_process
from headrace.compose.reload import Reloading, Source
from headrace.compose.reports import Reports
from headrace.compose.serve import calm_collector
from headrace.compose.settings import load_settings
from headrace.gateway import Gateway, Till
from headrace.metering import Slice, Told
from headrace.providers.dialing import Dialer
from headrace.providers.sweep import Sweep
from headrace.telemetry import Metrics

PATH = b"/v1/chat/completions"
HEAD = (
    "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\nAuthorization: Bearer {key}\r\n"
    "Content-Length: {length}\r\n\r\n"
)
ANSWERED = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Fri, 27 Nov 2026 12:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n%b" % (len(ANSWER), ANSWER.encode())
)
STREAMED = (BEGIN, *[EVENT] * EVENTS, END)
LANES = 32
PLENTY_PICO = 10**24


class Memory(asyncio.Transport):
    """A transport of which only the bytes are there."""

    def __init__(self, hear: Callable[[bytes], None]) -> None:
        super().__init__()
        self._hear = hear

    def write(self, data: Any) -> None:
        self._hear(data)

    def writelines(self, parts: Any) -> None:
        self._hear(parts[-1])

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self) -> None: ...

    def close(self) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--shape", default="2k", choices=("2k", "24k", "300k", "sse"))
    ask.add_argument("--requests", type=int, default=4_000)
    ask.add_argument("--rounds", type=int, default=9)
    ask.add_argument("--steps", action="store_true", help="also the interpreter's steps, by function")
    chosen = ask.parse_args()
    calm_collector()
    with tempfile.TemporaryDirectory(prefix="bench-request-") as scratch, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(Path(scratch), chosen))


async def _run(scratch: Path, chosen: argparse.Namespace) -> None:
    with ExitStack() as closing:
        stream = chosen.shape == "sse"
        clients = Clients(_door(scratch, closing), 2_000 if stream else int(chosen.shape.removesuffix("k")) * 1_000, stream=stream)
        await clients.ask(500)
        us = [await clients.ask(chosen.requests) / chosen.requests * 1e6 for _ in range(chosen.rounds)]
        rows = [(f"{chosen.shape} request", f"{min(us):.1f} us", f"{statistics.median(us):.1f} us")]
        figures: dict[str, float] = {f"request_us_{chosen.shape}": round(min(us), 1)}
        if chosen.steps:
            steps = await _steps(clients)
            figures[f"request_steps_{chosen.shape}"] = round(sum(steps.values()))
            rows += [(name, f"{count:.0f} steps", "") for name, count in steps.most_common(60)]
    tell(machine("headrace", "uvloop", "httptools", "msgspec"), ("what", "least", "median"), rows, figures)


class Served:
    """What answers: a door with its settings, and a key for it."""

    def __init__(self, door: Door, settings: Any, key: str) -> None:
        self.door, self.settings, self.key = door, settings, key


def _door(scratch: Path, closing: ExitStack) -> Served:
    loop = asyncio.get_running_loop()
    (scratch / "headrace.toml").write_text(settings_for({"mock": 9}))
    settings = load_settings(scratch / "headrace.toml", {})
    settings = msgspec.structs.replace(settings, storage=msgspec.structs.replace(settings.storage, path=str(scratch / "data")))

    async def dial(self: Dialer, protocol: asyncio.Protocol) -> None:
        def heard(data: bytes) -> None:
            if b'"stream": true' in data[-200:]:
                say(0)
            else:
                loop.call_soon(protocol.data_received, ANSWERED)

        def say(index: int) -> None:
            protocol.data_received(STREAMED[index])
            if index + 1 < len(STREAMED):
                loop.call_soon(say, index + 1)

        protocol.connection_made(Memory(lambda data: loop.call_soon(heard, data)))

    Dialer.dial = dial  # type: ignore[method-assign]
    Sweep.watch = lambda self, one: None  # type: ignore[method-assign]
    clock = EvenClock()
    house = open_house(settings, {}, clock, lambda *_: None, closing)
    opened = open_process(house, None, closing)  # type: ignore[arg-type]
    adapters = Adapters({}, clock, opened.names, loop)
    closing.callback(adapters.close)
    source = Source(read=lambda: settings, file=None)
    reloading = Reloading(settings=settings, source=source, environ={}, local=(), adapters=adapters, ring=opened.ring, clock=clock)
    till = Till(Plenty(), clock)
    till.change([one.budget for one in settings.budget])
    gateway = Gateway(
        world=reloading.first(),
        log=opened.usage_log,
        clock=clock,
        rng=chance(),
        spawn=lambda work: loop.create_task(work),
        till=till,
    )
    reports = Reports(clock=clock, metrics=Metrics(), tracer=None, access_log=False)
    door = Door(gateway=gateway, keys=reloading.keys, clock=clock, new_id=opened.names, report=reports, log=None)  # type: ignore[arg-type]
    return Served(door, settings.server, house.secret)


class EvenClock(MachineClock):
    """Each look at it is 10 us later than the one before, so that no pool seems slow because this machine is busy."""

    instant = staticmethod(itertools.count(0, 10_000).__next__)


class Plenty:
    """Who lends whatever is asked for."""

    epoch = 1

    async def lend(self, slices: Iterable[Slice]) -> None:
        for number, one in enumerate(slices, 1):
            one.account = number
            one.hear(Told(number, PLENTY_PICO, PLENTY_PICO, 0, PLENTY_PICO, PLENTY_PICO))


class Clients:
    """Some connections, each with one request at a time."""

    def __init__(self, served: Served, size: int, *, stream: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._left, self._done, self._stream = 0, asyncio.Event(), stream
        words = (WORDS * (size // len(WORDS) + 1))[:size]
        messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": words}]
        body = json.dumps({"model": "mock", "messages": messages, "stream": stream, "max_completion_tokens": 256}).encode()
        self._request = HEAD.format(key=served.key, length=len(body)).encode() + body
        config = uvicorn.Config(_nobody, ws="none", lifespan="off", log_config=None)
        heads, handlers = Heads(), {PATH: served.door.chat}
        self._lanes = [
            Lane(config, ServerState(), {}, self._loop, handlers=handlers, heads=heads, settings=served.settings) for _ in range(LANES)
        ]
        for lane in self._lanes:
            lane.connection_made(Memory(lambda data, lane=lane: self._heard(lane, data)))  # type: ignore[misc]

    async def ask(self, count: int) -> float:
        """So many requests; the processor time they took."""
        self._left = count
        self._done.clear()
        began = time.process_time()
        for lane in self._lanes:
            lane.data_received(self._request)
        await self._done.wait()
        return time.process_time() - began

    def _heard(self, lane: Lane, data: bytes) -> None:
        if self._stream and not data.endswith(b"\r\n\r\n"):
            return
        if self._stream and not data.rpartition(b"0\r\n")[2].startswith(b"x-headrace-cost"):
            return
        assert self._stream or data.startswith(b"HTTP/1.1 200 OK"), data[:400]
        self._left -= 1
        if self._left >= LANES:
            self._loop.call_soon(lane.data_received, self._request)
        elif not self._left:
            self._done.set()


async def _nobody(scope: object, receive: object, send: object) -> None:
    """The application for what is no hot route: nobody asks for it here."""


async def _steps(clients: Clients) -> Counter[str]:
    """Bytecodes that the interpreter executes for a request, by the function they are in."""
    steps: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        code = frame.f_code
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            steps[f"{Path(code.co_filename).name} {code.co_qualname}"] += 1
        return trace

    count = 16 * LANES  # as many as whole batches of metrics
    asyncio.get_running_loop().call_soon(sys.settrace, trace)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await clients.ask(count)
    sys.settrace(None)
    for name in steps:
        steps[name] /= count  # type: ignore[assignment]
    return steps


if __name__ == "__main__":
    main()
