"""The pieces of a run's changes at the terminal: shown with their numbers, and asked about one by one."""

import re
from collections.abc import Sequence

import click

from headrace.agents.hunks import Shown, shown
from headrace.cli.printed import plain
from headrace.core.errors import InvalidRequest
from headrace.sandbox import Choice, Reviewed


def show_change(change: Reviewed) -> None:
    """One change with all of its pieces."""
    _show_head(change)
    for number, piece in enumerate(shown(change.old, change.hunks or ()), 1):
        _show_piece(number, piece)


def choice_of(text: str) -> Choice:
    """`PATH`, or `PATH:1,3` for some of its pieces. Raises InvalidRequest."""
    found = re.fullmatch(r"(?s:(.+?))(?::(\d+(?:,\d+)*))?", text)
    if found is None:
        raise InvalidRequest("Nothing is chosen by an empty --hunks: write PATH or PATH:1,3")
    numbers = None if found[2] is None else tuple(int(number) - 1 for number in found[2].split(","))
    if numbers is not None and -1 in numbers:
        raise InvalidRequest(f"{text!r}: pieces are numbered from 1, as headrace agent diff --hunks shows them.")
    return Choice(found[1], numbers)


def asked_for(changes: Sequence[Reviewed]) -> list[Choice]:
    """What the person wants of it, asked piece by piece."""
    choices = []
    for change in changes:
        _show_head(change)
        if change.hunks is None or len(change.hunks) < 2:
            for number, piece in enumerate(shown(change.old, change.hunks or ()), 1):
                _show_piece(number, piece)
            if click.confirm("Keep it?", default=True):
                choices.append(Choice(change.path, None, change.version))
            continue
        kept = []
        for number, piece in enumerate(shown(change.old, change.hunks), 1):
            _show_piece(number, piece)
            if click.confirm("Keep this?", default=True):
                kept.append(number - 1)
        if kept or change.kind == "renamed":
            choices.append(Choice(change.path, tuple(kept), change.version))
    return choices


def _show_head(change: Reviewed) -> None:
    name = f"{change.source} → {change.path}" if change.source else change.path
    click.secho(f"{change.kind:<8} {plain(name)}", bold=True)
    if change.whole:
        click.secho(f"  kept or left whole: {change.whole}", dim=True)
    if change.foreign:
        click.secho("  the folder's file was changed by somebody else since: it can't be taken over", fg="yellow")


def _show_piece(number: int, piece: Shown) -> None:
    hunk = piece.hunk
    click.secho(f"  [{number}] @@ -{hunk.old_start + 1},{len(hunk.old)} +{hunk.new_start + 1},{len(hunk.new)} @@", fg="cyan")
    for sign, colour, lines in ((" ", None, piece.lead), ("-", "red", hunk.old), ("+", "green", hunk.new), (" ", None, piece.tail)):
        for line in lines:
            click.secho(f"  {sign}{plain(line.decode(errors='replace').rstrip(chr(10)))}", fg=colour)
            if not line.endswith(b"\n"):
                click.secho("  \\ No newline at end of file", dim=True)
