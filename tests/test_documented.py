"""What a user can set, type, ask or meet is in the reference: nothing is documented by reading the code."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import msgspec
import pytest

from headrace.api import HOT_PATHS, Cold, Conversations, Files, MessageBatches, Responses
from headrace.cli.main import headrace
from headrace.compose import Settings
from headrace.core.errors import HeadraceError, SetupError
from headrace.core.identity import Principal
from headrace.planner import Case, Demand, Held, Limits, Market, Offer, TokenOffer, Training
from headrace.portfolio import snapshot
from headrace.telemetry import Metrics
from headrace.workspace import (
    A2A,
    Console,
    ConsoleReports,
    Door,
    Memories,
    ReportMaking,
    Schedules,
    ThreadBrowser,
    ThreadFiles,
    Triggers,
    Visitors,
    Webhooks,
    page_routes,
)
from tests.administration import administrative_routes, signing_routes

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text(encoding="utf-8")


def sections() -> Iterator[tuple[str, str]]:
    for section in msgspec.structs.fields(Settings):
        kind = section.type.__args__[0] if hasattr(section.type, "__args__") else section.type
        for field in msgspec.structs.fields(kind):
            yield section.encode_name, field.encode_name


def commands(group: click.Group, path: str = "headrace") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                yield f"{path} {name}", command
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def kinds(root: type[HeadraceError]) -> Iterator[type[HeadraceError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from kinds(kind)


@pytest.mark.parametrize(("section", "field"), list(sections()))
def test_every_setting_is_in_the_reference(section: str, field: str) -> None:
    _, found, rest = page("settings").partition(f"\n## {section}\n")
    assert found, f"no section {section}"
    assert f"`{field}`" in rest.partition("\n## ")[0]


@pytest.mark.parametrize("table", [Demand, Training, Case, Market, Offer, TokenOffer, Held, Limits], ids=lambda table: table.__name__)
def test_every_field_of_a_plans_files_is_in_the_reference(table: type[msgspec.Struct]) -> None:
    heading = {"TokenOffer": "tokens"}.get(table.__name__, table.__name__.lower())
    _, found, rest = page("plan").partition(f"\n## {heading}\n")
    assert found, f"no section {heading}"
    for field in msgspec.structs.fields(table):
        assert f"`{field.encode_name}`" in rest.partition("\n## ")[0], field.encode_name


@pytest.mark.parametrize(("path", "command"), list(commands(headrace)), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_and_option_is_in_the_reference(path: str, command: click.Command) -> None:
    rows = [line for line in page("commands").splitlines() if line.startswith((f"| `{path}`", f"| `{path} "))]
    assert rows, f"{path} is not in commands.md"
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name not in ("help", "kind"):
            assert any(option in rows[0] for option in parameter.opts), f"{path} {parameter.opts} is not in commands.md"


@pytest.mark.parametrize(
    "kind", [kind for kind in kinds(HeadraceError) if not issubclass(kind, SetupError)], ids=lambda kind: kind.__name__
)
def test_every_error_code_is_in_the_reference(kind: type[HeadraceError]) -> None:
    assert f"`{kind.code}`" in page("errors")


class NoKeys:
    def version(self) -> int:
        return 0

    def find(self, secret: str) -> Principal | None:
        return None


def test_every_route_is_in_the_reference() -> None:
    cold = Cold(
        snapshot=lambda: snapshot(1, (), ()),
        keys=NoKeys(),
        unready=lambda: None,
        metrics=bytes,
        metrics_type="",
        new_id=lambda prefix: prefix,
    )
    nothing: Any = None
    blank: Any = SimpleNamespace(gateway=None, clock=None, archive=None, files=None)
    more = [
        *Responses(blank, blank, nothing).routes(),
        *Conversations(nothing, nothing, nothing).routes(),
        *Files(nothing, nothing, nothing, nothing, nothing).routes(),
        *Visitors(holders=nothing, may=nothing, archive=nothing, clock=nothing, new_secret=nothing, bearer=nothing).routes(),
        *Door(
            visitors=nothing,
            runs=nothing,
            archive=nothing,
            clock=nothing,
            new_id=nothing,
            new_secret=nothing,
            built_in=nothing,
            blind=nothing,
            most=nothing,
        ).routes(),
        *ThreadFiles(nothing, nothing, nothing, nothing).routes(),
        *ThreadBrowser(nothing, nothing, nothing, nothing).routes(),
        *Console(nothing, nothing, nothing).routes(),
        *ConsoleReports(nothing, nothing).routes(),
        *ReportMaking(nothing, nothing, nothing, nothing, nothing, nothing, nothing).routes(),
        *Schedules(
            visitors=nothing, archive=nothing, clock=nothing, new_id=nothing, sign=nothing, folders=nothing, house=nothing, ring=nothing
        ).routes(),
        *Memories(nothing, nothing, nothing, nothing, nothing).routes(),
        *Webhooks(
            visitors=nothing, archive=nothing, teller=nothing, clock=nothing, new_id=nothing, new_token=nothing, private=nothing
        ).routes(),
        *Triggers(
            visitors=nothing, runs=nothing, archive=nothing, clock=nothing, new_id=nothing, new_token=nothing, sign=nothing, held=nothing
        ).routes(),
        *A2A(nothing, nothing, nothing, "").routes(),
        *page_routes(),
        *MessageBatches(asgi=nothing, archive=nothing, clock=nothing, batches=nothing, settings=nothing, authenticate=nothing).routes(),
        *administrative_routes(),
        *signing_routes(),
    ]
    paths = [getattr(route, "path", "") for route in (*cold.app().routes, *more)]
    for path in {*HOT_PATHS, *paths}:
        assert f"{path.replace('{name:path}', '{model}').replace('{path:path}', '{path}').replace('{name:str}', '{name}')}`" in page("api")


def test_every_metric_is_in_the_reference() -> None:
    metrics = Metrics()
    for family in metrics.collect():
        assert f"`{family.name}" in page("metrics")
