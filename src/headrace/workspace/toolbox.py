"""All the tools of a run: the workspace's own hands, and whatever else is there this time."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from headrace.agents import Writers
from headrace.agents.events import ToolsGiven
from headrace.agents.tools import Tool
from headrace.agents.values import Value
from headrace.core.errors import InvalidRequest
from headrace.workspace.driver import Driver, Performs, tools_given


class Kit(Protocol):
    """Some tools with the hands for them. `writers` can have written what the tools say of themselves."""

    writers: Writers

    @property
    def tools(self) -> Sequence[Tool]: ...

    async def perform(self, tool: str, arguments: Mapping[str, Value]) -> Value:
        """Make one call. Raises HeadraceError with a sentence for the model."""
        ...


class Toolbox:
    """The hands of a run and the kits that are there beside them. Of two tools of one name the first holds."""

    def __init__(
        self,
        hands: Performs,
        kits: Sequence[Kit],
        more: Sequence[Tool] = (),
        *,
        interrupt: Callable[[], bool] = lambda: False,
        pulse: Callable[[], int | None] = lambda: None,
    ) -> None:
        """`more` are tools that need no hands; `interrupt` is how the hands stop a command. `pulse` grows as a person uses what
        stays open for them after the agent's last step; None: nothing does."""
        self._hands, self._interrupt, self.pulse = hands, interrupt, pulse
        self._kits: dict[str, Kit] = {}
        self._tools = {tool.card.tool: tool for tool in more}
        for kit in kits:
            for tool in kit.tools:
                if tool.card.tool not in self._tools:
                    self._tools[tool.card.tool] = tool
                    self._kits[tool.card.tool] = kit
        self._writers = min((kit.writers for kit in kits if kit.tools), default=Writers.PERSON)

    @property
    def given(self) -> ToolsGiven:
        """What a run is told of it."""
        return ToolsGiven(tuple(self._tools.values()), self._writers)

    def give(self, driver: Driver) -> None:
        """Tell the run, unless it knows."""
        last = tools_given(driver.events) or ToolsGiven((), Writers.PERSON)
        if last != self.given:
            driver.add(self.given)

    def interrupt(self) -> bool:
        """Stop the command that runs, and nothing else; whether there was one."""
        return self._interrupt()

    async def perform(self, tool: str, arguments: Mapping[str, Value]) -> Value:
        """Make one call. Raises HeadraceError with a sentence for the model."""
        kit = self._kits.get(tool)
        if kit is not None:
            return await kit.perform(tool, arguments)
        if tool in self._tools:
            raise InvalidRequest(f"{tool} has no hands here.")
        return await self._hands.perform(tool, arguments)
