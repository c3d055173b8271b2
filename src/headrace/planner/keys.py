"""What the columns and rows of a plan are called: each a value that says what it stands for."""

from typing import TypeAlias

import msgspec


class State(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """`outage`: what is gone; None: nothing."""

    quarter: int
    case: int
    block: int
    outage: str | None = None


class Buy(msgspec.Struct, frozen=True, gc=False):
    place: int
    offer: int
    quarter: int


class Rent(msgspec.Struct, frozen=True, gc=False):
    place: int
    offer: int
    state: State


class Used(msgspec.Struct, frozen=True, gc=False):
    """Accelerators of an offer that is paid by use, above what is paid anyway."""

    place: int
    offer: int
    state: State


class Extra(msgspec.Struct, frozen=True, gc=False):
    """Accelerator-hours above what is paid anyway."""

    place: int
    offer: int
    quarter: int
    case: int


class Flow(msgspec.Struct, frozen=True, gc=False):
    state: State
    place: int
    demand: int


class Unserved(msgspec.Struct, frozen=True, gc=False):
    state: State
    demand: int


class Excess(msgspec.Struct, frozen=True, gc=False):
    state: State
    demand: int


class Spent(msgspec.Struct, frozen=True, gc=False):
    """What is paid to a vendor of tokens up to its minimum."""

    place: int
    quarter: int
    case: int


class Home(msgspec.Struct, frozen=True, gc=False):
    job: int
    place: int


class On(msgspec.Struct, frozen=True, gc=False):
    job: int
    place: int
    quarter: int


class Run(msgspec.Struct, frozen=True, gc=False):
    """Gangs of a job in a state; `through`: in all blocks of the day alike, so that none pauses."""

    job: int
    place: int
    state: State
    through: bool


class Untrained(msgspec.Struct, frozen=True, gc=False):
    """The share of a job that is not done in time."""

    job: int
    case: int


class Tail(msgspec.Struct, frozen=True, gc=False):
    """By how much a case is dearer than the threshold of the dearest; of no case, the threshold."""

    case: int | None


Key: TypeAlias = Buy | Rent | Used | Extra | Flow | Unserved | Excess | Spent | Home | On | Run | Untrained | Tail
RowKey: TypeAlias = tuple[str | int | State, ...]
