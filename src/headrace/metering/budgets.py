"""Budgets: whom one holds for, and which accounts a request is charged to.

A budget holds for the requests that match every field that it names, and with `for_each` there is one account for each key, user,
session and so on among them. A request is charged to all accounts that it falls under, or to none. Three modes:

    hard    a true upper bound is reserved before anybody is asked: nothing is ever overspent
    soft    refused once what is spent has reached the amount: overspent by no more than what is in flight
    watch   never refused: it only counts, and tells
"""

from datetime import tzinfo
from typing import Literal, TypeAlias, assert_never

import msgspec

from headrace.core.ask import Ask
from headrace.metering.periods import Period, Span

Mode: TypeAlias = Literal["hard", "soft", "watch"]
Scope: TypeAlias = Literal["organization", "project", "key", "user", "session", "model", "class"]
ALERTS_PERCENT: tuple[int, ...] = (50, 80, 100)
NAME_SIZE_MAX = 64
SPEND_LIMIT = "spend_limit:"
"""How the budgets begin that are spend limits; a slash follows where it is a project's."""


class Whom(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests something holds for: every field that is given must match. A key may be named by its id or its name, and whoever
    names a key means the keys that were minted from it as well."""

    organization: str | None = None
    project: str | None = None
    key: str | None = None
    user: str | None = None
    session: str | None = None
    model: str | None = None
    traffic_class: str | None = None
    for_each: Scope | None = None


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """What of a request decides which budgets and limits hold for it. `lineage` are the ids of the key and of those it was minted from,
    its own first, and `names` what else they are called."""

    organization: str
    project: str
    lineage: tuple[str, ...]
    names: tuple[str, ...]
    user: str
    session: str
    model: str
    traffic_class: str


def asker_of(ask: Ask) -> Asker:
    """Who asks, for whom and what, as far as budgets and limits care."""
    who = ask.principal
    return Asker(
        organization=who.organization,
        project=who.project,
        lineage=(who.key, *who.parents),
        names=(who.key_name, *who.parent_names),
        user=ask.user,
        session=ask.session,
        model=ask.model,
        traffic_class=ask.traffic_class,
    )


def instances(whom: Whom, asker: Asker) -> tuple[str, ...]:
    """The names of what a request counts for: none where it does not match, one for all, or one for each key, user and so on."""
    wanted = (
        (whom.organization, asker.organization),
        (whom.project, asker.project),
        (whom.user, asker.user),
        (whom.session, asker.session),
        (whom.model, asker.model),
        (whom.traffic_class, asker.traffic_class),
    )
    if any(named is not None and named != value for named, value in wanted):
        return ()
    if whom.key is not None and whom.key not in asker.lineage and whom.key not in asker.names:
        return ()
    match whom.for_each:
        case None:
            return ("",)
        case "key":
            return asker.lineage
        case "project":
            return (f"{asker.organization}/{asker.project}",)
        case "user":
            return (asker.user,)
        case "session":
            return (f"{asker.lineage[-1]}/{asker.session}",)  # who else calls a session the same is another tenant
        case "organization":
            return (asker.organization,)
        case "model":
            return (asker.model,)
        case "class":
            return (asker.traffic_class,)
        case never:
            assert_never(never)


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """An amount for some requests, by period. `alerts_percent`: at which parts of it somebody is told."""

    name: str
    whom: Whom
    limit_pico: int
    period: Period
    zone: tzinfo
    zone_name: str
    mode: Mode = "hard"
    alerts_percent: tuple[int, ...] = ALERTS_PERCENT


class AccountOpening(msgspec.Struct, frozen=True, array_like=True):
    """What the store is told of an account when it is first charged: one budget, one instance of it, one period."""

    name: str
    budget: str
    instance: str
    period: str
    ends: int
    limit_pico: int
    mode: Mode
    alerts_percent: tuple[int, ...]


def opening_of(budget: Budget, instance: str, span: Span) -> AccountOpening:
    """The account of one instance of a budget in one period."""
    name = "\x1f".join((budget.name, instance, span.name))
    return AccountOpening(name, budget.name, instance, span.name, span.end, budget.limit_pico, budget.mode, budget.alerts_percent)


def spend_scope(name: str) -> Literal["organization", "project"] | None:
    """Whose spend limit a budget of this name is; None: it is none."""
    if not name.startswith(SPEND_LIMIT):
        return None
    return "project" if "/" in name else "organization"
