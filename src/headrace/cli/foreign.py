"""`headrace agent foreign`: another maker's agent, in our sandbox and over our API: its files a draft, its money a key of its own."""

import asyncio
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from threading import Event as Bell

import click
import msgspec

from headrace.agents import Grant
from headrace.agents.events import Ended
from headrace.cli.agent import offer
from headrace.cli.agentrun import begin, draft_of, home_of, new_name
from headrace.cli.client import Client, client_for
from headrace.cli.minted import keep_good, minted_key
from headrace.compose import Place
from headrace.compose.clock import MachineClock
from headrace.core.errors import InvalidRequest, SetupError, UpstreamFailed
from headrace.sandbox import PROXY_PORT, Doorway, Draft, Limits, Line, Outcome, confined, run_line, try_level
from headrace.storage import RunLog

INSIDE = f"http://127.0.0.1:{PROXY_PORT}"
NO_KEY = "sk-hr-in-the-sandbox"
"""What the agent takes for its key: the door puts the true one in its place."""
ADDRESS_SPACE = 1 << 46
"""Engines of JavaScript reserve far more address space than they use."""
SAID_CHARS_MAX = 4_000
LENDER_TRIES, LENDER_S = 40, 0.25


class Recipe(msgspec.Struct, frozen=True):
    """How an agent is started for one task: its program, the words behind it, and its environment. `{model}` and `{task}` are filled in."""

    program: str
    words: tuple[str, ...]
    environment: dict[str, str] = {}
    installed_by: str = ""


RECIPES: dict[str, Recipe] = {
    "codex": Recipe(
        "codex",
        (
            "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--color", "never", "--model", "{model}",
            "--config", 'model_provider="headrace"',
            "--config", f'model_providers.headrace={{name="headrace",base_url="{INSIDE}/v1",env_key="HEADRACE_KEY",wire_api="responses"}}',
            "{more}", "{task}",
        ),
        {"HEADRACE_KEY": NO_KEY},
        "npm install -g @openai/codex",
    ),
    "claude": Recipe(
        "claude",
        ("--print", "--dangerously-skip-permissions", "--model", "{model}", "{more}", "{task}"),
        {
            "ANTHROPIC_SMALL_FAST_MODEL": "{model}",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "IS_SANDBOX": "1",
        },
        "npm install -g @anthropic-ai/claude-code",
    ),
}  # fmt: skip
"""What each skips of its own confinement is done by the sandbox, which they can't lower."""


@click.command()
@click.argument("name", type=click.Choice((*RECIPES, "command")))
@click.argument("task")
@click.argument("more", nargs=-1)
@click.option("--command", "line", help="With NAME `command`: the shell line that is run; TASK is in HEADRACE_TASK.")
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default=".", show_default=True, help="The workspace."
)
@click.option("--model", help="The model to work with (default: the first that the server lists).")
@click.option("--take", is_flag=True, help="Take the changes over into the folder without asking.")
@click.option("--usd-max", type=Decimal, default=Decimal(1), show_default=True, help="No more dollars than this; 0: no budget of its own.")
@click.option("--minutes", type=click.IntRange(1, 24 * 60), default=30, show_default=True, help="It is ended after so long.")
@click.option(
    "--program", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Where its program is (default: on the PATH)."
)
@click.option(
    "--read", multiple=True, type=click.Path(path_type=Path, exists=True), help="More that it may read, such as where it is installed."
)
@click.option("--url", help="Another server's API (default: the one of the settings; OPENAI_BASE_URL).")
@click.option("--key", help="Another key (default: the data folder's development key; OPENAI_API_KEY).")
@click.pass_obj
def foreign(
    place: Place,
    name: str,
    task: str,
    more: Sequence[str],
    line: str | None,
    folder: Path,
    model: str | None,
    take: bool,
    usd_max: Decimal,
    minutes: int,
    program: Path | None,
    read: Sequence[Path],
    url: str | None,
    key: str | None,
) -> None:
    """Have another maker's agent do TASK in a draft of the folder: Codex CLI, Claude Code, or any command. MORE goes to it as it is.

    It reaches the models of this server and nothing else, with a key of its own that it never sees.
    """
    client = client_for(place, url, key)
    model = model or client.first_chat_model()
    command, paths, environment = _started(place, name, line, task, more, model, program, read)
    level = try_level()
    click.secho(level.says, dim=True, err=True)
    run = new_name()
    limits = Limits(
        seconds_max=60 * minutes,
        output_bytes_max=64 << 20,
        processes_max=2_048,
        open_files_max=8_192,
        memory_bytes_max=ADDRESS_SPACE,
    )
    with minted_key(client, _wish(run, model, usd_max)) as minted:
        _left(client, minted, model, tries=LENDER_TRIES)
        begin(place, task, folder, Grant(), name=run)
        click.secho(f"{run} in {folder.resolve()}", dim=True, err=True)
        draft = draft_of(place, run)
        door = Doorway(client.url, minted["secret"])
        said = "It was stopped."
        try:
            held = confined(
                command, draft, level, limits, proxy=draft.place / "door.sock", read=paths, environment=environment, is_proxy=False
            )
            outcome = asyncio.run(_ran(client, minted, door, held, draft, limits))
            said = outcome.stdout.strip()[-SAID_CHARS_MAX:] or f"It ended with {outcome.exit_code}."
        finally:
            log = RunLog(home_of(place, run) / "events.jsonl")
            log.append(Ended(said), MachineClock().moment(), durable=True)
            log.close()
        left = _left(client, minted, model)
    _tell(outcome, door, None if left is None else usd_max - left, usd_max)
    offer(draft, run, take=take and outcome.exit_code == 0)
    if outcome.exit_code:
        sys.exit(1)


