"""`headrace why`: why a request went where it went, which rules held, and what each attempt came to."""

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Literal

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headrace.compose import Place, shared_state
from headrace.compose.decisions import Decisions
from headrace.core.errors import InvalidRequest
from headrace.core.translation import Changed


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What all rules together required; None and empty: nothing about this."""

    names: tuple[str, ...] = ()
    jurisdictions: tuple[str, ...] | None = None
    jurisdictions_too: tuple[tuple[str, ...], ...] = ()
    vendors: tuple[str, ...] | None = None
    vendors_denied: tuple[str, ...] = ()
    data_class: str | None = None
    zero_retention: bool = False


class Excluded(msgspec.Struct, frozen=True, kw_only=True):
    """A pool that serves the model, and the rule or the lack that kept the request from it."""

    pool: str
    rule: str


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A pool that was looked at, what was found of it, and its score, of which the lowest is the best."""

    pool: str
    verdict: str
    score: float


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a parameter that the pool's dialect doesn't take."""

    what: Changed
    param: str
    why: str


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try at one pool. `cost_usd` of None: unpriced, or not billed at all."""

    attempt: int
    pool: str
    state: str
    outcome: str | None
    admitted: str
    ttft_ms: int | None
    duration_ms: int | None
    usage: dict[str, int]
    cost_usd: str | None
    price: str | None
    model_served: str | None
    translation: tuple[Change, ...]
    placed: tuple[Placed, ...]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """All that is on record of one request."""

    request: str
    organization: str
    project: str
    key: str
    traffic_class: str = msgspec.field(name="class")
    model: str
    operation: str
    streamed: bool
    admitted: str
    snapshot: str | int | None
    rules: Rules
    needs: tuple[str, ...]
    excluded: tuple[Excluded, ...]
    attempts: tuple[Attempt, ...]
    cost_usd: str | None
    declined: str | None = None
    considered: tuple[Placed, ...] = ()


@click.command()
@click.argument("request", metavar="REQUEST_ID")
@click.option("--format", "kind", type=click.Choice(("table", "json")), default="table", show_default=True)
@click.pass_obj
def why(place: Place, request: str, kind: Literal["table", "json"]) -> None:
    """Why a request went where it went.

    REQUEST_ID is the `x-request-id` of its answer. Needs no server, only the data folder.
    """
    layout = place.layout()
    found = Decisions(shared_state(place)).of(request) if layout.root.exists() else None
    if found is None:
        raise InvalidRequest(
            f"No request {request!r} is on record in {layout.root}. A request's id is the `x-request-id` of its answer, and is kept as "
            "long as the data folder is. One that was refused for its key, its limits, its form or want of room leaves no record."
        )
    if kind == "json":
        sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else 200)
    _tell(console, msgspec.convert(found, Decision))


def _tell(console: Console, decision: Decision) -> None:
    """First what happened in plain words, then the tables that show it."""
    for sentence in (_who(decision), _end(decision), _rules(decision), _kept_out(decision)):
        console.print(escape(sentence), highlight=False)
    pools = [("all", one.pool, f"kept out: {one.rule}", "") for one in decision.excluded]
    pools += [("none", *_found(one)) for one in decision.considered]
    pools += [(str(each.attempt), *_found(one)) for each in decision.attempts for one in each.placed]
    _show(console, "Attempts", ATTEMPT, [_attempt(each) for each in decision.attempts])
    _show(console, "Pools, in the order in which each attempt ranked them", ("attempt", "pool", "found", "score"), pools)
    changes = [(str(each.attempt), one.param, one.what, one.why) for each in decision.attempts for one in each.translation]
    _show(console, "Translation", ("attempt", "parameter", "became", "since"), changes)


def _who(decision: Decision) -> str:
    streamed = ", streamed," if decision.streamed else ""
    whose = f"the key {decision.key} ({decision.organization}/{decision.project}, class {decision.traffic_class})"
    return f"{decision.request}: {whose} asked for {decision.operation} with {decision.model}{streamed} at {decision.admitted}."


