"""`headrace audit`: who changed what, when and from where."""

from pathlib import Path

import click
import msgspec

from headrace.cli.output import opened
from headrace.cli.periods import When
from headrace.cli.tables import FORMATS, Format, show
from headrace.compose import Place, audit_log, shown_moment
from headrace.core.clock import Moment
from headrace.storage import AuditEntry, AuditFilter, audit_break, audit_entries, audit_head

COLUMNS = ("when", "organization", "what", "project", "resource", "who", "from", "details")


@click.group()
def audit() -> None:
    """The log of every administrative change."""


@audit.command("list")
@click.option("--organization", help="Only this organisation's.")
@click.option("--type", "kinds", multiple=True, metavar="TYPE", help="Only these: project.archived, api_key.deleted …")
@click.option("--since", type=When(), metavar="WHEN", help="From this day, moment or age on.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="So many, the latest.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def list_entries(place: Place, organization: str | None, kinds: tuple[str, ...], since: Moment | None, limit: int, kind: Format) -> None:
    """The latest entries, the newest last."""
    asked = AuditFilter(organization=organization, kinds=kinds, since=since)
    with audit_log(place) as database:
        found = audit_entries(database, asked, limit=limit, newest_first=True)
    show([_row(one) for one in reversed(found)], COLUMNS, kind, empty="Nothing was changed yet.")


@audit.command()
@click.option("--organization", help="Only this organisation's; then the chain can't be checked by the file alone.")
@click.option("--since", type=When(), metavar="WHEN", help="From this day, moment or age on.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="The file (default: standard output).")
@click.pass_obj
def export(place: Place, organization: str | None, since: Moment | None, output: Path | None) -> None:
    """Every entry as a line of JSON, the oldest first, each with the hash that chains it to the one before."""
    with audit_log(place) as database, opened(output) as file:
        for one in audit_entries(database, AuditFilter(organization=organization, since=since)):
            file.write(msgspec.json.encode(_exported(one)).decode() + "\n")


@audit.command()
@click.option("--head", help="The hash that was at the end when it was last looked at: it must be in the chain.")
@click.pass_obj
def verify(place: Place, head: str | None) -> None:
    """Check the chain of hashes, and say what is at its end; fails where an entry was changed or taken away."""
    with audit_log(place) as database:
        wrong = audit_break(database)
        count, end = audit_head(database)
        known = head is None or any(one.hash.hex() == head for one in audit_entries(database, AuditFilter()))
    if wrong is not None:
        raise click.ClickException(f"the audit log is not whole: {wrong}")
    if not known:
        raise click.ClickException("the audit log is whole, and no entry of it has that hash: it is another log, or its end is cut off")
    click.echo(f"The audit log is whole: {count} entries, the last has the hash {end.hex()}.")


def _row(one: AuditEntry) -> dict[str, str]:
    author = one.author
    return {
        "when": shown_moment(one.moment),
        "organization": one.organization,
        "what": one.kind,
        "project": one.project,
        "resource": one.resource,
        "who": f"{author.origin}:{author.email or author.name or author.id}",
        "from": author.address or "",
        "details": msgspec.json.encode(one.details).decode() if one.details else "",
    }


def _exported(one: AuditEntry) -> dict[str, object]:
    return {**msgspec.to_builtins(one), "hash": one.hash.hex()}
