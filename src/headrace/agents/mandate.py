"""A mandate: what a run that nobody watches may do without asking, signed by the installation, with an end.

It names the task, the folder and the leave together, so a leave can't be moved to another task. Whoever is to act on it checks the
signature and the end again before each step: a mandate that was changed is none, and one that is over allows nothing any more.
"""

import hmac
import re
import shlex
from typing import Final

import msgspec

from headrace.agents.leave import Budget, Grant, StandingLeave
from headrace.core.clock import Moment
from headrace.core.errors import InvalidRequest, LeaveInvalid
from headrace.core.money import usd

KEY_BYTES: Final = 32
TIMES_MAX: Final = 1_000


class Mandate(msgspec.Struct, frozen=True, kw_only=True):
    """`schedule` is whose it is: a schedule, or an address from which outsiders start runs. `folder` is where the task works; "" is one of
    its own for each run. `take`: its changes are taken over unasked. `by` is who gave it."""

    schedule: str
    task: str
    folder: str
    grant: Grant
    expires_at: Moment
    by: str
    take: bool = False
    trust_folder: bool = False


class _Signed(msgspec.Struct, frozen=True):
    mandate: str
    hmac_sha256: str


def sealed(mandate: Mandate, key: bytes) -> bytes:
    """The mandate with its signature."""
    assert len(key) >= KEY_BYTES, "a short key signs nothing"
    text = msgspec.json.encode(mandate, order="deterministic")
    return msgspec.json.encode(_Signed(text.decode(), _signature(text, key)))


def unsealed(content: bytes, key: bytes) -> Mandate:
    """The mandate, if it is as it was signed. Raises LeaveInvalid."""
    try:
        signed = msgspec.json.decode(content, type=_Signed)
        text = signed.mandate.encode()
        if not hmac.compare_digest(signed.hmac_sha256.encode(), _signature(text, key).encode()):
            raise LeaveInvalid("This leave is not the one that was signed here: nothing is done on it.")
        return msgspec.json.decode(text, type=Mandate)
    except msgspec.MsgspecError as wrong:
        raise LeaveInvalid(f"This leave can't be read: {wrong}") from wrong


def allowed(mandate: Mandate, now: Moment, *, ended: bool = False) -> Grant:
    """What it allows at this moment: after its end only what needs no leave, within the same budget."""
    return Grant(budget=mandate.grant.budget) if ended or now >= mandate.expires_at else mandate.grant


def takes(mandate: Mandate, now: Moment, *, ended: bool = False) -> bool:
    """Whether what was done is taken over unasked at this moment: that is leave, too, and ends with it."""
    return mandate.take and not ended and now < mandate.expires_at


def standing_leave(text: str, id: str, expires_at: Moment, by: str) -> StandingLeave:
    """Leave ahead of time as a person writes it: `TOOL name=value amount<=20 note=* x3`.

    Each argument that the call may have is named: a value that it must have, a most, or `*` for any. `x3`: three times in a run, else once.
    Raises InvalidRequest.
    """
    try:
        tool, *terms = shlex.split(text)
    except ValueError:
        raise InvalidRequest(f"{text!r} names no tool: write TOOL name=value amount<=20 note=* x3") from None
    fixed: dict[str, str] = {}
    most: dict[str, float] = {}
    free: set[str] = set()
    times = 1
    for term in terms:
        if re.fullmatch(r"x[0-9]+", term):
            times = int(term[1:])
        elif bound := re.fullmatch(r"([\w-]+)<=([0-9]+(?:\.[0-9]+)?)", term):
            most[bound[1]] = float(bound[2])
        elif given := re.fullmatch(r"([\w-]+)=(.*)", term, re.DOTALL):
            if given[2] == "*":
                free.add(given[1])
            else:
                fixed[given[1]] = given[2]
        else:
            raise InvalidRequest(f"{term!r} says nothing of an argument: write name=value, name<=20, name=* or x3")
    if not 1 <= times <= TIMES_MAX:
        raise InvalidRequest(f"A leave is for 1 to {TIMES_MAX:,} times.")
    return StandingLeave(
        id=id, tool=tool, fixed=fixed, amount_max=most, free=frozenset(free), times_max=times, expires_at=expires_at, by=by
    )


def grant_with(budget: Budget, hosts: frozenset[str], leaves: tuple[str, ...], expires_at: Moment, by: str) -> Grant:
    """A grant of what a person wrote. Raises InvalidRequest."""
    standing = tuple(standing_leave(text, f"{number}", expires_at, by) for number, text in enumerate(leaves, 1))
    return Grant(budget=budget, hosts=hosts, standing=standing)


def in_words(mandate: Mandate) -> tuple[str, ...]:
    """What a mandate allows without asking, a sentence each; when it ends is not among them."""
    budget, grant = mandate.grant.budget, mandate.grant
    money = None if budget.pico_usd_max is None else f"${usd(budget.pico_usd_max)}"
    tokens = None if budget.tokens_max is None else f"{budget.tokens_max:,} tokens"
    parts = [part for part in (money, tokens, f"{budget.steps_max:,} calls of the model") if part]
    said = [f"Each run may use {' and '.join(filter(None, (', '.join(parts[:-1]), parts[-1])))}; then it pauses and asks."]
    if grant.hosts:
        said.append(f"It may read pages of {', '.join(sorted(grant.hosts))}.")
    said += [_leave_in_words(leave) for leave in grant.standing]
    said.append("What it changes is taken over at once." if mandate.take else "What it changes waits for you to be taken over.")
    return (*said, "Anything else that needs leave waits in the inbox.")


def _leave_in_words(leave: StandingLeave) -> str:
    given = [f"{name} “{value}”" for name, value in sorted(leave.fixed.items())]
    given += [f"{name} of at most {most:g}" for name, most in sorted(leave.amount_max.items())]
    given += [f"any {name}" for name in sorted(leave.free)]
    times = "once" if leave.times_max == 1 else f"up to {leave.times_max} times"
    return f"It may use {leave.tool} {times} a run{', with ' if given else ''}{', '.join(given)}."


def _signature(text: bytes, key: bytes) -> str:
    return hmac.digest(key, b"headrace mandate 1\0" + text, "sha256").hex()
