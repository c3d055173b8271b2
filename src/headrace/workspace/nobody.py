"""Who is asked where no person is there: the run waits, until one answers."""

from headrace.agents import Call, Reason
from headrace.agents.events import PauseReason, Resumed


class Nobody:
    """Answers nothing."""

    async def leave(self, calls: tuple[Call, ...], reasons: tuple[tuple[Reason, ...], ...]) -> tuple[bool, ...] | None:
        return None

    async def fate(self, call: Call) -> bool | None:
        return None

    async def more(self, reason: PauseReason) -> Resumed | None:
        return None
