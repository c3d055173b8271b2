"""The order of things inside the worker, over a backend that is played."""

from collections.abc import Sequence

from headrace.engine.backend import Produced
from headrace.engine.frames import Accepted, Began, Refused, Sampling, Splitter, Spoke, Submit, frame
from headrace.engine.worker import Desk

FREE = Sampling(
    temperature=0, top_p=1, top_k=0, min_p=0, frequency_penalty=0, presence_penalty=0, repetition_penalty=1, seed=0, output_min=0,
    ignore_end=False, logprobs=None, schema="",
)  # fmt: skip


class Played:
    """A backend whose sequences say what the test gives them; a token is a character."""

    def __init__(self) -> None:
        self.running: dict[int, list[Produced]] = {}
        self.cancelled: list[int] = []
        self.produced: list[Produced] = []

    def tokenize(self, pieces: Sequence[str]) -> list[int]:
        return [ord(character) for character in "".join(pieces)]

    def begin(self, key: int, prompt: Sequence[int], sampling: Sampling, output_max: int) -> int:
        self.running[key] = []
        return 0

    def cancel(self, key: int) -> None:
        self.cancelled.append(key)
        self.running.pop(key, None)

    def step(self) -> list[Produced]:
        produced, self.produced = self.produced, []
        return produced

    def eager(self) -> bool:
        return bool(self.running)

    def wake(self) -> int | None:
        return None

    def kv_use(self) -> float:
        return 0.0

    def notes(self) -> list[str]:
        return []


def submit(id: int, prompt: str = "hello", choices: int = 1, stops: tuple[str, ...] = (), output_max: int | None = 5) -> Submit:
    return Submit(id, (prompt,), FREE, choices, stops, output_max)


def desk(sequences_max: int = 2) -> tuple[Desk, Played]:
    backend = Played()
    return Desk(backend, context=20, sequences_max=sequences_max), backend


def test_first_come_first_seated_and_whoever_leaves_makes_room() -> None:
    table, backend = desk()
    assert [table.submit(submit(id)) for id in (1, 2, 3, 4)] == [Accepted(1), Accepted(2), Accepted(3), Accepted(4)]
    assert table.seat() == [Began(1, 5, 0), Began(2, 5, 0)]
    assert not table.seatable()
    table.cancel(3)
    table.cancel(1)
    assert backend.cancelled == [1]
    assert table.seat() == [Began(4, 5, 0)]
    backend.produced = [Produced(1, 1, "late")]
    assert table.step() == [], "what was cancelled is heard no more"


def test_choices_begin_when_the_prompt_is_read_and_share_it() -> None:
    table, backend = desk(sequences_max=3)
    table.submit(submit(1, choices=3))
    table.submit(submit(2))
    assert table.seat() == [Began(1, 5, 0)]
    assert len(backend.running) == 1
    backend.produced = [Produced(1, 1, "a", cached=4)]
    assert table.step() == [Spoke(1, 0, 1, "a", cached=4)]
    assert len(backend.running) == 3
    backend.produced = [Produced(key, 1, "b", finish="length", cached=4) for key in (1, 2, 3)]
    assert [(event.choice, event.cached) for event in table.step() if isinstance(event, Spoke)] == [(0, 4), (1, None), (2, None)]
    assert table.seat() == [Began(2, 5, 0)]


def test_a_stop_text_ends_the_sequence() -> None:
    table, backend = desk()
    table.submit(submit(1, stops=("END",)))
    table.seat()
    backend.produced = [Produced(1, 1, "one E"), Produced(1, 2, "ND two")]
    assert table.step() == [Spoke(1, 0, 1, "one "), Spoke(1, 0, 2, "", finish="stop")]
    assert backend.cancelled == [1]
    assert not table.seatable()


def test_the_context_is_enforced_before_anything_runs() -> None:
    table, _ = desk()
    refused = table.submit(submit(1, prompt="x" * 16))
    assert isinstance(refused, Refused)
    assert refused.code == "context_length_exceeded"
    assert (
        "maximum context length is 20 tokens. However, you requested 21 tokens (16 in the messages, 5 in the completion)" in refused.message
    )
    assert table.submit(submit(2, prompt="x" * 15)) == Accepted(2)
    assert table.submit(submit(3, prompt="x" * 19, output_max=None)) == Accepted(3)
    assert isinstance(table.submit(submit(4, prompt="x" * 20, output_max=None)), Refused)


def test_a_failure_ends_the_request_and_frees_its_seat() -> None:
    table, backend = desk(sequences_max=1)
    table.submit(submit(1))
    table.submit(submit(2))
    table.seat()
    backend.produced = [Produced(1, 0, "", failure="broke")]
    assert table.step() == [Refused(1, "engine_failed", "broke")]
    assert table.seatable()


def test_frames_survive_any_cut() -> None:
    bodies = [b"", b"a", b"b" * 70_000]
    wire = b"".join(frame(body) for body in bodies)
    for size in (1, 3, 4096, len(wire)):
        splitter = Splitter()
        assert [body for at in range(0, len(wire), size) for body in splitter.feed(wire[at : at + size])] == bodies
