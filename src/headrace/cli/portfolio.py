"""`headrace portfolio`: the pools with their places, their state, and what a million tokens cost there now."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headrace.cli.client import admin_for
from headrace.cli.doctor import MARKS
from headrace.cli.tables import FORMATS, Cell, Format, show
from headrace.compose import Place, now
from headrace.compose.capacity import shipped_catalog
from headrace.compose.overview import PoolOverview, judge, overview
from headrace.core.clock import SECOND
from headrace.core.errors import HeadraceError, InvalidRequest

NOT_RUNNING, NOT_IN_FORCE = "not running", "not in force"
ROW = (
    *("pool", "dialect", "vendor", "cloud", "region", "jurisdictions", "silicon", "contract"),
    *("state", "why", "opens_in_ms", "inflight", "limit", "waiting", "ttft_ms", "tpot_ms", "answers_seen"),
    *("model", "served_as", "usd_input", "usd_cached", "usd_output", "usd_input_now", "usd_output_now", "basis"),
)
REGION = ("cloud", "region", "country", "realm", "jurisdictions", "operator", "host", "carbon_g_per_kwh", "source", "as_of")
SILICON = ("silicon", "title", "memory_gb", "bandwidth_gb_s", "power_w", "all_in_w", "usd_per_hour_on_demand", "source", "as_of")
COLOURS = {"open": "green", "recovering": "yellow", "trying": "yellow", "closed": "red"}


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One pool as the running server tells it."""

    name: str
    dialect: str
    vendor: str
    cloud: str
    region: str
    jurisdictions: tuple[str, ...]
    silicon: str
    models: dict[str, str]
    state: str
    closed_for: str
    opens_in_ms: int
    last_failure: str
    inflight: int
    waiting: int
    limit: int
    ttft_ms: float
    tpot_ms: float
    seen: int
    usd_per_mtok: dict[str, dict[str, str]]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, and the version of the settings in force."""

    snapshot: str
    pools: tuple[Seen, ...]


@click.command()
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--regions", is_flag=False, flag_value="", metavar="[CLOUD]", help="List the regions that are known, of one cloud or of all.")
@click.option("--silicon", is_flag=True, help="List the accelerators that are known, yours included.")
@click.option("--check", is_flag=True, help="Only say whether a server would take the settings, and what in them may be a mistake.")
@click.option("--url", help="Another server (default: the one of the settings).")
@click.option("--key", help="A key that may administer it (default: the data folder's development key).")
@click.pass_obj
def portfolio(place: Place, kind: Format, regions: str | None, silicon: bool, check: bool, url: str | None, key: str | None) -> None:
    """The pools: their places, state and cost.

    Asks the running server, and shows what the settings say where none answers. What a million tokens cost is told as of now: on capacity
    that is paid by the hour, that depends on how full it is.
    """
    if regions is not None:
        show(_regions(regions), _columns(REGION, kind), kind, empty="No region is known.")
    elif silicon:
        show(_silicon(place), _columns(SILICON, kind), kind, empty="No silicon is known.")
    elif check:
        _check(place)
    else:
        _pools(place, kind, url, key)


# The pools.


def _pools(place: Place, kind: Format, url: str | None, key: str | None) -> None:
    described = overview(place.settings(), round(now().timestamp()) * SECOND)
    told, note = _told(place, url, key)
    views = list(_views(described, told))
    if kind == "table":
        _print(views)
        click.secho(note, dim=True, err=True)
    else:
        show([row for view in views for row in view.rows], ROW, kind, empty="")


def _told(place: Place, url: str | None, key: str | None) -> tuple[Told | None, str]:
    """What the running server says, and a sentence about that. A server that was asked for by its address must answer."""
    try:
        client = admin_for(place, url, key)
        told = msgspec.convert(client.get("/admin/pools"), Told)
    except (HeadraceError, msgspec.ValidationError) as wrong:
        if url is not None:
            raise
        return None, f"Of the settings only: {wrong}."
    return told, f"As the server at {client.url} tells it, which serves by the settings {told.snapshot}."


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One pool, from the settings, the server, or both, as its rows: one a model, or one without."""

    rows: tuple[Mapping[str, Cell], ...]
    owned: bool

    def __getitem__(self, name: str) -> Cell:
        return self.rows[0][name]


def _views(described: Sequence[PoolOverview], told: Told | None) -> Iterator[View]:
    seen = {} if told is None else {pool.name: pool for pool in told.pools}
    for pool in described:
        at = seen.pop(pool.name, None)
        if at is not None:
            yield _running(at, pool)
        else:
            yield _idle(pool, NOT_RUNNING if told is None else NOT_IN_FORCE)
    for at in seen.values():  # the file no longer has them, or an other server was asked
        yield _running(at, None)