def _started(
    place: Place,
    name: str,
    line: str | None,
    task: str,
    more: Sequence[str],
    model: str,
    program: Path | None,
    read: Sequence[Path],
) -> tuple[str, list[Path], dict[str, str]]:
    """The shell's line, what it may read, and its environment. Raises InvalidRequest, SetupError."""
    common = {
        "OPENAI_BASE_URL": f"{INSIDE}/v1",
        "OPENAI_API_KEY": NO_KEY,
        "ANTHROPIC_BASE_URL": INSIDE,
        "ANTHROPIC_API_KEY": NO_KEY,
        "HEADRACE_MODEL": model,
        "HEADRACE_TASK": task,
    }
    if (name == "command") != (line is not None):
        raise InvalidRequest("`headrace agent foreign command TASK` takes --command, and no other does.")
    if line is not None:
        return shlex.join(("sh", "-c", line, *more)) if more else line, [path.resolve() for path in read], common
    recipe = RECIPES[name]
    found = str(program) if program is not None else shutil.which(recipe.program, path=place.environ.get("PATH"))
    if found is None:
        raise SetupError(f"{recipe.program} is not on the PATH: {recipe.installed_by}, or say with --program where it is.")
    home, paths, runner = installed_at(Path(found), place.environ)
    words = [word for one in recipe.words for word in (more if one == "{more}" else (_filled(one, model, task),))]
    environment = {**common, **{variable: _filled(value, model, task) for variable, value in recipe.environment.items()}}
    return shlex.join((*runner, str(home), *words)), [*paths, *(path.resolve() for path in read)], environment


def _filled(word: str, model: str, task: str) -> str:
    return {"{model}": model, "{task}": task}.get(word, word)


def installed_at(program: Path, environ: Mapping[str, str]) -> tuple[Path, list[Path], list[str]]:
    """A program as the sandbox can start it: where it truly is, what it needs to read, and what has to run it.

    A package of npm needs the others beside it, and a script of Node.js the `node` that is on the PATH.
    """
    true = program.resolve()
    packages = [folder for folder in true.parents if folder.name == "node_modules"]
    needed = [packages[-1] if packages else true.parent]
    with true.open("rb") as file:
        is_script = file.read(64).startswith(b"#!/usr/bin/env node")
    node = shutil.which("node", path=environ.get("PATH")) if is_script else None
    runner = [str(Path(node).resolve())] if node is not None else []
    needed += [Path(one).parent for one in runner]
    return true, [path for path in dict.fromkeys(needed) if not path.is_relative_to("/usr")], runner


def _wish(run: str, model: str, usd_max: Decimal) -> dict[str, object]:
    """The key that is minted for it."""
    budget = {} if usd_max == 0 else {"budget_usd": f"{usd_max:f}"}
    return {"name": f"foreign {run}", "models": [model], **budget}


async def _ran(client: Client, minted: Mapping[str, str], door: Doorway, line: Line, draft: Draft, limits: Limits) -> Outcome:
    """Run it to its end, and keep its key good so long; whoever stops us stops it."""
    await door.start(draft.place / "door.sock")
    try:
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(keep_good(client, minted))
            outcome = await run_line(line, draft, limits, hear=_hear)
            keeping.cancel()
        return outcome
    finally:
        await door.stop()


def _hear(text: str) -> None:
    """What it says, without what would command the terminal."""
    click.echo("".join(letter for letter in text if letter.isprintable() or letter in "\n\t"), nl=False)


def _left(client: Client, minted: Mapping[str, str], model: str, tries: int = 1) -> Decimal | None:
    """What its own budget still has; None where it has none. With the first budget of a server whoever lends has yet to start."""
    asked = {"model": model, "messages": [{"role": "user", "content": "?"}]}
    try:
        quote = Client(client.url, minted["secret"]).post("/quotes", asked)
    except UpstreamFailed:
        if tries <= 1:
            raise
        Bell().wait(LENDER_S)
        return _left(client, minted, model, tries - 1)
    own = [one for one in quote["budgets"] if one["budget"] == f"key:{minted['id']}"]
    return Decimal(own[0]["free_usd"]) if own else None


def _tell(outcome: Outcome, door: Doorway, spent: Decimal | None, usd_max: Decimal) -> None:
    click.echo()
    if outcome.stopped or outcome.exit_code:
        click.secho(outcome.says or f"It ended with {outcome.exit_code}.", fg="yellow", err=True)
    for refused in dict.fromkeys(door.refused):
        click.secho(refused, fg="yellow", err=True)
    paid = "" if spent is None else f", ${spent:f} of ${usd_max:f}"
    click.secho(f"{door.asked} requests{paid}", dim=True, err=True)
