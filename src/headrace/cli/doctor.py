"""`headrace doctor`: what is wrong with this installation, and what to do."""

import click

from headrace.compose import Place, examine

MARKS = {"good": ("✓", "green"), "note": ("·", "yellow"), "bad": ("✗", "red")}


@click.command()
@click.pass_obj
def doctor(place: Place) -> None:
    """Look at settings, weights, disk, database and books; end with 1 when something must be mended."""
    wrong = 0
    for finding in examine(place):
        mark, colour = MARKS[finding.state]
        click.echo(f"{click.style(mark, fg=colour)} {finding.what}" + (f"\n    {finding.remedy}" if finding.remedy else ""))
        wrong += finding.state == "bad"
    if wrong:
        raise click.ClickException(f"{wrong} thing{'s' if wrong > 1 else ''} to mend")
