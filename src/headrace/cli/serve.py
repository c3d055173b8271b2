"""`headrace serve`: the server, from nothing to ready."""

import json
import sys

import click
from rich.console import Console

from headrace.cli.progress import Fetching
from headrace.compose import Place, Ready, serve_until_stopped


@click.command()
@click.option("--host", help="Address to listen on (default: [server] host, which is 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on (default: [server] port, which is 8080).")
@click.option("--weights", help="A GGUF file, or the name of an added model, to run instead of the default one.")
@click.pass_obj
def serve(place: Place, host: str | None, port: int | None, weights: str | None) -> None:
    """Serve the API, with the embedded model unless pools are configured."""
    console = Console(stderr=True)
    place = place.with_server(host=host, port=port, weights=weights)
    settings = place.settings()
    with Fetching(console) as fetching:
        serve_until_stopped(settings, place.environ, sys.stderr, fetched=fetching, ready=lambda ready: _tell(console, ready))


def _tell(console: Console, ready: Ready) -> None:
    console.print()
    console.print(f"[bold]headrace[/] {ready.version} is ready at [bold]{ready.url}/v1[/]   (in {ready.seconds:.1f} s)", highlight=False)
    console.print(f"  models   {', '.join(ready.models)}", highlight=False)
    console.print(f"  key      {ready.secret}", highlight=False)
    console.print("  try      ", end="", highlight=False)
    console.print(_curl(ready), soft_wrap=True, highlight=False, markup=False)
    console.print(f"  usage    headrace usage     data in {ready.data}", highlight=False)
    console.print("  stop     Ctrl-C", highlight=False)


def _curl(ready: Ready) -> str:
    asked = {
        "model": ready.models[0] if ready.models else "MODEL",
        "messages": [{"role": "user", "content": "Why is the sky blue?"}],
        "stream": True,
    }
    headers = f"-H 'Authorization: Bearer {ready.secret}' -H 'Content-Type: application/json'"
    return f"curl -N {ready.url}/v1/chat/completions {headers} -d '{json.dumps(asked)}'"
