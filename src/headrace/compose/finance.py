"""What finance asks of a data folder: usage, costs, invoices, exports, the ledger's audit; with or without a server running."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import msgspec

from headrace.api import Asked, Cost, Used
from headrace.compose.clock import process_id
from headrace.compose.settings import Settings
from headrace.core.clock import SECOND, Moment
from headrace.core.usage import Usage
from headrace.metering import (
    Attempted,
    Bought,
    Card,
    Invoice,
    InvoiceLine,
    Line,
    Sum,
    cache_savings,
    corrections,
    day_of,
    invoice,
    lines_of,
    merged,
    moment_of,
    other_line,
)
from headrace.metering.hledger import Posted, journal
from headrace.metering.ledger import UNKNOWN_HELD, cost, customer, payable, revenue, vendor_of
from headrace.metering.lines import METERS
from headrace.metering.prices import DAY
from headrace.storage import (
    Counted,
    Dimension,
    Exported,
    JournalEntry,
    Layout,
    Places,
    Rated,
    Tally,
    UnitDimension,
    Unknown,
    attempted,
    audit,
    bought,
    cards,
    charged,
    charged_by_day,
    connect,
    enter,
    entries,
    exported,
    head,
    invoices,
    is_open,
    issue,
    load_once,
    organizations,
    owned,
    rated,
    tallies,
    unit_sums,
)

DIMENSION: Mapping[str, Dimension] = {
    "project_id": "project",
    "user_id": "user",
    "api_key_id": "key",
    "model": "model",
    "batch": "class",
    "service_tier": "tier",
}
UNIT_DIMENSION: Mapping[str, UnitDimension] = {
    "project_id": "project",
    "user_id": "user",
    "api_key_id": "key",
    "model": "model",
    "source": "source",
    "size": "size",
}
CLASSES_ALL = frozenset(("realtime", "enterprise", "agentic", "coding", "training"))


KINDS = {"usage": 0, "purchase": 1}


class DayCheck(msgspec.Struct, frozen=True):
    """One day: what the books show that customers and vendors charge and people entered, and the first two by the usage log."""

    day: str
    usage_pico: int
    purchase_pico: int
    entered_pico: int
    usage_log_pico: int
    purchase_log_pico: int
    whole: bool

    @property
    def agrees(self) -> bool:
        """Where a part of the log is no longer kept, it can say less than the books."""
        pairs = ((self.usage_pico, self.usage_log_pico), (self.purchase_pico, self.purchase_log_pico))
        return all(books == log or (not self.whole and log < books) for books, log in pairs)


def _checked(day: str, booked: Sequence[int], logged: Sequence[int], whole: bool) -> DayCheck:
    usage, purchase, entered = booked
    usage_log, purchase_log = logged
    return DayCheck(day, usage, purchase, entered, usage_log, purchase_log, whole)


class Finance:
    """Reads one data folder, and makes the entries that people make. Each call sees all that the usage log holds as of now."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._cards: dict[str, Card] = {}

    @contextlib.contextmanager
    def _open(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        load_once(self._layout, process_id())
        with contextlib.closing(connect(self._layout.database, durable=durable)) as database:
            yield database

    # What the API tells.

    def used(self, asked: Asked) -> Sequence[Used]:
        """Usage in buckets; attempts that we bear are none of the organisation's."""
        return self._tokens(asked) if asked.counted == "tokens" else self._counted(asked, asked.counted)

    def _counted(self, asked: Asked, counted: Counted) -> Sequence[Used]:
        """What is counted in anything but tokens."""
        only = {UNIT_DIMENSION[field]: values for field, values in asked.only.items()}
        group = [UNIT_DIMENSION[field] for field in asked.group]
        with self._open() as database:
            found = unit_sums(
                database,
                counted,
                group,
                organization=asked.organization,
                operation=asked.operation,
                unit=asked.unit if counted == "calls" else None,
                since=asked.start,
                until=asked.end,
                width=asked.width,
                only=only,
            )
        return [
            Used(bucket=bucket, group=names, requests=one.requests, count=one.units.get(asked.unit, 0))
            for (bucket, names), one in sorted(found.items(), key=lambda item: item[0])
        ]

    def _tokens(self, asked: Asked) -> Sequence[Used]:
        only: dict[Dimension, frozenset[str]] = {"organization": frozenset((asked.organization,))}
        if asked.operation is not None:
            only["operation"] = frozenset((asked.operation,))
        for field, values in asked.only.items():
            batch = frozenset(("batch",)) if "true" in values else CLASSES_ALL
            only[DIMENSION[field]] = batch if field == "batch" else values
        group: tuple[Dimension, ...] = tuple(DIMENSION[field] for field in asked.group)
        with self._open() as database:
            found = tallies(database, group, since=asked.start, until=asked.end, width=asked.width, only=only)
        sums: dict[tuple[int, tuple[str, ...]], Used] = {}
        for (bucket, names), tally in found.items():
            if not tally.requests:
                continue
            told = tuple(_told(field, name) for field, name in zip(asked.group, names, strict=True))
            one = Used(bucket=bucket, group=told, requests=tally.requests, usage=tally.usage)
            earlier = sums.get((bucket, told))
            sums[bucket, told] = one if earlier is None else _both(earlier, one)
        return [sums[name] for name in sorted(sums)]

    def costs(self, asked: Asked) -> Sequence[Cost]:
        """What is charged, in days; by line item where that is asked."""
        if "user_id" in asked.group or "user_id" in asked.only:
            return self._costs_by_user(asked)
        with self._open() as database:
            sums = owned(database, organization=asked.organization, since=asked.start, until=asked.end, width=asked.width)
            known = cards(database)
        found: dict[tuple[int, tuple[str, ...]], tuple[int, int]] = {}
        for line in lines_of(sums, known):
            named = {"project_id": line.owner.project, "api_key_id": line.owner.key, "line_item": item_of(line)}
            if all(named[field] in values for field, values in asked.only.items()):
                name = line.bucket, tuple(named[field] for field in asked.group)
                pico, quantity = found.get(name, (0, 0))
                found[name] = pico + line.cost_pico, quantity + line.quantity
        items = "line_item" in asked.group
        return [
            Cost(bucket=bucket, group=group, pico=pico, quantity=quantity if items else None, unit="tokens" if items else None)
            for (bucket, group), (pico, quantity) in sorted(found.items())
        ]

    def spent(self, organization: str, project: str | None, since: Moment, until: Moment) -> int:
        """What an organisation, or one project of it, is charged, in pico-USD."""
        only: dict[Dimension, frozenset[str]] = {"organization": frozenset((organization,))}
        if project is not None:
            only["project"] = frozenset((project,))
        with self._open() as database:
            return sum(tally.cost_pico for tally in tallies(database, (), since=since, until=until, only=only).values())

    def _costs_by_user(self, asked: Asked) -> Sequence[Cost]:
        only: dict[Dimension, frozenset[str]] = {"organization": frozenset((asked.organization,))}
        only |= {DIMENSION[field]: values for field, values in asked.only.items()}
        group: tuple[Dimension, ...] = tuple(DIMENSION[field] for field in asked.group)
        with self._open() as database:
            found = tallies(database, group, since=asked.start, until=asked.end, width=asked.width, only=only)
        return [
            Cost(bucket=bucket, group=names, pico=tally.cost_pico) for (bucket, names), tally in sorted(found.items()) if tally.requests
        ]

    # What commands tell.

    def lines(self, organization: str | None, since: Moment, until: Moment, width: int = DAY) -> list[Line]:
        """What customers pay, by owner and segment."""
        sums, known = self.sums(organization, since, until, width)
        return list(lines_of(sums, known))

    def sums(self, organization: str | None, since: Moment, until: Moment, width: int = DAY) -> tuple[list[Sum], dict[str, Card]]:
        with self._open() as database:
            return owned(database, organization=organization, since=since, until=until, width=width), cards(database)

    def attempts(self, organization: str | None, since: Moment, until: Moment) -> Iterator[Attempted]:
        """Every attempt that is billed, in the order of the invoice's tree."""
        with self._open() as database:
            yield from attempted(database, organization=organization, since=since, until=until)

    def organizations(self) -> list[str]:
        with self._open() as database:
            return organizations(database)

    def audit(self) -> list[str]:
        with self._open() as database:
            return audit(database, self._layout.usage)

    def debited(self) -> tuple[dict[int, int], bool]:
        """By the usage log, what each account of the budgets was charged; and whether all of the log is kept."""
        with self._open() as database:
            return charged(database, self._layout.usage)

    def unended(self, unknown: Iterable[Unknown]) -> list[Unknown]:
        """Those of which the books know no end either."""
        with self._open() as database:
            return [one for one in unknown if is_open(database, one.request, one.attempt)]

    def days(self) -> list[DayCheck]:
        """Day by day what the books show and what the usage log says, computed again."""
        booked: dict[str, list[int]] = {}
        for one in self.posted(0, 2**63 - 1):
            booked.setdefault(one.day, [0, 0, 0])[KINDS.get(one.kind, 2)] += one.amount_pico
        with self._open() as database:
            by_log, whole = charged_by_day(database, self._layout.usage)
        logged = {_day(day): sums for day, sums in by_log.items()}
        days = sorted({*booked, *(day for day, sums in logged.items() if any(sums))})
        return [_checked(day, booked.get(day, [0, 0, 0]), logged.get(day, (0, 0)), whole) for day in days]

    def posted(self, since: Moment, until: Moment) -> list[Posted]:
        """The books by day: usage on the day on which it was admitted, entries on their own."""
        rows: list[Posted] = []
        group: tuple[Dimension, ...] = ("organization", "project", "model", "buy")
        with self._open() as database:
            for each in owned(database, since=since, until=until, width=DAY):
                if each.state in ("held", "void") or not each.cost_pico:
                    continue
                account = UNKNOWN_HELD if each.state == "lost" else revenue(each.owner.model)
                who = customer(each.owner.organization, each.owner.project)
                rows.append(Posted(_day(each.bucket), "usage", who, account, each.cost_pico))
            for (bucket, names), tally in tallies(database, group, since=since, until=until, width=DAY).items():
                if tally.buy_pico and names[3]:
                    vendor = vendor_of(names[3])
                    rows.append(Posted(_day(bucket), "purchase", cost(vendor), payable(vendor), tally.buy_pico))
            rows += [
                Posted(_day(one.moment // DAY), one.kind, one.debit, one.credit, one.amount_pico)
                for one in entries(database)
                if since <= one.moment < until
            ]
        return added_up(rows)

    def journal(self, since: Moment, until: Moment) -> str:
        return journal(self.posted(since, until), f"headrace, {_day(since // DAY)} to {_day(-(-until // DAY))}")

    def purchased(self, vendor: str, since: Moment, until: Moment) -> dict[tuple[date, str], dict[str, Tally]]:
        """What a vendor is booked to charge, by day and its own name of the model, and by the tier that served."""
        group: tuple[Dimension, ...] = ("buy", "tier")
        with self._open() as database:
            found = tallies(database, group, since=since, until=until, width=DAY, only={"vendor": frozenset((vendor,))})
        rows: dict[tuple[date, str], dict[str, Tally]] = {}
        for (bucket, (buy, tier)), tally in found.items():
            model = buy.partition("/")[2].rpartition("@")[0]
            rows.setdefault((day_of(bucket * DAY), model), {}).setdefault(tier or f"standard {buy}", tally)
        return rows

    def bought(self, vendor: str, since: Moment, until: Moment) -> list[Bought]:
        """The attempts that a vendor should bill."""
        with self._open() as database:
            return list(bought(database, vendor, since, until))

    def exported(self, organization: str | None, since: Moment, until: Moment) -> Iterator[Exported]:
        with self._open() as database:
            yield from exported(database, organization=organization, since=since, until=until)

    def tallied(self, group: Sequence[Dimension], since: Moment, until: Moment, places: Places) -> dict[tuple[str, ...], Tally]:
        with self._open() as database:
            self._cards = cards(database)
            found = tallies(database, group, since=since, until=until, places=places)
        return {name: tally for (_, name), tally in found.items()}

    def savings(self, price: str, usage: Usage) -> int:
        """What reading from the cache saved, where it is known what the price said."""
        card = self._cards.get(price)
        return 0 if card is None else cache_savings(usage, card)

    def rated(self, since: Moment, until: Moment) -> Iterator[Rated]:
        """What is needed to rate a period again: attempts that customers pay for, whose usage is known."""
        with self._open() as database:
            yield from rated(database, since, until)

    # What people enter.

    def enter(self, *asked: JournalEntry) -> int:
        """Make entries, all or none; return how many were new."""
        with self._open(durable=True) as database:
            return enter(database, *asked)

    def invoices(self, organization: str | None = None) -> list[Invoice]:
        with self._open() as database:
            return invoices(database, organization)

    def draft(self, organization: str, month: str, now: Moment) -> Invoice:
        """The invoice of a month as it would be now."""
        since, until = month_of(month)
        earlier = self.invoices(organization)
        known = [line for one in earlier for line in one.lines]
        others = [
            line
            for old in sorted({one.month for one in earlier if one.month < month})
            for line in corrections(known, self.lines(organization, *month_of(old), width=until - since), old)
        ]
        billed = {line.memo for line in known if line.kind in ("credit", "adjustment")}
        others += [line for line in self._entered(organization, until) if line.memo not in billed]
        with self._open() as database:
            chain = head(database)
        return invoice(
            number=f"{month}-{organization}",
            organization=organization,
            month=month,
            issued=now,
            lines=_in_one(self.lines(organization, since, until)),
            others=others,
            leaves=[each.leaf for each in self.attempts(organization, since, until)],
            chain=chain,
        )

    def issue(self, organization: str, month: str, now: Moment, *, early: bool = False) -> Invoice:
        """Issue the invoice of a month: it is kept, and what its rounding left out is posted.

        Raises ValueError where it was issued, where the month has not begun, and where it is not over and is not to be billed `early`: what
        is used after that is billed as corrections, a month late.
        """
        since, until = month_of(month)
        if since > now:
            raise ValueError(f"{month} has not begun: there is nothing to bill yet")
        if until > now and not early:
            raise ValueError(
                f"{month} is not over: what is used from now on would be billed a month late. Wait for its end, or say --early"
            )
        made = self.draft(organization, month, now)
        owes, pico = customer(organization, ""), made.residue_pico
        debit, credit = ("rounding:invoices", owes) if pico > 0 else (owes, "rounding:invoices")
        name, memo = f"invoice:{made.number}:rounding", f"rounding of invoice {made.number}"
        moment = month_of(month)[1] - SECOND
        rounding = JournalEntry(name=name, moment=moment, kind="rounding", debit=debit, credit=credit, amount_pico=abs(pico), memo=memo)
        with self._open(durable=True) as database:
            issue(database, made, *([rounding] if pico else []))
        return made

    def _entered(self, organization: str, until: Moment) -> list[InvoiceLine]:
        """Credits and adjustments of an organisation."""
        whose = f"customer:{customer(organization, '').removeprefix('customer:')}"
        with self._open() as database:
            found = [one for one in entries(database) if one.kind in ("credit", "adjustment") and one.moment < until]
        lines = []
        for one in found:
            for account, sign in ((one.debit, 1), (one.credit, -1)):
                if account.startswith(whose):
                    kind: Literal["credit", "adjustment"] = "credit" if one.kind == "credit" else "adjustment"
                    month, project = _day(one.moment // DAY)[:7], account.removeprefix(whose)
                    lines.append(other_line(kind, month, sign * one.amount_pico, f"{one.name}: {one.memo}", project))
        return lines


def places_of(settings: Settings) -> Places:
    """Of each pool of the settings its cloud, region and silicon."""
    pools = {pool.name: {"cloud": pool.cloud, "region": pool.region, "silicon": pool.silicon} for pool in settings.pool}
    return pools or {"embedded": {"cloud": "on-premises", "region": "local", "silicon": "cpu"}}


def month_of(month: str) -> tuple[Moment, Moment]:
    """From and until when a month lasts, UTC. Raises ValueError."""
    first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).date()
    return moment_of(first), moment_of((first + timedelta(days=32)).replace(day=1))


def item_of(line: Line) -> str:
    """A line item as OpenAI names it: `gpt-5.4, input_tokens`; with its tier where that is not the standard one."""
    tier = f", {line.owner.tier}" if line.owner.tier not in ("", "standard") else ""
    return f"{line.owner.model}, {METERS[line.segment].lower().replace(',', '').replace(' ', '_')}{tier}"


def added_up(rows: Iterable[Posted]) -> list[Posted]:
    sums: dict[tuple[str, str, str, str], int] = {}
    for one in rows:
        name = one.day, one.kind, one.debit, one.credit
        sums[name] = sums.get(name, 0) + one.amount_pico
    return sorted(Posted(*name, pico) for name, pico in sums.items())


def _in_one(lines: Iterable[Line]) -> list[Line]:
    """Lines of days as lines of the whole time."""
    return merged([msgspec.structs.replace(line, bucket=0) for line in lines], {})


def _told(field: str, name: str) -> str:
    if field == "batch":
        return "true" if name == "batch" else "false"
    return "default" if field == "service_tier" and name in ("", "standard") else name


def _both(one: Used, other: Used) -> Used:
    tokens: Any = [a + b for a, b in zip(msgspec.structs.astuple(one.usage), msgspec.structs.astuple(other.usage), strict=True)]
    return msgspec.structs.replace(one, requests=one.requests + other.requests, usage=type(one.usage)(*tokens))


def _day(number: int) -> str:
    return str(date(1970, 1, 1) + timedelta(days=number))