def _end(decision: Decision) -> str:
    """What came of it: by the attempt that answered, where one did, else by the last."""
    if decision.declined is not None:
        return f"No pool was asked for it, and it cost nothing: it was refused with {decision.declined}."
    if not decision.attempts:
        return "No attempt is on record."
    tried = decision.attempts
    heard = next((one for one in tried if one.outcome in ("completed", "client_left")), None)
    last, of = tried[-1], "1 attempt" if len(tried) == 1 else f"{len(tried)} attempts"
    if heard is None and last.state == "held":
        return f"The last of {of} is under way at {last.pool}."
    cost = "it is unpriced" if decision.cost_usd is None else f"it cost {decision.cost_usd} USD"
    guessed = ", of which a part is estimated" if any(one.state in ("estimated", "lost") for one in tried) else ""
    if heard is None:
        how = "was lost when the server died" if last.state == "lost" else f"ended as {last.outcome or last.state}"
        return f"No pool answered it: the last of {of}, at {last.pool}, {how}. For the client {cost}{guessed}."
    which = f"at attempt {heard.attempt} of {len(tried)}" if len(tried) > 1 else "at the first attempt"
    left = "; the client left before the end" if heard.outcome == "client_left" else ""
    return f"{heard.pool} answered it {which}{left}; {cost}{guessed}. The settings {_version(decision.snapshot)} were in force."


def _version(snapshot: str | int | None) -> str:
    return "of then" if snapshot is None else snapshot if isinstance(snapshot, str) else f"{snapshot:08x}"


def _rules(decision: Decision) -> str:
    rules = decision.rules
    required = "; ".join(_required(rules))
    if not required:
        return "No rule about its data held."
    named = [f"rule {name}" for name in rules.names if name != BY_REQUEST]
    whose = " and ".join([*named, *(["what the request asked for itself"] if BY_REQUEST in rules.names else [])])
    return f"These held: {whose}. Together: {required}."


BY_REQUEST = "request"
"""By this name the headers of the request stand among the rules."""


def _required(rules: Rules) -> Iterator[str]:
    if rules.jurisdictions is not None:
        yield (
            f"only where {' or '.join(rules.jurisdictions)} holds"
            if rules.jurisdictions
            else "nowhere, since the jurisdictions exclude each other"
        )
    for demand in rules.jurisdictions_too:
        yield f"only where {' or '.join(demand)} holds as well"
    if rules.vendors is not None:
        yield f"only at {' or '.join(rules.vendors)}" if rules.vendors else "at nobody's, since the vendors exclude each other"
    if rules.vendors_denied:
        yield f"not at {' or '.join(rules.vendors_denied)}"
    if rules.data_class is not None:
        yield f"only at pools that are cleared for {rules.data_class} data"
    if rules.zero_retention:
        yield "only where nothing is retained"


def _kept_out(decision: Decision) -> str:
    needs = f"It needed a pool with {', '.join(decision.needs)}. " if decision.needs else ""
    if not decision.excluded:
        return f"{needs}It was kept from no pool that serves {decision.model}."
    return f"{needs}It was kept from {', '.join(f'{one.pool} ({one.rule})' for one in decision.excluded)}."


ATTEMPT = ("attempt", "pool", "ended", "admitted", "first token", "took", "tokens", "USD", "price", "model served")


def _attempt(each: Attempt) -> tuple[str, ...]:
    ended = each.state if each.outcome is None else each.outcome if each.state == "confirmed" else f"{each.outcome} ({each.state})"
    return (
        str(each.attempt),
        each.pool,
        ended,
        each.admitted,
        _ms(each.ttft_ms),
        _ms(each.duration_ms),
        ", ".join(f"{segment} {count:,}" for segment, count in each.usage.items() if count),
        each.cost_usd if each.cost_usd is not None else "not billed" if each.state == "void" else "unpriced",
        each.price or "",
        each.model_served or "",
    )


def _found(one: Placed) -> tuple[str, str, str]:
    score = f"{one.score:,.0f}" if abs(one.score) >= 1_000 else f"{one.score:.4g}"
    return one.pool, one.verdict, score if one.verdict in SCORED else ""


SCORED = frozenset({"ranked", "late for its class", "over its vendor's share"})


WIDTH_MAX = 10_000


def _ms(span_ms: int | None) -> str:
    return "" if span_ms is None else f"{span_ms:,} ms"


def _show(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table where it fits, else a list of what each row says; columns in which nothing stands are left out."""
    if not rows:
        return
    used = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for index in used:
        table.add_column(columns[index], no_wrap=True)
    for row in rows:
        table.add_row(*(escape(row[index]) for index in used))
    console.print(f"\n[bold]{title}[/]", highlight=False)
    if console.measure(table, options=console.options.update(width=WIDTH_MAX)).maximum <= console.width:
        console.print(table, highlight=False)
        return
    for row in rows:
        told = ", ".join(f"{columns[index]} {row[index]}" for index in used if row[index])
        console.print(f"- {escape(told)}", highlight=False)
