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
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that serve as one (default: [server] workers, which is 1).")
@click.option("--weights", help="A GGUF file, or the name of an added model, to run instead of the default one.")
@click.pass_obj
def serve(place: Place, host: str | None, port: int | None, workers: int | None, weights: str | None) -> None:
    """Serve the API, with the embedded model unless pools are configured."""
    place = place.with_server(host=host, port=port, workers=workers, weights=weights)
    with Fetching(Console(stderr=True)) as fetching:
        serve_until_stopped(
            place.settings, place.environ, sys.stderr, file=place.file, fetched=fetching, ready=lambda ready: _tell(Console(), ready)
        )


def _tell(console: Console, ready: Ready) -> None:
    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False)  # a wrapped address or key can't be copied

    console.print()
    say(f"[bold]headrace[/] {ready.version} is ready at [bold]{ready.url}/v1[/]   (in {ready.seconds:.1f} s)")
    say(f"  page     {ready.page}   (signs you in, once)")
    say(f"  models   {', '.join(ready.models)}")
    say(f"  key      {ready.secret}")
    console.print("  try      ", end="", highlight=False)
    console.print(_curl(ready), soft_wrap=True, highlight=False, markup=False)
    say(f"  usage    headrace usage     data in {ready.data}")
    say("  stop     Ctrl-C")


def _curl(ready: Ready) -> str:
    asked = {
        "model": ready.models[0] if ready.models else "MODEL",
        "messages": [{"role": "user", "content": "Why is the sky blue?"}],
        "max_tokens": 200,
        "stream": True,
    }
    headers = f"-H 'Authorization: Bearer {ready.secret}' -H 'Content-Type: application/json'"
    return f"curl -N {ready.url}/v1/chat/completions {headers} -d '{json.dumps(asked)}'"
