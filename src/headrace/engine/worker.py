"""The worker process: it owns the model and the step loop, and speaks frames with its parent over one socket.

    python -m headrace.engine.worker FD

One loop: take what the parent sent, let the backend step, send one report. It waits only when there is nothing to compute. Interrupts
and terminations are the parent's to decide (a terminal's Ctrl-C reaches the whole group); when the parent is gone, the socket ends and
so does the worker.
"""

import ctypes
import select
import signal
import socket
import sys
from collections import deque

import msgspec

from headrace.core.errors import SetupError
from headrace.core.stream import TokenLogprob
from headrace.engine.backend import Backend, Produced
from headrace.engine.frames import (
    Accepted,
    Began,
    Broken,
    Cancel,
    Event,
    Loaded,
    Refused,
    Report,
    Setup,
    Splitter,
    Spoke,
    Submit,
    ToParent,
    ToWorker,
    frame,
)
from headrace.engine.stops import StopWatch

PR_SET_PDEATHSIG = 1


class Choice:
    """One of a request's answers, in the making."""

    def __init__(self, id: int, number: int, stops: tuple[str, ...]) -> None:
        self.id, self.number, self.watch = id, number, StopWatch(stops)
        self.logprobs: list[TokenLogprob] = []  # of text that the watch holds back


class Job:
    """A request from its acceptance to the end of its last choice."""

    def __init__(self, submit: Submit, prompt: list[int], output_max: int) -> None:
        self.submit, self.prompt, self.output_max = submit, prompt, output_max
        self.keys: list[int] = []  # of its choices begun and not over
        self.held_back = submit.choices - 1  # begin once the first has read the prompt, which they then share


class Desk:
    """The order of things: who waits, who is worked on, what is said for whom. Knows no socket."""

    def __init__(self, backend: Backend, context: int, sequences_max: int) -> None:
        self._backend, self._context, self._sequences_max = backend, context, sequences_max
        self._line: deque[Job] = deque()  # bounded by the parent, which counts before it submits
        self._jobs: dict[int, Job] = {}
        self._choices: dict[int, Choice] = {}
        self._reserved = 0
        self._key = 0

    def submit(self, submit: Submit) -> Event:
        prompt = self._backend.tokenize(submit.pieces)
        room = self._context - len(prompt)
        if room < (submit.output_max or 1):
            return Refused(submit.id, "context_length_exceeded", _too_long(self._context, len(prompt), submit.output_max), "messages")
        self._line.append(Job(submit, prompt, submit.output_max or room))
        return Accepted(submit.id)

    def cancel(self, id: int) -> None:
        self._line = deque(job for job in self._line if job.submit.id != id)
        if job := self._jobs.get(id):
            for key in [*job.keys]:
                self._backend.cancel(key)
            self._close(job)

    def seat(self) -> list[Event]:
        """Begin with whoever there is capacity for, in the order of arrival."""
        begun: list[Event] = []
        while self._line and self._reserved + self._line[0].submit.choices <= self._sequences_max:
            job = self._line.popleft()
            self._jobs[job.submit.id] = job
            self._reserved += job.submit.choices
            cached = self._begin(job, 0)
            begun.append(Began(job.submit.id, len(job.prompt), cached))
        return begun

    def step(self) -> list[Event]:
        return [event for produced in self._backend.step() if (event := self._hear(produced))]

    def _begin(self, job: Job, number: int) -> int:
        self._key += 1
        job.keys.append(self._key)
        self._choices[self._key] = Choice(job.submit.id, number, job.submit.stops)
        sampling = msgspec.structs.replace(job.submit.sampling, seed=(job.submit.sampling.seed + number) % (1 << 32))
        return self._backend.begin(self._key, job.prompt, sampling, job.output_max)

    def _hear(self, produced: Produced) -> Event | None:
        choice = self._choices.get(produced.key)
        if choice is None:
            return None
        job = self._jobs[choice.id]
        if produced.failure:
            self.cancel(choice.id)
            if produced.blame == "request":
                return Refused(choice.id, "invalid_value", produced.failure, "messages" if not job.submit.sampling.schema else None)
            return Refused(choice.id, "engine_failed", produced.failure)
        said = self._words(choice, produced)
        if said.finish and not produced.finish:
            self._backend.cancel(produced.key)
        if said.finish:
            del self._choices[produced.key]
            job.keys.remove(produced.key)
        while job.held_back:
            self._begin(job, job.submit.choices - job.held_back)
            job.held_back -= 1
        if not job.keys:
            self._close(job)
        return said

    def _words(self, choice: Choice, produced: Produced) -> Spoke:
        text = choice.watch.feed(produced.text)
        finish = "stop" if choice.watch.stopped else produced.finish
        if finish and not choice.watch.stopped:
            text += choice.watch.end()
        choice.logprobs += produced.logprobs
        logprobs: tuple[TokenLogprob, ...] = ()
        if text or (finish and not choice.watch.stopped):
            logprobs, choice.logprobs = tuple(choice.logprobs), []
        return Spoke(choice.id, choice.number, produced.tokens, text, logprobs, finish, produced.cached if choice.number == 0 else None)

    def _close(self, job: Job) -> None:
        for key in job.keys:
            del self._choices[key]
        self._reserved -= job.submit.choices
        del self._jobs[job.submit.id]