def _idle(pool: PoolOverview, state: str) -> View:
    common: dict[str, Cell] = {
        "pool": pool.name,
        **{name: getattr(pool, name) for name in ("dialect", "vendor", "cloud", "region", "silicon", "contract")},
        "jurisdictions": " ".join(pool.jurisdictions),
        "state": state,
        "limit": pool.concurrency_max,
    }
    rows = [
        {
            **common,
            "model": tariff.model,
            "served_as": tariff.served_as,
            "usd_input": tariff.input,
            "usd_cached": tariff.cached_input,
            "usd_output": tariff.output,
            "usd_input_now": None if pool.owned else tariff.input,
            "usd_output_now": None if pool.owned else tariff.output,
            "basis": tariff.basis,
        }
        for tariff in pool.tariffs
    ]
    return _view(rows or [common], owned=pool.owned)


def _running(at: Seen, described: PoolOverview | None) -> View:
    common: dict[str, Cell] = {
        "pool": at.name,
        **{name: getattr(at, name) for name in ("dialect", "vendor", "cloud", "region", "silicon", "state")},
        **{name: getattr(at, name) for name in ("opens_in_ms", "inflight", "limit", "waiting")},
        "jurisdictions": " ".join(at.jurisdictions),
        "contract": described.contract if described else None,
        "why": at.closed_for or (at.last_failure if at.state != "open" else ""),
        "ttft_ms": round(at.ttft_ms),
        "tpot_ms": round(at.tpot_ms),
        "answers_seen": at.seen,
    }
    bases = {tariff.model: tariff.basis for tariff in described.tariffs} if described else {}
    rows: list[dict[str, Cell]] = [
        {
            **common,
            "model": model,
            "served_as": its,
            "usd_input": cost.get("input"),
            "usd_cached": cost.get("cached_input"),
            "usd_output": cost.get("output"),
            "usd_input_now": cost.get("input_now"),
            "usd_output_now": cost.get("output_now"),
            "basis": bases.get(model),
        }
        for model, its in at.models.items()
        for cost in (at.usd_per_mtok.get(model, {}),)
    ]
    owned = described.owned if described else any(row["usd_input"] != row["usd_input_now"] for row in rows)
    return _view(rows or [common], owned=owned)


def _view(rows: Sequence[Mapping[str, Cell]], *, owned: bool) -> View:
    return View(rows=tuple({name: row.get(name) for name in ROW} for row in rows), owned=owned)


# How they are shown.


