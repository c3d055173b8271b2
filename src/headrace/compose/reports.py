"""What is told of a request when it is over: to metrics always, to the log and to traces where they are on."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from headrace.compose.clock import MachineClock
from headrace.compose.world import LocalPool
from headrace.core.ask import Ask, Operation
from headrace.core.clock import MS, SECOND, Instant
from headrace.core.money import usd
from headrace.core.usage import Usage
from headrace.gateway import Gateway, Room, Visit
from headrace.storage import UsageLog
from headrace.telemetry import Metrics, Tracer

access = logging.getLogger("headrace.access")
UNKNOWN = "unknown"
ENDED_MAX = 256
SHARED = "metrics."
TOLD_EVERY_S = 1.0
Ended: TypeAlias = tuple[tuple[str, str, str, str], int, int, int | None, Usage | None]
"""Labels, status, how long it took and until something was said (streams only) in nanoseconds, usage."""


class Reports:
    """Called once a request, after its last byte."""

    def __init__(self, *, clock: MachineClock, metrics: Metrics, tracer: Tracer | None, access_log: bool, file: Path | None = None) -> None:
        """`file`: where this worker tells its metrics to the others of the same server."""
        self._file = file
        self._clock, self._metrics, self._tracer, self._access_log = clock, metrics, tracer, access_log
        self._ended: list[Ended] = []

    def __call__(
        self, *, request: str, operation: Operation, ask: Ask | None, visit: Visit | None, status: int, client: str, began: Instant
    ) -> None:
        took = self._clock.instant() - began
        if ask is not None and visit is not None:
            said_at = visit.first_said_at if ask.stream else None
            who = (operation, ask.model, ask.traffic_class, visit.pool or UNKNOWN)
            self._ended.append((who, status, took, None if said_at is None else said_at - began, visit.usage))
        else:
            self._ended.append(((operation, UNKNOWN, UNKNOWN, UNKNOWN), status, took, None, None))
        if len(self._ended) >= ENDED_MAX:
            self.count()
        if self._access_log:
            self._tell(request, operation, ask, visit, status, client, took)
        if self._tracer is not None:
            self._trace(operation, ask, visit, status, took)

    def count(self) -> None:
        """Take what ended into the metrics: many at once cost a third of one by one, so it is done now and then, and before a scrape."""
        ended, self._ended = self._ended, []
        for labels, status, took, said_after, usage in ended:
            tokens_out = usage.tokens_out if usage is not None else 0
            self._metrics.observe(
                labels,
                status=status,
                duration_s=took / SECOND,
                ttft_s=said_after / SECOND if said_after is not None else None,
                tpot_s=(took - said_after) / SECOND / (tokens_out - 1) if said_after is not None and tokens_out > 1 else None,
                usage=usage,
            )

    def text(self) -> bytes:
        """The metrics as of now, of all workers; of the others as they told them last."""
        self.count()
        if self._file is None:
            return self._metrics.text()
        others = [path for path in self._file.parent.glob(f"{SHARED}*") if path != self._file and path.suffix != ".new"]
        return self._metrics.text([path.read_bytes() for path in others])

    async def keep_telling(self) -> None:
        """Tell the other workers what this one has counted, every second; whichever is scraped adds all up."""
        assert self._file is not None
        draft = self._file.with_name(f"{self._file.name}.new")
        while True:
            await asyncio.sleep(TOLD_EVERY_S)
            self.count()
            draft.write_bytes(self._metrics.state())
            draft.replace(self._file)

    def _tell(self, request: str, operation: Operation, ask: Ask | None, visit: Visit | None, status: int, client: str, took: int) -> None:
        facts: dict[str, object] = {"status": status, "ms": took // MS, "request": request, "client": client}
        if ask is not None:
            facts["key"] = ask.principal.key
        if visit is not None and visit.usage is not None:
            usage = visit.usage
            facts |= {"pool": visit.pool, "in": usage.tokens_in, "cached": usage.cache_read, "out": usage.tokens_out}
            facts["usd"] = usd(visit.cost_pico) if visit.cost_pico is not None else "unpriced"
        access.info("%s %s", operation, ask.model if ask is not None else "-", extra=facts)

    def _trace(self, operation: Operation, ask: Ask | None, visit: Visit | None, status: int, took: int) -> None:
        assert self._tracer is not None
        end = self._clock.moment()
        attributes: dict[str, str | int | float | bool] = {"gen_ai.operation.name": operation, "gen_ai.provider.name": "headrace"}
        if ask is not None:
            attributes |= {"gen_ai.request.model": ask.model, "gen_ai.request.stream": ask.stream, "headrace.request": ask.request}
        if visit is not None and visit.usage is not None:
            attributes |= {
                "gen_ai.usage.input_tokens": visit.usage.tokens_in,
                "gen_ai.usage.output_tokens": visit.usage.tokens_out,
                "gen_ai.usage.cache_read.input_tokens": visit.usage.cache_read,
                "headrace.pool": visit.pool or UNKNOWN,
            }
        if status >= 400:
            attributes["error.type"] = str(status)
        self._tracer(f"{operation} {ask.model if ask else UNKNOWN}", end - took, end, attributes, status >= 500)

    def watch(self, gateway: Gateway, local: Sequence[LocalPool], usage_log: UsageLog) -> None:
        """Gauges and counters of what is going on, read when somebody scrapes."""
        metrics = self._metrics

        def each(of: Callable[[Room], float]) -> Callable[[], dict[str, float]]:
            return lambda: {name: of(room) for name, room in gateway.world.rooms.items()}

        metrics.gauge("headrace_requests_inflight", "Requests that a pool works on.", each(lambda room: room.own))
        metrics.gauge("headrace_requests_waiting", "Requests in the line of a pool.", each(lambda room: room.load.waiting))
        metrics.gauge(
            "headrace_pool_open", "1 while a pool may be asked.", each(lambda room: room.health.state in ("open", "recovering")), adds=False
        )
        metrics.gauge(
            "headrace_pool_concurrency_limit", "Requests a pool may work on at once now.", each(lambda room: room.load.limit), adds=False
        )
        metrics.gauge(
            "headrace_pool_ttft_seconds",
            "Time to the first token, moving average.",
            each(lambda room: room.load.ttft_ms / 1000),
            adds=False,
        )
        metrics.gauge("headrace_usage_log_open_admits", "Attempts that are admitted and not settled.", lambda: usage_log.open_admits)

        def guarded() -> dict[str, float]:
            guards = gateway.world.guards
            return {} if guards is None else {"|".join(said): float(count) for said, count in guards.tally.items()}

        verdicts = ("headrace_guardrail", "headrace_way", "headrace_verdict")
        metrics.counter("headrace_guardrail_verdicts", "What guardrails found, by what came of it.", guarded, labels=verdicts)
        if not local:
            return
        engines = {one.pool.name: one.engine for one in local}

        def of(field: str) -> Callable[[], dict[str, float]]:
            return lambda: {name: getattr(engine.status(), field) for name, engine in engines.items()}

        def gauge(name: str, help: str, field: str) -> None:
            metrics.gauge(f"headrace_engine_{name}", help, of(field), adds=False)  # all workers have the same engines

        def counter(name: str, help: str, field: str) -> None:
            metrics.counter(f"headrace_engine_{name}", help, of(field), adds=False)

        gauge("requests_running", "Answers that the engine works on.", "running")
        gauge("requests_waiting", "Requests in the engine's line.", "waiting")
        gauge("kv_cache_usage_ratio", "Share of the key-value cache in use.", "kv_use")
        gauge("resident_memory_bytes", "Memory of the engine's worker.", "rss_bytes")
        gauge("ready", "1 while the engine's worker can answer.", "ready")
        counter("prompt_tokens", "Prompt tokens the engine was given.", "tokens_in")
        counter("prefix_cache_hit_tokens", "Prompt tokens found in its cache.", "tokens_cached")
        counter("generation_tokens", "Tokens the engine made.", "tokens_out")
        counter("restarts", "Times the engine's worker was started again.", "restarts")
