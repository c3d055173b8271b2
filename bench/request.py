"""What a governed request costs in this process alone: no socket, no system, no other process.

    make bench-request          ARGS="--shape 2k --profile"

The door, the gateway and the transport of a real server, with everything on as in `bench.relay`, between two transports that are only
memory: a client's bytes go in, the upstream's answer comes back, the answer's bytes come out. The figure is processor time a request in a
tight loop, which is far less than beside a kernel that empties the caches; it is for comparing two versions of this code.
"""

import argparse
import asyncio
import cProfile
import gc
import json
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
import uvloop
from uvicorn.server import ServerState

from bench.machine import machine, tell
from bench.relay import WORDS, settings as settings_for
from bench.vendor import ANSWER
from headrace.api import Door, Heads, Lane
from headrace.compose.adapters import Adapters
from headrace.compose.clock import MachineClock, chance
from headrace.compose.opening import open_house, open_process
from headrace.compose.reload import Reloading, Source
from headrace.compose.reports import Reports
from headrace.compose.serve import _calm_collector
from headrace.compose.settings import load_settings
from headrace.gateway import Gateway
from headrace.providers.dialing import Dialer
from headrace.telemetry import Metrics

HEAD = (
    "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\nAuthorization: Bearer {key}\r\n"
    "Content-Length: {length}\r\n\r\n"
)
LANES = 32


class Memory(asyncio.Transport):
    """A transport of which only the bytes are there."""

    def __init__(self, hear: Callable[[bytes], None]) -> None:
        super().__init__()
        self._hear = hear

    def write(self, data: Any) -> None:
        self._hear(data)

    def writelines(self, parts: Any) -> None:
        self._hear(b"".join(parts))

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
    ask.add_argument("--shape", default="2k", choices=("2k", "24k", "300k"))
    ask.add_argument("--requests", type=int, default=4_000)
    ask.add_argument("--rounds", type=int, default=9)
    ask.add_argument("--profile", action="store_true", help="by function, with the profiler's own cost in it")
    ask.add_argument("--opcodes", action="store_true")
    chosen = ask.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-request-") as scratch, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        took = runner.run(_measure(Path(scratch), chosen))
    us = [one / chosen.requests * 1e6 for one in took]
    tell(
        machine("headrace", "uvloop", "httptools", "msgspec"),
        ("shape", "least", "median"),
        [(chosen.shape, f"{min(us):.1f} us", f"{statistics.median(us):.1f} us")],
        {f"request_us_{chosen.shape}": round(min(us), 1)},
    )


async def _measure(scratch: Path, chosen: argparse.Namespace) -> list[float]:
    loop = asyncio.get_running_loop()
    size = int(chosen.shape.removesuffix("k")) * 1_000
    (scratch / "headrace.toml").write_text(settings_for({"mock": 9}))
    settings = load_settings(scratch / "headrace.toml", {})
    settings = msgspec.structs.replace(settings, storage=msgspec.structs.replace(settings.storage, path=str(scratch / "data")))
    answer = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Fri, 27 Nov 2026 12:00:00 GMT\r\nContent-Type: application/json\r\n"
    answer += b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n%b" % (len(ANSWER), ANSWER.encode())

    async def dial(self: Dialer, protocol: asyncio.Protocol) -> None:
        protocol.connection_made(Memory(lambda data: loop.call_soon(protocol.data_received, answer)))

    Dialer.dial = dial  # type: ignore[method-assign]
    with ExitStack() as closing:
        clock = MachineClock()
        house = open_house(settings, {}, clock, lambda *_: None, closing)
        opened = open_process(house, None, closing)  # type: ignore[arg-type]
        adapters = Adapters({}, clock, opened.names, loop)
        reloading = Reloading(
            settings=settings,
            source=Source(read=lambda: settings, file=None),
            environ={},
            local=(),
            adapters=adapters,
            ring=opened.ring,
            clock=clock,
        )
        gateway = Gateway(
            world=reloading.first(), log=opened.usage_log, clock=clock, rng=chance(), spawn=lambda work: loop.create_task(work)
        )
        reports = Reports(clock=clock, metrics=Metrics(), tracer=None, access_log=False)
        door = Door(gateway=gateway, keys=reloading.keys, clock=clock, new_id=opened.names, report=reports, log=None)  # type: ignore[arg-type]
        config = uvicorn.Config(lambda: None, http="h11", ws="none", lifespan="off")
        config.loaded_app = config.app  # type: ignore[assignment]
        done = asyncio.Event()
        left = 0

        def heard(lane: Lane, request: bytes, data: bytes) -> None:
            nonlocal left
            assert b"200 OK" in data[:40], data[:400]
            left -= 1
            if left >= LANES:
                loop.call_soon(lane.data_received, request)
            elif not left:
                done.set()

        words = (WORDS * (size // len(WORDS) + 1))[:size]
        body = json.dumps(
            {
                "model": "mock",
                "messages": [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": words}],
                "stream": False,
                "max_completion_tokens": 256,
            }
        ).encode()
        request = HEAD.format(key=house.secret, length=len(body)).encode() + body
        lanes, heads = [], Heads()
        for _ in range(LANES):
            lane = Lane(
                config, ServerState(), {}, loop, handlers={b"/v1/chat/completions": door.chat}, heads=heads, settings=settings.server
            )
            lane.connection_made(Memory(lambda data, lane=lane: heard(lane, request, data)))
            lanes.append(lane)

        async def some(count: int) -> float:
            nonlocal left
            left = count
            done.clear()
            began = time.process_time()
            for lane in lanes:
                lane.data_received(request)
            await done.wait()
            return time.process_time() - began

        await some(500)
        _calm_collector()
        took = [await some(chosen.requests) for _ in range(chosen.rounds)]
        if chosen.profile:
            with cProfile.Profile() as profile:
                await some(chosen.requests)
            pstats.Stats(profile).sort_stats("tottime").print_stats(60)
        if chosen.opcodes:
            import sys
            from collections import Counter

            ops: Counter[str] = Counter()
            calls: Counter[str] = Counter()

            def tr(frame, event, arg):
                c = frame.f_code
                name = c.co_filename.rpartition("/")[2] + ":" + c.co_qualname
                if event == "call":
                    calls[name] += 1
                    frame.f_trace_opcodes = True
                    frame.f_trace_lines = False
                elif event == "opcode":
                    ops[name] += 1
                return tr

            def on():
                sys.settrace(tr)

            n = 320
            loop.call_soon(on)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await some(n)
            sys.settrace(None)
            print("opcodes a request", sum(ops.values()) / n, "calls", sum(calls.values()) / n)
            for name, c in ops.most_common(90):
                print(f"{c / n:8.1f} {calls[name] / n:6.1f} {name}")
        adapters.close()
        return took


if __name__ == "__main__":
    main()
