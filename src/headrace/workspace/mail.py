"""What a person tells a run, as files in its folder: more to do, to stop, an answer. Whoever works on the run takes them.

A letter stays until it is taken, so it outlives any process; and since the run may be worked on by another worker of the server, this is
how each reaches it.
"""

import os
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from headrace.agents.events import PersonSaid

MAIL: Final = "mail"


class Say(msgspec.Struct, frozen=True, tag=True):
    """The person says more. While the run goes on it is heard at the next step: that is how it is steered."""

    text: str
    pictures: tuple[str, ...] = ()

    @property
    def event(self) -> PersonSaid:
        return PersonSaid(self.text, self.pictures)


class Task(msgspec.Struct, frozen=True, tag=True):
    """Another agent says more, or what is to be done at all: nothing in it counts as the person's word."""

    text: str


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Stop what is being done, now."""


class Halt(msgspec.Struct, frozen=True, tag=True):
    """Stop the command that runs; the run goes on with what it has said."""


class Answer(msgspec.Struct, frozen=True, tag=True):
    """The person's word on calls that leave was asked for, by their ids."""

    calls: dict[str, bool]


class Fate(msgspec.Struct, frozen=True, tag=True):
    """Whether an effect that a crash cut off has happened."""

    happened: bool


class More(msgspec.Struct, frozen=True, tag=True):
    """Go on, with so much more to use."""

    pico_usd: int = 0
    tokens: int = 0
    steps: int = 0


class Go(msgspec.Struct, frozen=True, tag=True):
    """Go on where the run was: after a failure, or as a new branch."""


Letter: TypeAlias = Say | Task | Stop | Halt | Answer | Fate | More | Go

_decoder = msgspec.json.Decoder(Letter)


def post(home: Path, name: str, letter: Letter) -> Path:
    """Put it into the run's box. `name` sorts by time."""
    box = home / MAIL
    box.mkdir(mode=0o700, exist_ok=True)
    draft = box / f".{name}"
    draft.write_bytes(msgspec.json.encode(letter))
    path = box / name
    draft.replace(path)
    return path


def waits(home: Path) -> bool:
    """Whether there is any."""
    return bool(_names(home))


def take(home: Path) -> list[Letter]:
    """All of it, the oldest first; it is gone then. For who holds the run's log."""
    letters: list[Letter] = []
    for name in _names(home):
        path = home / MAIL / name
        letters.append(_decoder.decode(path.read_bytes()))
        path.unlink()
    return letters


def spoken(home: Path) -> list[PersonSaid]:
    """What the person has said that is not taken yet."""
    letters = (_decoder.decode((home / MAIL / name).read_bytes()) for name in _names(home))
    return [letter.event for letter in letters if isinstance(letter, Say)]


def _names(home: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(home / MAIL) if not name.startswith("."))
    except FileNotFoundError:
        return []
