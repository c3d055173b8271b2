"""Plots as SVG text: lines over time, and bars with a mark for what was promised. No script, no font, no host."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10

import msgspec

WIDTH, HEIGHT = 720, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 30
COLOURS: tuple[str, ...] = ("#0b6e99", "#d9730d", "#448361", "#9065b0", "#c14c8a", "#cb912f", "#787774", "#337ea9", "#b33a3a", "#2b8a8a")
"""Of like lightness, apart for most who see colours differently; each line is named beside the plot as well."""


class Bar(msgspec.Struct, frozen=True):
    """One bar: up to `value`, with a thin line on to `far`, and a tick at `promised`."""

    name: str
    value: float
    far: float = 0.0
    promised: float | None = None
    told: str = ""


def lines(title: str, unit: str, times: Sequence[float], series: Mapping[str, Sequence[float]], *, top: float | None = None) -> str:
    """Values over hours."""
    most = top if top is not None else max((max(values, default=0.0) for values in series.values()), default=0.0)
    ticks = _ticks(most)
    high, last = ticks[-1] or 1.0, max(times[-1] if times else 0.0, 1e-9)
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(at: float) -> float:
        return LEFT + across * at / last

    def y(value: float) -> float:
        return TOP + up * (1 - min(value, high) / high)

    parts = [_axis(ticks, y, unit)]
    for hour in _ticks(last):
        if hour <= last:
            parts.append(f'<text x="{x(hour):.1f}" y="{HEIGHT - 10}" text-anchor="middle">{_short(hour)}</text>')
    for at, (name, values) in enumerate(series.items()):
        points = " ".join(f"{x(time):.1f},{y(value):.1f}" for time, value in zip(times, values, strict=True))
        parts.append(f'<polyline points="{points}" stroke="{COLOURS[at % len(COLOURS)]}"><title>{escape(name)}</title></polyline>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 10}" text-anchor="end">h</text>')
    return _figure(title, "".join(parts), HEIGHT, list(series))


def bars(title: str, unit: str, held: Sequence[Bar]) -> str:
    """A bar a row."""
    most = max((max(one.value, one.far, one.promised or 0.0) for one in held), default=0.0)
    ticks = _ticks(most)
    high, height, left = ticks[-1] or 1.0, TOP + BOTTOM + 22 * len(held), 190
    across = WIDTH - left - RIGHT - 90
    parts = []
    for value in ticks:
        at = left + across * value / high
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
        parts.append(f'<text x="{at:.1f}" y="{height - 10}" text-anchor="middle">{_short(value)}</text>')
    for row, one in enumerate(held):
        y = TOP + 22 * row + 4
        parts.append(f'<text x="{left - 8}" y="{y + 11}" text-anchor="end">{escape(one.name)}</text>')
        if one.far > one.value:
            parts.append(f'<rect class="far" x="{left}" y="{y + 5}" width="{across * one.far / high:.1f}" height="4"/>')
        parts.append(f'<rect x="{left}" y="{y}" width="{across * one.value / high:.1f}" height="14" fill="{COLOURS[0]}"/>')
        if one.promised is not None:
            at = left + across * one.promised / high
            parts.append(f'<line class="promised" x1="{at:.1f}" x2="{at:.1f}" y1="{y - 2}" y2="{y + 16}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT}" y="{y + 11}" text-anchor="end">{escape(one.told or _short(one.value))}</text>')
    parts.append(f'<text x="{left - 8}" y="{height - 10}" text-anchor="end">{escape(unit)}</text>')
    return _figure(title, "".join(parts), height, [])


def _figure(title: str, inner: str, height: int, names: Sequence[str]) -> str:
    key = "".join(f'<li><i style="background:{COLOURS[at % len(COLOURS)]}"></i>{escape(name)}</li>' for at, name in enumerate(names))
    legend = f"<ul>{key}</ul>" if key else ""
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">{inner}</svg>{legend}</figure>'
    )


def _axis(ticks: Sequence[float], y: Callable[[float], float], unit: str) -> str:
    parts = [f'<text x="{LEFT - 8}" y="{TOP - 2}" text-anchor="end">{escape(unit)}</text>']
    for value in ticks:
        at = y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        if value != ticks[-1] or len(ticks) == 1:
            parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{_short(value)}</text>')
    return "".join(parts)


def _ticks(most: float) -> list[float]:
    """From zero on, at most six, at round values; the last is `most` or above."""
    if most <= 0:
        return [0.0, 1.0]
    rough = most / 5
    power = 10.0 ** floor(log10(rough))
    step = next(power * times for times in (1, 2, 2.5, 5, 10) if power * times >= rough * 0.999999)
    return [step * at for at in range(ceil(most / step - 1e-9) + 1)]


def _short(value: float) -> str:
    for size, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if name == 'k' else size):.3g}{name}"
    return f"{value:,.4g}"
