"""The terminal's commands `simulate` and `plan` as the page has them run: what it may choose, checked before anything begins."""

import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from headrace.compose.planning import question
from headrace.compose.reload import Reloading
from headrace.compose.simulated import parse_scenario, read_scenario, shipped_scenarios, sites_of
from headrace.core.errors import InvalidRequest, SettingsInvalid
from headrace.simulator.known import compiled_here
from headrace.storage import Layout
from headrace.workspace import NewReport, Offered

DEFAULT = "small"


class ServedCommands:
    """`scenarios/` and `plans/` of the data folder hold the files that may be chosen; what is pasted is written beside them."""

    def __init__(self, layout: Layout, reloading: Reloading) -> None:
        self._layout, self._reloading = layout, reloading

    def offered(self) -> Offered:
        return Offered(
            scenarios=(*shipped_scenarios(), *self._files("scenarios")),
            plans=self._files("plans"),
            simulation_lacks=""
            if compiled_here()
            else "numba is not installed, so this takes much longer: pip install 'headrace[simulate]'",
            plan_lacks="" if find_spec("highspy") else "The solver is not installed: pip install 'headrace[plan]'",
        )

    def line(self, asked: NewReport) -> Sequence[str]:
        """The whole command, once what it is given is known to be right. Raises InvalidRequest, which names the field."""
        words = self._simulation(asked) if asked.kind == "simulation" else self._plan(asked)
        file = self._reloading.file
        nice = ("nice", "-n", "10") if shutil.which("nice") else ()
        settings = () if file is None else ("--config", str(file))
        return (*nice, sys.executable, "-m", "headrace", "--tethered", *settings, "--data", str(self._layout.root), *words, "--keep")

    def _simulation(self, asked: NewReport) -> Sequence[str]:
        source = self._given("scenarios", "source", asked.source, "text", asked.text) or asked.source or DEFAULT
        try:
            scenario = parse_scenario(asked.text, "the scenario") if asked.text.strip() else read_scenario(str(source))
            sites_of(scenario, scenario.simulation.scale)
        except SettingsInvalid as wrong:
            raise InvalidRequest(wrong.message, param="text" if asked.text.strip() else "source") from None
        said: dict[str, tuple[str, float | None]] = {"hours": ("duration_s", asked.hours), "scale": ("scale", asked.scale)}
        words: list[str] = []
        for field, (name, value) in said.items():
            if value is not None:
                try:
                    msgspec.structs.replace(scenario.simulation, **{name: value * 3_600 if field == "hours" else value})
                except ValueError as wrong:
                    raise InvalidRequest(str(wrong), param=field) from None
                words += [f"--{field}", f"{value:g}"]
        return ("simulate", "--scenario", str(source), "--seed", str(asked.seed), "--progress", *words)

    def _plan(self, asked: NewReport) -> Sequence[str]:
        if not find_spec("highspy"):
            raise InvalidRequest(self.offered().plan_lacks, param="kind")
        words: list[str] = []
        demand = self._given("plans", "source", asked.source, "text", asked.text)
        portfolio = self._given("plans", "portfolio", asked.portfolio, "portfolio_text", asked.portfolio_text)
        for option, file, field in (
            ("--demand", demand, "text" if asked.text.strip() else "source"),
            ("--portfolio", portfolio, "portfolio_text" if asked.portfolio_text.strip() else "portfolio"),
        ):
            try:  # each alone first, so that what is wrong is said at its field
                question(
                    file if option == "--demand" else None,
                    file if option == "--portfolio" else None,
                    self._reloading.settings,
                    servable=False,
                )
            except SettingsInvalid as wrong:
                raise InvalidRequest(wrong.message.replace(f"{self._layout.making}/", ""), param=field) from None
            if file is not None:
                words += [option, str(file)]
        try:
            question(demand, portfolio, self._reloading.settings)
        except SettingsInvalid as wrong:
            raise InvalidRequest(wrong.message, param="source") from None
        return ("plan", "--seed", str(asked.seed), *words)

    def _given(self, folder: str, name_field: str, name: str, text_field: str, text: str) -> Path | None:
        """The file that is meant: one that is offered, or what was pasted, written down; None for what is shipped."""
        if text.strip():
            if name:
                raise InvalidRequest("Choose a file, or paste one: not both.", param=name_field)
            path = self._layout.making / f"{text_field}.toml"
            path.write_text(text, encoding="utf-8")
            return path
        if name in self._files(folder):
            return self._layout.root / folder / name
        if name and not (folder == "scenarios" and name in shipped_scenarios()):
            raise InvalidRequest(f"There is no file {name!r} in the folder {folder} of the data folder.", param=name_field)
        return None

    def _files(self, folder: str) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in (self._layout.root / folder).glob("*.toml") if path.is_file()))
