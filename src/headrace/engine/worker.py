"""The worker process: it owns the model and the step loop, and speaks frames with its parent over one socket.

    python -m headrace.engine.worker FD

One loop: take what the parent sent, let the backend step, send one report. It waits only when there is nothing to compute.
"""

from collections import deque

import msgspec

from headrace.core.errors import SetupError
from headrace.core.stream import TokenLogprob
from headrace.engine.backend import Backend, Produced
from headrace.engine.frames import Accepted, Began, Broken, Cancel, Event, Loaded, Refused, Report, Setup, Spoke, Submit, ToWorker
from headrace.engine.line import Line, run
from headrace.engine.stops import StopWatch


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

    def seatable(self) -> bool:
        """Whether who is first in line can begin."""
        return bool(self._line) and self._reserved + self._line[0].submit.choices <= self._sequences_max

    def seat(self) -> list[Event]:
        """Begin with whoever there is capacity for, in the order of arrival."""
        begun: list[Event] = []
        while self.seatable():
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
                return Refused(choice.id, "invalid_value", produced.failure, None if job.submit.sampling.schema else "messages")
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


def load(setup: Setup) -> Backend:
    if setup.backend == "openvino":
        from headrace.engine.openvino import OpenVino

        return OpenVino(setup)
    from headrace.engine.llamacpp import LlamaCpp

    return LlamaCpp(setup)


def serve(line: Line[ToWorker]) -> None:
    """Load what the parent says, then work until it is gone."""
    setup, early = line.first()
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
        for message in [*early, *line.receive(wait=not (early or desk.seatable() or backend.eager()), wake=backend.wake())]:
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


if __name__ == "__main__":
    run(lambda connection: serve(Line(connection, msgspec.msgpack.Decoder(ToWorker))))
