"""Who brought in what and cost what: revenue, what vendors charge, a share of the capacity paid by the hour, what the cache saved."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from headrace.compose.capacity import shipped_catalog, speed_of
from headrace.compose.finance import Finance, month_of, places_of
from headrace.compose.pools import PoolSettings
from headrace.compose.settings import Settings
from headrace.core.clock import SECOND, Moment
from headrace.core.money import usd
from headrace.core.usage import Usage
from headrace.metering import Shared, shared, work_of
from headrace.metering.capacity import INPUT, OUTPUT
from headrace.portfolio import Rented, kind_of, pico_per_accelerator_hour
from headrace.storage import DIMENSIONS, Dimension, JournalEntry, Layout, Tally

HOUR = 3_600 * SECOND
IDLE = "(idle)"


class Charged(msgspec.Struct, frozen=True, kw_only=True):
    """One group. `capacity_pico` is its share of what was paid by the hour; a group named `(idle)` is what nobody used of it."""

    group: tuple[str, ...]
    requests: int = 0
    ours: int = 0
    revenue_pico: int = 0
    buy_pico: int = 0
    capacity_pico: int = 0
    saved_pico: int = 0
    unbought: int = 0

    @property
    def margin_pico(self) -> int:
        return self.revenue_pico - self.buy_pico - self.capacity_pico


class Hourly(msgspec.Struct, frozen=True):
    """What a pool costs an hour, and how much work it can do in one; 0: not known."""

    pico: int
    work: int


def chargeback(finance: Finance, settings: Settings, group: Sequence[Dimension], since: Moment, until: Moment) -> list[Charged]:
    """Every group, dearest first, and last what stood idle, pool by pool."""
    places, hourly = places_of(settings), {pool.name: paid for pool in settings.pool if (paid := hourly_of(settings, pool)) is not None}
    more: tuple[Dimension, ...] = ("pool", "price")
    asked: tuple[Dimension, ...] = (*group, *(one for one in more if one not in group))
    tallied = finance.tallied(asked, since, until, places)
    savings = finance.savings
    shares = _shares(tallied, asked.index("pool"), hourly, until - since)
    found: dict[tuple[str, ...], Charged] = {}
    for name, tally in tallied.items():
        pool, price = name[asked.index("pool")], name[asked.index("price")]
        part = shares[pool].by.get("\0".join(name), 0) if pool in shares else 0
        one = found.get(name[: len(group)]) or Charged(group=name[: len(group)])
        found[name[: len(group)]] = Charged(
            group=one.group,
            requests=one.requests + tally.requests,
            ours=one.ours + tally.ours,
            revenue_pico=one.revenue_pico + tally.cost_pico,
            buy_pico=one.buy_pico + tally.buy_pico,
            capacity_pico=one.capacity_pico + part,
            saved_pico=one.saved_pico + savings(price, tally.usage),
            unbought=one.unbought + (0 if pool in shares else tally.unbought),
        )
    idle = [_idle(pool, shares[pool], group, places) for pool in sorted(shares) if shares[pool].idle_pico]
    return [*sorted(found.values(), key=lambda one: (-one.revenue_pico, one.group)), *idle]


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """What a pool that is paid by the hour cost in a time. `unit_pico` is what the work of a tenth of an input token cost; None: none was
    done."""

    pool: str
    hours: int
    paid: Shared
    unit_pico: float | None

    def per_mtok(self, work: int) -> int | None:
        """What a million tokens of so much work each cost, in pico-USD a token."""
        return None if self.unit_pico is None else round(self.unit_pico * work)


def capacity(finance: Finance, settings: Settings, since: Moment, until: Moment) -> list[Filled]:
    """Every pool of the settings that is paid by the hour."""
    hourly = {pool.name: paid for pool in settings.pool if (paid := hourly_of(settings, pool)) is not None}
    tallied = finance.tallied(("pool",), since, until, {})
    shares = _shares(tallied, 0, hourly, until - since)
    filled = []
    for pool, share in sorted(shares.items()):
        tally = tallied.get((pool,)) or Tally()
        work = work_of(tally.usage) + work_of(Usage(*tally.tokens_ours))
        unit = share.whole_pico / work if work else None  # what stands idle is paid by the tokens that are served
        filled.append(Filled(pool=pool, hours=(until - since) // HOUR, paid=share, unit_pico=unit))
    return filled


def close_month(finance: Finance, settings: Settings, month: str) -> list[JournalEntry]:
    """Post what capacity that is paid by the hour cost in a month, once; return the entries."""
    since, until = month_of(month)
    made = []
    for one in capacity(finance, settings, since, until):
        used = one.paid.whole_pico - one.paid.idle_pico
        for kind, pico in (("cost", used), ("idle", one.paid.idle_pico)):
            if pico:
                made.append(
                    JournalEntry(
                        name=f"capacity:{one.pool}:{month}:{kind}",
                        moment=until - SECOND,
                        kind="capacity",
                        debit=f"{kind}:{one.pool}",
                        credit=f"capacity:{one.pool}",
                        amount_pico=pico,
                        memo=f"{one.hours} hours",
                    )
                )
    finance.enter(*made)
    return made


def hourly_of(settings: Settings, pool: PoolSettings) -> Hourly | None:
    """What a pool costs an hour; None: it is paid by the token, or nobody knows."""
    if not isinstance(pool.contract, Rented):
        return None
    known = shipped_catalog().with_silicon(settings.silicon)
    pico = pico_per_accelerator_hour(pool.contract, known.list_price(pool.cloud, pool.region, pool.silicon, kind_of(pool.contract)))
    if pico is None:
        return None
    its = next(iter(pool.models.values()), "")
    tokens_out_per_s, (tokens_in, tokens_out) = speed_of(pool, known.serving_point(pool.silicon, its))
    work = 0
    if tokens_out_per_s is not None:
        work = round(tokens_out_per_s * 3_600 * pool.contract.accelerators * (tokens_in / tokens_out * INPUT + OUTPUT))
    return Hourly(pico * pool.contract.accelerators, work)


def _shares(tallied: Mapping[tuple[str, ...], Tally], at: int, hourly: Mapping[str, Hourly], lasted: int) -> dict[str, Shared]:
    work: dict[str, dict[str, int]] = {pool: {} for pool in hourly}
    for name, tally in tallied.items():
        if name[at] in work:
            done = work_of(tally.usage) + work_of(Usage(*tally.tokens_ours))
            work[name[at]]["\0".join(name)] = done
    return {pool: shared(one.pico * lasted // HOUR, one.work * lasted // HOUR, work[pool]) for pool, one in hourly.items()}


def _idle(pool: str, paid: Shared, group: Sequence[Dimension], places: Mapping[str, Mapping[str, str]]) -> Charged:
    """Capacity that nobody used, under the pool's own names where they are asked for."""
    named = {"pool": pool, **places.get(pool, {})}
    return Charged(group=tuple(named.get(one, IDLE) for one in group), capacity_pico=paid.idle_pico)


