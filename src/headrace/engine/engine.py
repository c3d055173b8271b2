"""The engine: one worker process with the model, and the order of what happens to a request before and after it.

    chat ──> validated, rendered ──> line is full? QueueFull ──> submitted ──> waiting ──Began──> running ──last Spoke──> over
                                                                   └───────── left, refused ─────────┘

The parent keeps every request until it is over, so that a worker's death loses only those that had begun: they fail, the ones still
waiting are submitted to the next worker.
"""

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import msgspec

from headrace.core.errors import ContextLengthExceeded, EngineFailed, HeadraceError, InvalidRequest, QueueFull, SetupError
from headrace.engine.answer import Answer
from headrace.engine.choosing import backend_for, kv_tokens_for, missing_for
from headrace.engine.frames import Accepted, Began, Cancel, Event, Refused, Report, Setup, Spoke, Submit, ToParent
from headrace.engine.gguf import read_gguf
from headrace.engine.request import order_of
from headrace.engine.settings import EngineSettings, threads_for
from headrace.engine.status import EngineStatus, ModelInfo
from headrace.engine.supervisor import Supervisor
from headrace.engine.weights import digest, name_of
from headrace.wire.openai_chat import ChatRequest

if TYPE_CHECKING:
    from headrace.engine.template import ChatTemplate

PACE_KEPT = 32  # answers by which the pace is judged


class Pending:
    """A request that is not over."""

    def __init__(self, submit: Submit, answer: Answer, schema_param: str) -> None:
        self.submit, self.answer, self.schema_param, self.begun = submit, answer, schema_param, False