def _too_long(context: int, prompt: int, output: int | None) -> str:
    """OpenAI's words, which clients look for."""
    head = f"This model's maximum context length is {context} tokens. However, "
    if output is None or prompt >= context:
        return f"{head}your messages resulted in {prompt} tokens. Please reduce the length of the messages."
    return (
        f"{head}you requested {prompt + output} tokens ({prompt} in the messages, {output} in the completion). "
        "Please reduce the length of the messages or completion."
    )


class Line:
    """The worker's end of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._splitter = Splitter()
        self._decoder = msgspec.msgpack.Decoder(ToWorker)  # type: ignore[var-annotated]  # mypy has no types for unions as values
        self._encoder = msgspec.msgpack.Encoder()

    def receive(self, wait: bool, wake: int | None = None) -> list[ToWorker]:
        """What the parent sent; with `wait`, not before there is something or `wake` is readable. Raises EOFError at its end."""
        watched: list[socket.socket | int] = [self._connection, *([] if wake is None else [wake])]
        ready, _, _ = select.select(watched, [], [], None if wait else 0)
        if self._connection not in ready:
            return []
        data = self._connection.recv(1 << 20)
        if not data:
            raise EOFError
        return [self._decoder.decode(body) for body in self._splitter.feed(data)]

    def send(self, message: ToParent) -> None:
        self._connection.sendall(frame(self._encoder.encode(message)))


def load(setup: Setup) -> Backend:
    if setup.backend == "openvino":
        from headrace.engine.openvino import OpenVino

        return OpenVino(setup)
    from headrace.engine.llamacpp import LlamaCpp

    return LlamaCpp(setup)


def serve(line: Line) -> None:
    """Load what the parent says, then work until it is gone."""
    while not (early := line.receive(wait=True)):
        pass
    setup = early.pop(0)
    if not isinstance(setup, Setup):
        raise TypeError("the first frame is the setup")
    try:
        backend = load(setup)
    except (SetupError, RuntimeError, OSError, ValueError, ImportError) as failure:
        line.send(Broken(str(failure)))
        return
    line.send(Loaded())
    desk = Desk(backend, setup.context, setup.sequences_max)
    while True:
        events: list[Event] = []
        for message in [*early, *line.receive(wait=not backend.eager(), wake=backend.wake())]:
            match message:
                case Submit():
                    events.append(desk.submit(message))
                case Cancel(id=id):
                    desk.cancel(id)
                case Setup():
                    raise TypeError("a second setup")
        early = []
        events += desk.seat()
        if events:
            line.send(Report(events, backend.kv_use()))
        if said := desk.step():
            line.send(Report(said, backend.kv_use(), backend.notes()))


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":  # elsewhere, and for a step that is under way, the end of the socket does it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        try:
            serve(Line(connection))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return  # the parent is gone


if __name__ == "__main__":
    main()
