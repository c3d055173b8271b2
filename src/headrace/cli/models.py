"""`headrace models`: the weights on this machine."""

import click
from rich.console import Console

from headrace.cli.progress import Fetching
from headrace.cli.tables import FORMATS, Cell, Format, show
from headrace.compose import Place, cache_folder
from headrace.engine import add, installed


@click.group()
def models() -> None:
    """Add and list the weights that the embedded engine can run."""


@models.command("add")
@click.argument("source", metavar="PATH|URL")
@click.option("--sha256", help="The file's SHA-256; needed for a URL.")
@click.option("--name", help="What to call it (default: the name inside the file).")
@click.pass_obj
def add_model(place: Place, source: str, sha256: str | None, name: str | None) -> None:
    """Bring a GGUF file into the cache, checked by its hash."""
    with Fetching(Console(stderr=True)) as fetched:
        weights = add(source, sha256, cache_folder(place.environ), lambda done, total: fetched(source, done, total), name)
    click.echo(f"{weights.name} is added ({weights.size:,} bytes, SHA-256 {weights.sha256}).")
    click.echo(f'Run it with `headrace serve --weights {weights.name}`, or [engine] weights = "{weights.name}" in headrace.toml.')


@models.command("list")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def list_models(place: Place, kind: Format) -> None:
    """The weights in the cache."""
    rows: list[dict[str, Cell]] = [
        {"name": one.name, "bytes": one.size, "sha256": one.sha256, "source": one.source, "path": str(one.path)}
        for one in installed(cache_folder(place.environ))
    ]
    show(
        rows, ("name", "bytes", "sha256", "source", "path"), kind, empty="No weights are here yet: the first `headrace serve` fetches them."
    )
