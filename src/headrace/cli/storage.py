"""`headrace storage`: where it is kept what all hosts share."""

import click

from headrace.cli.tables import FORMATS, Cell, Format, show
from headrace.compose import Place, move_to_postgres


@click.group()
def storage() -> None:
    """Where keys and all that is kept lie."""


@storage.command("move")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def move(place: Place, kind: Format) -> None:
    """Copy keys, responses, files' names, batches … from this data folder's SQLite to the PostgreSQL of [storage] url.

    Once, while no server runs, into a database that is empty. All of it is copied or nothing; what was here stays as it was and is not used
    any more. The bytes of files stay where they are: copy the data folder's `files` to where [files] url leads.
    """
    counts = move_to_postgres(place)
    rows: list[dict[str, Cell]] = [{"table": table, "rows": count} for table, count in counts.items()]
    show(rows, ("table", "rows"), kind, empty="There was nothing to move.")