class Engine:
    """An embedded language model. `weights` is a GGUF, `cache` a folder of ours for what is derived from it; `new_id` names tool calls,
    and `rng` gives seeds to requests that name none."""

    def __init__(
        self,
        weights: Path,
        settings: EngineSettings,
        cache: Path,
        new_id: Callable[[], str],
        log: logging.Logger | None = None,
        rng: Random | None = None,
    ) -> None:
        self._weights, self._settings, self._cache, self._new_id, self._rng = weights, settings, cache, new_id, rng or Random()
        self._log = log or logging.getLogger(__name__)
        self._worker = Supervisor[Report](
            self, "headrace.engine.worker", f"model {weights}", settings.load_timeout_s, settings.stall_timeout_s, self._log
        )
        self._pending: dict[int, Pending] = {}  # bounded: sequences_max running and queue_max waiting
        self._serial = 0
        self._pace: deque[float] = deque(maxlen=PACE_KEPT)
        self._kv_use = 0.0
        self._counts = dict.fromkeys(("tokens_in", "tokens_cached", "tokens_out", "answered", "failed", "left", "refused"), 0)
        self._decoder = msgspec.msgpack.Decoder(ToParent)
        self._encode = msgspec.msgpack.Encoder().encode

    async def start(self, tasks: asyncio.TaskGroup) -> ModelInfo:
        """Load the model; from then on a task of `tasks` keeps a worker alive until `stop`. Raises SetupError when it can't be loaded."""
        begun_at = _now()
        self._setup, self._template, model = await asyncio.to_thread(self._prepare)
        await self._worker.start(tasks)
        self.model = msgspec.structs.replace(model, load_s=round(_now() - begun_at, 3))
        return self.model

    def chat(self, ask_id: str, request: ChatRequest) -> Answer:
        """Answer `request`. Raises InvalidRequest, UnsupportedParameter or QueueFull at once; what the tokens decide
        (ContextLengthExceeded) or what breaks later (EngineFailed) is raised while the answer is read."""
        order = order_of(request, self._settings, self._setup.backend, self._rng.getrandbits(32))
        pieces = self._template.render(request.messages, order.tools)
        self._admit(order.choices)
        self._serial += 1
        id = self._serial
        submit = Submit(id, pieces, order.sampling, order.choices, order.stops, order.output_max)
        answer = Answer(id, order, self.model.name, self._new_id, self._leave)
        if not self._pending:
            self._worker.work_begins()
        self._pending[id] = Pending(submit, answer, order.schema_param)
        self._log.debug("engine takes up %s as %d", ask_id, id)
        self._worker.send(self._encode(submit))
        return answer

    def status(self) -> EngineStatus:
        running = sum(pending.submit.choices for pending in self._pending.values() if pending.begun)
        waiting = sum(not pending.begun for pending in self._pending.values())
        return EngineStatus(
            ready=self._worker.ready, running=running, waiting=waiting, kv_use=self._kv_use if running else 0.0,
            restarts=self._worker.restarts, worker_pid=self._worker.pid, rss_bytes=_rss_bytes(self._worker.pid), **self._counts,
        )  # fmt: skip

    async def stop(self) -> None:
        """End the worker; requests not over fail."""
        await self._worker.stop()

    def setup(self) -> bytes:
        return self._encode(self._setup)

    def decode(self, body: bytes) -> object:
        return self._decoder.decode(body)

    def heard(self, report: Report) -> None:
        self._kv_use = report.kv_use
        for note in report.notes:
            self._log.warning("engine: %s", note)
        for event in report.events:
            pending = self._pending.get(event.id)
            if pending is not None:  # else it was left, and the worker didn't know yet
                self._happened(pending, event)

    def up(self) -> None:
        for pending in self._pending.values():
            self._worker.send(self._encode(pending.submit))

    def down(self, why: str, last: bool) -> None:
        for pending in [each for each in self._pending.values() if each.begun or last]:
            pending.answer.fail(EngineFailed(why, retry_after_ms=1000))
            self._close(pending, "failed")

    def busy(self) -> bool:
        return bool(self._pending)

    def _prepare(self) -> tuple[Setup, "ChatTemplate", ModelInfo]:
        """All that reads files, off the event loop."""
        settings, facts = self._settings, read_gguf(self._weights)
        backend = backend_for(facts, settings.backend)
        if missing := missing_for(backend):
            raise SetupError(f"The embedded engine needs the Python packages {', '.join(missing)}: pip install 'headrace[engine]'.")
        from headrace.engine.template import ChatTemplate  # needs Jinja, of the extra

        sha256, kv_tokens = digest(self._weights, self._cache), kv_tokens_for(facts, backend, settings.kv_cache_mb)
        threads = threads_for(backend, settings.threads)
        setup = Setup(
            backend=backend, weights=str(self._weights), converted=str(self._cache / "openvino" / sha256),
            context=min(kv_tokens, facts.context or kv_tokens, settings.context_max or kv_tokens), kv_tokens=kv_tokens,
            threads=threads, sequences_max=settings.sequences_max,
            prefill_tokens_max=settings.prefill_tokens_max,
        )  # fmt: skip
        template = ChatTemplate(facts.template, facts.bos, facts.eos, facts.control, _today)
        model = ModelInfo(
            name=name_of(self._weights, facts.name, self._cache), architecture=facts.architecture, parameters=facts.parameters,
            quantisation="+".join(sorted(facts.tensor_types - {"F32"})), sha256=sha256, backend=backend, threads=threads,
            context=setup.context, kv_tokens_max=kv_tokens, template_knows_tools=template.knows_tools, load_s=0.0,
        )  # fmt: skip
        return setup, template, model

    def _admit(self, choices: int) -> None:
        """Raises QueueFull when there is neither a seat nor a place in the line."""
        free = self._settings.sequences_max - sum(pending.submit.choices for pending in self._pending.values() if pending.begun)
        line = deque(pending.submit.choices for pending in self._pending.values() if not pending.begun)
        while line and line[0] <= free:  # these are about to be seated
            free -= line.popleft()
        if len(line) < self._settings.queue_max or (not line and choices <= free):
            return
        self._counts["refused"] += 1
        wait_ms = self._place_expected_ms()
        raise QueueFull(f"The engine's waiting line is full ({len(line)} requests). Try again in {wait_ms} ms.", retry_after_ms=wait_ms)

    def _place_expected_ms(self) -> int:
        """When the next answer should be over, and so a place in the line be free, at the pace of the last ones."""
        if len(self._pace) < 2:
            return 1000
        between_s = (self._pace[-1] - self._pace[0]) / (len(self._pace) - 1)
        since_s = _now() - self._pace[-1]
        return int(1000 * min(60.0, max(0.05, between_s, since_s / 2)))

    def _leave(self, id: int) -> None:
        pending = self._pending.get(id)
        if pending is not None:
            self._close(pending, "left")
            self._worker.send(self._encode(Cancel(id)))

    def _happened(self, pending: Pending, event: Event) -> None:
        match event:
            case Accepted():
                pass
            case Began():
                pending.begun = True
                pending.answer.began(event)
            case Spoke():
                if pending.answer.spoke(event):
                    self._close(pending, "answered")
                    self._pace.append(_now())
            case Refused():
                pending.answer.fail(_failure(event, pending.schema_param))
                self._close(pending, "failed")

    def _close(self, pending: Pending, how: str) -> None:
        del self._pending[pending.submit.id]
        used = pending.answer.used
        self._counts[how] += 1
        self._counts["tokens_in"] += used.tokens_in
        self._counts["tokens_cached"] += used.cache_read
        self._counts["tokens_out"] += used.tokens_out


def _failure(event: Refused, schema_param: str) -> HeadraceError:
    match event.code:
        case "context_length_exceeded":
            return ContextLengthExceeded(event.message, param=event.param)
        case "invalid_value":
            return InvalidRequest(event.message, param=event.param or schema_param)
        case "engine_failed":
            return EngineFailed(event.message, retry_after_ms=1000)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _today() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 -- some templates tell the model the date; nothing is decided by it


def _rss_bytes(pid: int | None) -> int:
    """Resident memory of a process, where the system says it in /proc; else 0."""
    if pid is not None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGESIZE")
    return 0
