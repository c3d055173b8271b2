"""What the usage log says, record by record: a closed union of frozen values.

An attempt is admitted with a bound before its upstream hears of it, and ends in exactly one of three ways:

    Admit ──► Settle   what was used, and what it costs
          ├─► Void     nothing is owed: the upstream was never reached, or refused
          └─► Lost     the process died in between: unknown, and held at the bound until the truth is known

Every record carries its `Admit`, so each can be read alone. Records commute: of all that was said of one attempt the one with the
highest `precedence` holds, so a log may be replayed in any order, and any part of it twice, with the same result.

`Evidence` and `Card` are of no attempt in particular: each is said once and named by many, and saying it again changes nothing. With the
cards in it, the log alone says what everything cost and why. `Declined` is a request that came to no attempt.
"""

from typing import Literal, TypeAlias, assert_never

import msgspec

from headrace.core.clock import Moment
from headrace.core.translation import Change
from headrace.core.usage import NOTHING, Usage

Outcome: TypeAlias = Literal["completed", "client_left", "failed", "timed_out", "stopped"]
Certainty: TypeAlias = Literal["confirmed", "estimated"]
State: TypeAlias = Literal["held", "lost", "void", "confirmed", "estimated"]
AttemptId: TypeAlias = tuple[str, int]


class Admit(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """An attempt may start, and will use `bound` at most; `price` is the id of the row that held at this moment.

    `evidence` names the record that says which pools were considered; `placed` has for each that was looked at its index in that list,
    the code of the verdict and its score. `accounts` are the numbers of the budgets' accounts that it is charged to, out of what the
    holder of this `epoch` has leased. `tier` is the service tier that was asked for by name, `user` whom the client asks for, and `buy`
    the id of the row by which the vendor is expected to charge. `detail` is there where more than tokens is counted: of pictures it says
    how they are made, and their size where one was named (`image.edit/1024x1024`), of all else nothing.
    """

    request: str
    attempt: int
    moment: Moment
    organization: str
    project: str
    key: str
    traffic_class: str
    operation: str
    model: str
    pool: str
    streamed: bool
    bound: Usage
    bound_pico: int | None
    price: str | None
    evidence: str | None = None
    placed: tuple[tuple[int, int, float], ...] = ()
    epoch: int = 0
    accounts: tuple[int, ...] = ()
    tier: str | None = None
    user: str | None = None
    buy: str | None = None
    detail: str | None = None

    @property
    def id(self) -> AttemptId:
        return self.request, self.attempt


class Settle(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """What the attempt used. `cost_pico` of None: unpriced. `state` is `estimated` where the upstream never said what was used.

    `translation` is what became of parameters that the upstream's dialect does not take as they were asked. `tier` is the service tier in
    which the vendor says it served. `price` and `buy` are the rows by which it was charged at last, where those differ from the admission's
    (a longer prompt, another tier). `buy_pico` is what the vendor charges: None where it is paid by the hour, or nobody knows. `ours`: no
    customer pays for this attempt, since nothing of it was heard; we bear what it cost. `calls` are the tools that the vendor ran, and of
    what is not counted in tokens that which has a price of its own; `units` is all of the latter, whatever it is paid by.
    """

    admitted: Admit
    moment: Moment
    usage: Usage
    cost_pico: int | None
    state: Certainty
    outcome: Outcome
    ttft_ms: int | None
    duration_ms: int
    model_served: str | None = None
    translation: tuple[Change, ...] = ()
    tier: str | None = None
    price: str | None = None
    buy: str | None = None
    buy_pico: int | None = None
    ours: bool = False
    calls: tuple[tuple[str, int], ...] = ()
    units: tuple[tuple[str, int], ...] = ()


class Lost(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    """Found after a crash: admitted, and never settled. It is billed at its bound, as an estimate, until a settle corrects it."""

    admitted: Admit
    moment: Moment


class Void(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=4):
    """Nothing is owed for this attempt; `reason` is the code of the error that ended it."""

    admitted: Admit
    moment: Moment
    reason: str


class Evidence(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=5):
    """What the filters of placement did for one kind of request, once for all attempts that name its `id`; `content` is msgpack."""

    id: str
    moment: Moment
    content: bytes


class Card(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=6):
    """What a price said when it was used: once for all attempts that name its `id`. `weights` are pico-USD a token, in the order of `Usage`
    (None: no price), `fees` pico-USD a call; `listed` names the card of the list price, where a customer has another."""

    id: str
    moment: Moment
    model: str
    tier: str
    weights: tuple[int | None, ...]
    fees: dict[str, int]
    source: str
    listed: str | None = None


class Declined(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=7):
    """A request for which no pool was asked, since none may have it, or none can take it whatever the moment: `code` is the error that the
    client got, and the rest is as of an attempt. Nothing is owed; it is there to show that a rule held."""

    request: str
    moment: Moment
    organization: str
    project: str
    key: str
    traffic_class: str
    operation: str
    model: str
    streamed: bool
    code: str
    evidence: str | None = None
    placed: tuple[tuple[int, int, float], ...] = ()


Record: TypeAlias = Admit | Settle | Lost | Void
Aside: TypeAlias = Evidence | Card | Declined
"""What is of no attempt."""

RANK: dict[State, int] = {"held": 0, "lost": 1, "void": 2, "estimated": 3, "confirmed": 4}


class Standing(msgspec.Struct, frozen=True, gc=False):
    """Where an attempt stands after a record: its state, what it is taken to have used, and what is billed for it."""

    admitted: Admit
    state: State
    moment: Moment
    usage: Usage
    cost_pico: int | None
    buy: str | None = None
    buy_pico: int | None = None

    @property
    def precedence(self) -> "Precedence":
        """Total over what can differ, so that any two records of one attempt agree on which of them holds."""
        return precedence(self.state, self.moment, self.cost_pico, self.usage, self.buy_pico, self.buy)


Precedence: TypeAlias = tuple[int, Moment, int, tuple[int, ...], int, str]


def precedence(
    state: State, moment: Moment, cost_pico: int | None, usage: Usage, buy_pico: int | None = None, buy: str | None = None
) -> Precedence:
    """The highest holds: first by state, then the latest, then the dearest."""
    cost, bought = (-1 if pico is None else pico for pico in (cost_pico, buy_pico))
    return RANK[state], moment, cost, msgspec.structs.astuple(usage), bought, buy or ""


def admitted(record: Record) -> Admit:
    """The admission that a record speaks of."""
    return record if isinstance(record, Admit) else record.admitted


def standing(record: Record) -> Standing:
    """What a record alone says of its attempt."""
    match record:
        case Admit(moment=moment, bound=bound):
            return Standing(record, "held", moment, bound, None)
        case Settle(admitted=admit, state=state, moment=moment, usage=usage, cost_pico=cost_pico, buy=buy, buy_pico=buy_pico):
            return Standing(admit, state, moment, usage, cost_pico, buy or admit.buy, buy_pico)
        case Lost(admitted=admit, moment=moment):
            return Standing(admit, "lost", moment, admit.bound, admit.bound_pico)
        case Void(admitted=admit, moment=moment):
            return Standing(admit, "void", moment, NOTHING, None)
        case never:
            assert_never(never)
