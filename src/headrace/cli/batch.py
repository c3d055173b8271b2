"""`headrace batch`: a file of requests, worked on by the running server at the price of batches."""

import json
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from headrace.cli.client import Client, client_for
from headrace.compose import Place
from headrace.core.errors import InvalidRequest, UpstreamFailed

LOOK_S = 0.5
ENDED = ("completed", "failed", "expired", "cancelled")


@click.group()
def batch() -> None:
    """Work on a file of requests while there is room."""


@batch.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Where the answers go (default: FILE.out.jsonl).")
@click.option("--endpoint", help="The route of the lines (default: the first line's url).")
@click.option("--url", help="Another server's API (default: the one of the settings; OPENAI_BASE_URL).")
@click.option("--key", help="Another key (default: the data folder's development key; OPENAI_API_KEY).")
@click.pass_obj
def run(place: Place, file: Path, output: Path | None, endpoint: str | None, url: str | None, key: str | None) -> None:
    """Run all lines of FILE, each as OpenAI's batches have them, and write their answers. Ctrl-C leaves it running on the server."""
    client = client_for(place, url, key)
    uploaded = client.upload("/files", file, {"purpose": "batch"})
    made = client.post("/batches", {"input_file_id": uploaded["id"], "endpoint": endpoint or _endpoint(file), "completion_window": "24h"})
    ended = _watched(client, made["id"])
    if ended["errors"]:
        for error in ended["errors"]["data"]:
            click.secho(f"line {error['line']}: {error['message']}", fg="red", err=True)
    target = output or file.with_suffix(".out.jsonl")
    written = [id for id in (ended["output_file_id"], ended["error_file_id"]) if id]
    if written:
        target.write_bytes(b"".join(client.content(f"/files/{id}/content") for id in written))
    counts = ended["request_counts"]
    click.echo(
        f"{made['id']} is {ended['status']}: {counts['completed']} of {counts['total']} answered, {counts['failed']} failed", err=True
    )
    if written:
        click.echo(target)
    if ended["status"] != "completed" or counts["failed"]:
        raise UpstreamFailed("not every line was answered")


def _endpoint(file: Path) -> str:
    with file.open("rb") as lines:  # what is no text is no JSON
        for line in lines:
            if line.strip():
                try:
                    return str(json.loads(line)["url"])
                except (ValueError, KeyError, TypeError):
                    break
    raise InvalidRequest(f"{file} has no first line with a url: name the route with --endpoint")


def _watched(client: Client, id: str) -> dict[str, Any]:
    """The batch at its end, with a bar until then."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("validating", total=None)
        while True:
            now: dict[str, Any] = client.get(f"/batches/{id}")
            counts = now["request_counts"]
            progress.update(bar, description=now["status"], total=counts["total"] or None, completed=counts["completed"] + counts["failed"])
            if now["status"] in ENDED:
                return now
            time.sleep(LOOK_S)
