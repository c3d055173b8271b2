"""Reports of commands, kept in the data folder for the console of the page."""

import shlex

import click
import msgspec
from click.core import ParameterSource

from headrace.compose import Place
from headrace.compose.clock import MachineClock, Names
from headrace.core.shown import Shown
from headrace.storage import KeptReport, ReportKind, Reports

KEEP = click.option(
    "--keep/--no-keep", default=None, help="Keep the report for the console of the page (default: where there is a data folder already)."
)


def keeps(place: Place, keep: bool | None) -> bool:
    """Whether reports are kept."""
    return place.layout().root.exists() if keep is None else keep


def keep_report(place: Place, kind: ReportKind, shown: Shown, whole: bytes) -> None:
    """Keep it for the page, with the command that made it."""
    clock, line = MachineClock(), _line(click.get_current_context())
    id = Names(clock)("report_")
    report = KeptReport(id=id, kind=kind, made=clock.moment(), line=line, shown=shown, whole=msgspec.Raw(whole))
    Reports(place.layout().reports).keep(report)
    click.secho(f"Kept as {report.id}: the page shows it under Console, Plans & simulations.", dim=True, err=True)


def _line(context: click.Context) -> str:
    """The command as it was given."""
    words = context.command_path.split()
    for parameter in context.command.params:
        if context.get_parameter_source(parameter.name or "") is not ParameterSource.COMMANDLINE or parameter.name == "keep":
            continue
        value = context.params[parameter.name or ""]
        if isinstance(parameter, click.Argument):
            words.append(str(value))
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(parameter.opts[0] if value else (parameter.secondary_opts or parameter.opts)[0])
        else:
            for each in value if isinstance(value, tuple) else (value,):
                words += [parameter.opts[0], str(each)]
    return shlex.join(words)