def shown(one: Charged, group: Sequence[str]) -> dict[str, str | int]:
    """A group as a row for people and programs."""
    return {
        **dict(zip(group, one.group, strict=True)),
        "requests": one.requests,
        "ours": one.ours,
        "usd_revenue": usd(one.revenue_pico),
        "usd_vendors": usd(one.buy_pico),
        "usd_capacity": usd(one.capacity_pico),
        "usd_margin": usd(one.margin_pico),
        "usd_cache_saved": usd(one.saved_pico),
        "cost_unknown": one.unbought,
    }


class Reader(Finance):
    """What the door reads: the data folder's finance, with the settings that are in force."""

    def __init__(self, layout: Layout, settings: Callable[[], Settings]) -> None:
        super().__init__(layout)
        self._settings = settings

    def charged(self, group: Sequence[str], start: Moment, end: Moment) -> Sequence[Mapping[str, str | int]]:
        """Chargeback by these dimensions. Raises ValueError for one that is not known."""
        unknown = [one for one in group if one not in DIMENSIONS]
        if unknown:
            raise ValueError(f"usage can't be grouped by {unknown[0]!r}: choose from {', '.join(DIMENSIONS)}")
        known: tuple[Dimension, ...] = tuple(dimension for one in group for dimension in DIMENSIONS if dimension == one)
        return [shown(one, known) for one in chargeback(self, self._settings(), known, start, end)]
