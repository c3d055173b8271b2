"""`headrace memory`: what agents remember of a person, to be seen, corrected and erased."""

from pathlib import Path

import click

from headrace.agents import Readers, Writers
from headrace.cli.agentrun import memories
from headrace.cli.tables import FORMATS, Cell, Format, show
from headrace.cli.terminal import short
from headrace.compose import Place
from headrace.compose.clock import MachineClock, Names, shown_moment
from headrace.storage import Memory

FOLDER = click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Only what is about this folder, and about all."
)
HOW = {"said": "you said it", "leave": "you gave leave to it", "added": "you added it", "edited": "you edited it"}


@click.group()
def memory() -> None:
    """See, correct and erase what agents remember."""


@memory.command("list")
@FOLDER
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def list_memories(place: Place, folder: Path | None, kind: Format) -> None:
    """All that is remembered, the oldest first."""
    with memories(place) as store:
        held = store.of(str(folder.resolve()), "") if folder is not None else store.of()
    rows: list[dict[str, Cell]] = [
        {"id": each.id, "about": each.project or "everywhere", "text": short(each.text) if kind == "table" else each.text, "how": each.how}
        for each in held
    ]
    show(rows, ("id", "about", "text", "how"), kind, empty="Nothing is remembered yet.")


@memory.command("show")
@click.argument("id")
@click.pass_obj
def show_memory(place: Place, id: str) -> None:
    """One memory: its words, what it is about, and where it came from."""
    with memories(place) as store:
        held = store.get(id)
    click.echo(held.text)
    for name, value in _facts(held):
        click.echo(f"  {name:<10} {value}")


@memory.command("add")
@click.argument("text")
@FOLDER
@click.pass_obj
def add(place: Place, text: str, folder: Path | None) -> None:
    """Have TEXT remembered: of a folder, or without --folder of all."""
    clock = MachineClock()
    now = clock.moment()
    with memories(place) as store:
        kept = store.add(
            Memory(
                id=Names(clock)("mem_"),
                project="" if folder is None else str(folder.resolve()),
                text=text.strip(),
                how="added",
                writers=Writers.OWN,
                readers=Readers.PERSON,
                created=now,
                changed=now,
            )
        )
    click.echo(f"Remembered as {kept.id}.")


@memory.command("edit")
@click.argument("id")
@click.argument("text")
@click.pass_obj
def edit(place: Place, id: str, text: str) -> None:
    """Give a memory other words."""
    with memories(place) as store:
        store.edit(id, text.strip(), MachineClock().moment())
    click.echo(f"{id} is changed.")


@memory.command("forget")
@click.argument("id")
@click.pass_obj
def forget(place: Place, id: str) -> None:
    """Erase a memory. It stays in the logs of the runs that read it; `headrace agent undo` does not bring it back."""
    with memories(place) as store:
        gone = store.forget(id)
    click.echo(f"Forgotten: {short(gone.text)}")


def _facts(held: Memory) -> list[tuple[str, str]]:
    facts = [
        ("about", held.project or "everywhere"),
        ("how", HOW[held.how]),
        ("run", held.run),
        ("had read", held.source.replace("\n", ", ")),
        ("written by", Writers(held.writers).name.lower()),
        ("for", Readers(held.readers).name.lower()),
        ("since", shown_moment(held.created)),
        ("changed", shown_moment(held.changed) if held.changed != held.created else ""),
    ]
    return [(name, value) for name, value in facts if value]
