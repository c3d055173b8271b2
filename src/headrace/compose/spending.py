"""Spend limits and alerts, kept as the budgets that they are.

A limit is the budget `spend_limit:ORGANISATION` or `spend_limit:ORGANISATION/PROJECT`, by the month, UTC, hard while it is enforced and
watching while not. An alert is a budget of its own, `spend_alert:ID`, which only watches and tells at 100 %: alerts are amounts, and
a part of a limit in whole percents could not say them to the cent, nor without a limit.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from hashlib import blake2b

import msgspec

from headrace.api import SpendAlert, Spender, SpendLimit
from headrace.compose.budgets import BudgetSettings
from headrace.core.clock import Clock, Moment
from headrace.core.errors import InvalidRequest
from headrace.core.money import pico_of
from headrace.metering.budgets import NAME_SIZE_MAX, SPEND_LIMIT, opening_of
from headrace.metering.periods import span_of
from headrace.storage import Before, Recipients, Treasury

ALERT = "spend_alert:"
ALERTS_MAX = 20
"""Of one organisation or project: each is one more account that all its requests are counted on."""
CENT_PICO = 10**10


class StoredSpending:
    """Implements `api.SpendRules` over the store of budgets. Each call may be made in any thread. `spent` is what the books say that
    somebody spent in a time: what is set counts the month that runs."""

    def __init__(
        self,
        opened: Callable[[], AbstractContextManager[Treasury]],
        clock: Clock,
        spent: Callable[[Spender, Moment, Moment], int],
    ) -> None:
        self._opened, self._clock, self._spent = opened, clock, spent

    def limit(self, whose: Spender) -> SpendLimit | None:
        with self._opened() as treasury:
            content = treasury.rules().get(limit_name(whose))
        rule = None if content is None else _read(content)
        return None if rule is None else SpendLimit(cents=_cents(rule), interval=rule.period, enforcing=rule.mode != "watch")

    def set_limit(self, whose: Spender, cents: int, enforcing: bool) -> None:
        rule = BudgetSettings(
            name=limit_name(whose),
            organization=whose.organization,
            project=whose.project,
            usd=_usd(cents),
            period="month",
            mode="hard" if enforcing else "watch",
        )
        with self._opened() as treasury:
            treasury.set_rule(rule.name, msgspec.json.encode(rule).decode(), before=self._before(whose, rule))

    def remove_limit(self, whose: Spender) -> bool:
        return self._removed(limit_name(whose))

    def alerts(self, whose: Spender) -> list[SpendAlert]:
        """In the order in which they were made: ids sort by time."""
        with self._opened() as treasury:
            rules, recipients = list(_alerts_of(whose, treasury)), treasury.recipients()
        return [_alert(rule, recipients.get(rule.name, Recipients((), None))) for rule in rules]

    def set_alert(self, whose: Spender, alert: SpendAlert) -> None:
        rule = BudgetSettings(
            name=f"{ALERT}{alert.id}",
            organization=whose.organization,
            project=whose.project,
            usd=_usd(alert.cents),
            period="month",
            mode="watch",
            alerts_percent=(100,),
        )
        with self._opened() as treasury:
            others = [one for one in _alerts_of(whose, treasury) if one.name != rule.name]
            if len(others) >= ALERTS_MAX:
                raise InvalidRequest(f"There are {ALERTS_MAX} spend alerts already: remove one first.")
            told = Recipients(alert.recipients, alert.subject_prefix)
            treasury.set_rule(rule.name, msgspec.json.encode(rule).decode(), told, self._before(whose, rule))

    def remove_alert(self, whose: Spender, id: str) -> bool:
        with self._opened() as treasury:
            if all(rule.name != f"{ALERT}{id}" for rule in _alerts_of(whose, treasury)):
                return False
        return self._removed(f"{ALERT}{id}")

    def _before(self, whose: Spender, rule: BudgetSettings) -> Before:
        now, budget = self._clock.moment(), rule.budget
        span = span_of(now, budget.period, budget.zone)
        return Before(opening_of(budget, "", span), self._spent(whose, span.start, span.end), now)

    def _removed(self, name: str) -> bool:
        with self._opened() as treasury:
            return treasury.drop_rule(name)


def limit_name(whose: Spender) -> str:
    """What the limit's budget is called: as a person would say it, or where that is no budget's name, a digest of it."""
    parts = [whose.organization] if whose.project is None else [whose.organization, whose.project]
    said = SPEND_LIMIT + "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)
    if len(said) <= NAME_SIZE_MAX and said.isprintable():
        return said
    return SPEND_LIMIT + ("%" if whose.project is None else "%/") + blake2b(said.encode(), digest_size=16).hexdigest()


def _alerts_of(whose: Spender, treasury: Treasury) -> Iterator[BudgetSettings]:
    for name, content in treasury.rules().items():
        if name.startswith(ALERT):
            rule = _read(content)
            if rule is not None and (rule.organization, rule.project) == (whose.organization, whose.project):
                yield rule


def _alert(rule: BudgetSettings, whom: Recipients) -> SpendAlert:
    return SpendAlert(
        id=rule.name.removeprefix(ALERT),
        cents=_cents(rule),
        interval=rule.period,
        recipients=whom.addresses,
        subject_prefix=whom.subject_prefix,
    )


def _read(content: str) -> BudgetSettings | None:
    """None for what another version wrote: it does not hold either."""
    try:
        return msgspec.json.decode(content, type=BudgetSettings)
    except msgspec.MsgspecError:
        return None


def _usd(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


def _cents(rule: BudgetSettings) -> int:
    return pico_of(rule.usd) // CENT_PICO
