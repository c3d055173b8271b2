"""`headrace`: what is common to all commands, and how a failure is told at a terminal."""

import os
import signal
import sys
import threading
from pathlib import Path

import click

from headrace.cli.agent import agent
from headrace.cli.audit import audit
from headrace.cli.batch import batch
from headrace.cli.budget import budget
from headrace.cli.chat import chat
from headrace.cli.doctor import doctor
from headrace.cli.foreign import foreign
from headrace.cli.invoice import invoice
from headrace.cli.keys import keys
from headrace.cli.ledger import ledger
from headrace.cli.mcp import mcp
from headrace.cli.memory import memory
from headrace.cli.models import models
from headrace.cli.plan import plan
from headrace.cli.portfolio import portfolio
from headrace.cli.price import price
from headrace.cli.reconcile import reconcile
from headrace.cli.reload import reload
from headrace.cli.serve import serve
from headrace.cli.simulate import simulate
from headrace.cli.storage import storage
from headrace.cli.trigger import trigger
from headrace.cli.usage import usage
from headrace.cli.webhook import webhook
from headrace.cli.why import why
from headrace.cli.workspace import workspace
from headrace.compose import here, version
from headrace.core.errors import HeadraceError

agent.add_command(foreign)  # it shows what it changed as the others do


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="The settings file (default: ./headrace.toml if there is one)."
)
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="The data folder (default: [storage] path, which is .headrace)."
)
@click.option("--tethered", is_flag=True, hidden=True, help="End when standard input does: whoever began this has gone.")
@click.version_option(version(), prog_name="headrace")
@click.pass_context
def headrace(context: click.Context, config: Path | None, data: Path | None, tethered: bool) -> None:
    """The open, self-hosted infrastructure layer for intelligence: one API, every token counted once and priced."""
    if tethered:
        threading.Thread(target=_end_with_input, daemon=True).start()
    context.obj = here(config, data)


for command in (
    serve, workspace, chat, agent, trigger, webhook, memory, mcp, batch, portfolio, simulate, plan, why, usage, ledger, invoice, reconcile,
    keys, budget, price, audit, storage, models, reload, doctor,
):  # fmt: skip
    headrace.add_command(command)


def _end_with_input() -> None:
    """With all that was begun in this session, which is this process's own."""
    while os.read(0, 64):
        pass
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Run, and turn a failure into one clear line and an exit code of 1."""
    try:
        headrace.main(standalone_mode=False)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(wrong.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except HeadraceError as error:
        click.secho(f"headrace: {error.message}", err=True, fg="red")
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader, such as `head`, has seen enough