def _print(views: Sequence[View]) -> None:
    """A table where it fits, else a paragraph a pool: a table with words broken up in its cells can't be read."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    table = _table(views)
    if console.measure(table, options=console.options.update(width=WIDTH_MAX)).maximum <= console.width:
        console.print(table, highlight=False)
    else:
        for view in views:
            console.print(_paragraph(view), highlight=False)


WIDTH_MAX = 10_000


def _table(views: Sequence[View]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("pool", "where", "silicon", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("in flight", justify="right", no_wrap=True)
    table.add_column("ttft", justify="right", no_wrap=True)
    table.add_column("model", no_wrap=True)
    table.add_column("USD a million tokens, in / out", no_wrap=True)
    for view in views:
        table.add_row(
            f"[bold]{_text(view['pool'])}[/]\n{_text(view['dialect'])}",
            f"{_where(view)}\n{_text(view['jurisdictions']) or '-'}",
            f"{_silicon_of(view)}\n{_text(view['contract'])}",
            "\n".join(_state(view)),
            "\n".join(_load(view)),
            _ttft(view),
            "\n".join(_text(row["model"]) for row in view.rows),
            "\n".join(_price(view, row) for row in view.rows),
        )
    return table


def _paragraph(view: View) -> str:
    holds = _text(view["jurisdictions"])
    load, waiting = _load(view)
    ttft = _ttft(view)
    now = [*_state(view), f"{load} in flight", waiting, f"ttft {ttft}" if ttft else ""]
    lines = [
        f"[bold]{_text(view['pool'])}[/]  {', '.join(filter(None, now))}",
        f"  {_where(view)}{f': {holds}' if holds else ''}",
        f"  {', '.join(filter(None, (_silicon_of(view), _text(view['dialect']), _text(view['contract']))))}",
        *(f"  {_text(row['model'])}: {_price(view, row)}, USD a million tokens" for row in view.rows if row["model"] is not None),
    ]
    return "\n".join(lines)


def _where(view: View) -> str:
    return f"{_text(view['cloud'])} {_text(view['region'])}"


def _silicon_of(view: View) -> str:
    """Empty where tokens are bought and nobody said what makes them."""
    return "" if view["silicon"] == "cpu" and not view.owned else _text(view["silicon"])


def _state(view: View) -> Iterator[str]:
    """In a word, and where it is closed for how long and why."""
    state, opens_in_ms = str(view["state"]), view["opens_in_ms"] or 0
    resting = state == "open" and view["why"]
    colour = "yellow" if resting else COLOURS.get(state, "dim")
    span = f", {-(-int(opens_in_ms) // 1000)} s" if opens_in_ms else ""
    yield f"[{colour}]{'resting' if resting else state}{span}[/]"
    if why := str(view["why"] or ""):
        yield escape(why if len(why) <= WHY_MAX else f"{why[: WHY_MAX - 1]}…")


WHY_MAX = 48


def _load(view: View) -> tuple[str, str]:
    """How many requests of how many it works on, and how many wait."""
    limit, waiting = view["limit"] or 0, view["waiting"]
    if view["inflight"] is None:
        return f"-/{limit:,}", ""
    return f"{view['inflight']:,}/{limit:,}", f"{waiting:,} waiting" if waiting else ""


def _ttft(view: View) -> str:
    return f"{view['ttft_ms']:,} ms" if view["answers_seen"] else ""


def _price(view: View, row: Mapping[str, Cell]) -> str:
    if row["usd_input"] is None or row["basis"] == "unknown":
        return "not known" if row["model"] is not None else ""
    full, at = (
        f"{_short(row['usd_input'])} / {_short(row['usd_output'])}",
        f"{_short(row['usd_input_now'])} / {_short(row['usd_output_now'])}",
    )
    basis = f" ({_text(row['basis'])})" if row["basis"] else ""
    if not view.owned:
        return f"{at}{basis}"
    return f"{full} at full use{basis}" if row["usd_input_now"] is None else f"{at} now, {full} at full use{basis}"


def _short(usd: Cell) -> str:
    """To three digits that count, and at least to the cent: whoever needs the last digit takes JSON or CSV."""
    value = Decimal(str(usd or 0))
    whole, _, rest = f"{round(value, max(2, 2 - value.adjusted())):f}".partition(".")
    return f"{whole}.{rest.rstrip('0').ljust(2, '0')}"


def _text(cell: Cell) -> str:
    return "" if cell is None else escape(str(cell))


# What is known, and whether the settings are right.


def _columns(names: tuple[str, ...], kind: Format) -> tuple[str, ...]:
    """Programs get all of it; at a terminal, where each fact is from would leave no room for the facts."""
    return tuple(name for name in names if kind != "table" or name not in ("source", "as_of", "operator"))


def _regions(cloud: str) -> list[dict[str, Cell]]:
    known = shipped_catalog()
    if cloud and known.cloud(cloud) is None:
        near = known.nearest("cloud", cloud)
        meant = f": did you mean {' or '.join(near)}?" if near else f"; known are {', '.join(known.clouds)}."
        raise InvalidRequest(f"No cloud {cloud!r} is known{meant}")
    return [
        {
            "cloud": place.cloud,
            "region": place.name,
            "country": place.country,
            "realm": place.realm,
            "jurisdictions": " ".join(sorted(place.jurisdictions)),
            "operator": place.operator or known.clouds[place.cloud].operator,
            "host": place.host,
            "carbon_g_per_kwh": None if place.carbon_g_per_kwh is None else round(place.carbon_g_per_kwh),
            "source": place.source,
            "as_of": None if place.as_of is None else str(place.as_of),
        }
        for place in known.regions.values()
        if cloud in ("", place.cloud)
    ]


def _silicon(place: Place) -> list[dict[str, Cell]]:
    known = shipped_catalog().with_silicon(place.settings().silicon)
    return [
        {
            "silicon": one.name,
            "title": one.title,
            "memory_gb": _whole(one.memory_gb),
            "bandwidth_gb_s": _whole(one.memory_bandwidth_tb_s, 1_000),
            "power_w": _whole(one.power_w),
            "all_in_w": _whole(one.all_in_kw, 1_000),
            "usd_per_hour_on_demand": _on_demand(one.name),
            "source": one.source,
            "as_of": None if one.as_of is None else str(one.as_of),
        }
        for one in known.accelerators.values()
    ]


def _on_demand(silicon: str) -> str | None:
    """The lowest and the highest list price of an hour on demand, over all clouds and regions."""
    rows = shipped_catalog().prices.get((silicon, "on_demand"), ())
    if not rows:
        return None
    low, high = min(row.pico_per_accelerator_hour_min for row in rows), max(row.pico_per_accelerator_hour_max for row in rows)
    return " to ".join(f"{Decimal(pico) / 10**12:.2f}" for pico in sorted({low, high}))


def _whole(figure: float | None, times: int = 1) -> int | None:
    return None if figure is None else round(figure * times)


def _check(place: Place) -> None:
    for finding in judge(place.settings(), place.environ):
        mark, colour = MARKS[finding.state]
        click.echo(f"{click.style(mark, fg=colour)} {finding.what}" + (f"\n    {finding.remedy}" if finding.remedy else ""))
