"""`headrace chat`: a conversation in the terminal, streamed, over the same API as everybody's."""

import sys
from collections.abc import Iterator
from typing import Any

import click

from headrace.cli.client import Client, client_for
from headrace.compose import Place
from headrace.core.errors import HeadraceError


@click.command()
@click.option("-m", "--message", help="Ask this one question and end; `-` reads it from standard input.")
@click.option("--model", help="The model to ask (default: the first that the server lists).")
@click.option("--system", help="A system message that the conversation starts with.")
@click.option("--max-tokens", type=click.IntRange(min=1), default=1_024, show_default=True, help="The longest answer, in tokens.")
@click.option("--temperature", type=click.FloatRange(0, 2), help="0 is repeatable, 2 is wild.")
@click.option("--url", help="Another server's API (default: the one of the settings; OPENAI_BASE_URL).")
@click.option("--key", help="Another key (default: the data folder's development key; OPENAI_API_KEY).")
@click.pass_obj
def chat(
    place: Place,
    message: str | None,
    model: str | None,
    system: str | None,
    max_tokens: int,
    temperature: float | None,
    url: str | None,
    key: str | None,
) -> None:
    """Talk to a model. Without -m it is a conversation: an empty line, Ctrl-D or /exit ends it."""
    client = client_for(place, url, key)
    options: dict[str, Any] = {"max_completion_tokens": max_tokens, **({} if temperature is None else {"temperature": temperature})}
    conversation = Conversation(client, model or client.first_chat_model(), system, options)
    if message is not None:
        conversation.say(sys.stdin.read() if message == "-" else message)
        return
    click.secho(f"{conversation.model} at {client.url}. An empty line ends, Ctrl-C stops an answer.", dim=True, err=True)
    while text := _typed():
        try:
            conversation.say(text)
        except KeyboardInterrupt:
            click.secho(" (stopped)", dim=True, err=True)
        except HeadraceError as error:
            click.secho(error.message, fg="red", err=True)


class Conversation:
    """What was said so far; a failed or stopped turn leaves no trace in it."""

    def __init__(self, client: Client, model: str, system: str | None, options: dict[str, Any]) -> None:
        self.model = model
        self._client, self._options = client, options
        self._messages: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []

    def say(self, text: str) -> None:
        """Ask, and print the answer as it comes."""
        asked = [*self._messages, {"role": "user", "content": text}]
        body = {"model": self.model, "messages": asked, "stream": True, "stream_options": {"include_usage": True}, **self._options}
        answer = "".join(self._printed(self._client.stream("/chat/completions", body)))
        self._messages = [*asked, {"role": "assistant", "content": answer}]

    def _printed(self, chunks: Iterator[dict[str, Any]]) -> Iterator[str]:
        usage = None
        for chunk in chunks:
            usage = chunk.get("usage") or usage
            for choice in chunk.get("choices", ()):
                if said := choice["delta"].get("content"):
                    click.echo(said, nl=False)
                    sys.stdout.flush()
                    yield said
        click.echo()
        if usage and sys.stderr.isatty():
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
            click.secho(f"{usage['prompt_tokens']} tokens in ({cached} cached), {usage['completion_tokens']} out", dim=True, err=True)


def _typed() -> str:
    try:
        text = input("\n> " if sys.stdin.isatty() else "").strip()
    except (EOFError, KeyboardInterrupt):
        return ""
    return "" if text in ("/exit", "/quit", "exit", "quit") else text
