"""The small protocol that an inference library is driven by, inside of the worker.

A backend knows sequences, not requests: each has a key, a prompt of tokens, and ends once. The worker owns the order of things
(line, choices, stop texts); the backend owns tokens.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from headrace.core.stream import TokenLogprob
from headrace.engine.frames import Sampling


class Produced(msgspec.Struct, frozen=True):
    """One sequence went on by `tokens` generated tokens, those that end an answer included, which together say `text`.

    With `finish` it is over. With `failure` it is over too: `blame` says whether the request or the engine was at fault.
    """

    key: int
    tokens: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: Literal["stop", "length"] | None = None
    cached: int | None = None
    failure: str = ""
    blame: Literal["request", "engine"] = "engine"


class Backend(Protocol):
    """One loaded model."""

    def tokenize(self, pieces: Sequence[str]) -> list[int]:
        """The prompt's tokens. Tokens that steer are read within a piece, never across two."""
        ...

    def begin(self, key: int, prompt: Sequence[int], sampling: Sampling, output_max: int) -> int:
        """Take up a sequence; says how many tokens of its prompt need no computing, as far as is known now."""
        ...

    def cancel(self, key: int) -> None:
        """Give up a sequence: its capacity is free by the next step, and nothing more is produced for it."""
        ...

    def step(self) -> list[Produced]:
        """Go on by one step for all sequences, or collect what threads produced since the last call. Never raises for a sequence."""
        ...

    def eager(self) -> bool:
        """Whether `step` has work to do now, rather than when `wake` becomes readable."""
        ...

    def wake(self) -> int | None:
        """A file descriptor that becomes readable when `step` has something to collect, for backends with threads of their own."""
        ...

    def kv_use(self) -> float:
        """The share of the key-value cache in use, 0 to 1."""
        ...

    def notes(self) -> list[str]:
        """What an operator should know and hasn't been told yet."""
        ...
