"""`headrace agent clone`: a repository of git brought into a folder, in the sandbox, for agents to work on."""

import asyncio
from pathlib import Path

import click

from headrace.cli.agentrun import new_name
from headrace.compose import Place, outfit_of, secret_of
from headrace.sandbox import try_level
from headrace.sandbox.cloning import DEPTH, DEPTH_MAX, Source, name_of
from headrace.sandbox.cloning import clone as bring
from headrace.storage import make_folder


@click.command("clone")
@click.argument("url")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.option("--branch", default="", help="Another branch than the repository's own.")
@click.option("--depth", type=click.IntRange(1, DEPTH_MAX), default=DEPTH, show_default=True, help="How many commits back are brought.")
@click.option("--token-env", help="The variable that holds a token for the repository's host.")
@click.pass_obj
def clone(place: Place, url: str, folder: Path | None, branch: str, depth: int, token_env: str | None) -> None:
    """Bring the repository at URL into FOLDER, to work on: in the sandbox, which reaches its host alone and runs nothing of it.

    URL is an https address or a folder of this machine. Submodules and the files of Git LFS are left out.
    """
    token = "" if token_env is None else secret_of(place.environ, token_env, "the repository")
    try:
        source = Source(url=url, token=token, branch=branch, depth=depth)
    except ValueError as wrong:
        raise click.ClickException(str(wrong)) from None
    outfit, target = outfit_of(place.settings(), place.environ), folder or Path(name_of(url))
    work = make_folder(place.layout().root).root / f".{new_name()}"
    asyncio.run(bring(source, target, work, try_level(), local=True, ports=outfit.ports, private=outfit.private))
    click.echo(f"It is in {target}: headrace agent run 'TASK' --folder {target}")
