"""What a run is equipped with beside the workspace's own tools, opened for as long as it is driven."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from headrace.agents.connected import ServerTerms
from headrace.agents.delegation import DELEGATION
from headrace.sandbox import Draft, Level, Limits
from headrace.sandbox.egress import PORTS
from headrace.workspace.browsing import Browser, browsing
from headrace.workspace.connecting import Lost, ServerSecrets, connected
from headrace.workspace.hands import Hands, Screen
from headrace.workspace.toolbox import Kit, Toolbox


class Outfit(msgspec.Struct, frozen=True, kw_only=True):
    """`browser` is its program, None for none. `private` lets addresses of this machine's networks be reached; `ports` are those of pages
    and of what commands reach."""

    servers: tuple[ServerTerms, ...] = ()
    secrets: Mapping[str, ServerSecrets] = {}
    private: bool = False
    ports: frozenset[int] = PORTS
    browser: str | None = None


@asynccontextmanager
async def equipped(
    outfit: Outfit,
    draft: Draft,
    level: Level,
    limits: Limits,
    tell: Callable[[str], None],
    *kits: Kit,
    screen: Screen | None = None,
    home: Path | None = None,
) -> AsyncIterator[Toolbox]:
    """The tools of a run, until the end of the block. `tell` hears in a sentence what is missing, `screen` shows what commands say, and
    with a `home`, the run's folder, people see and use its browser. Raises SetupError."""
    hands = Hands(draft, level, limits, ports=outfit.ports, private=outfit.private, screen=screen)
    browser = (
        Browser(outfit.browser, draft, level, ports=outfit.ports, private=outfit.private, home=home)
        if outfit.browser and level.rung == 3
        else None
    )
    async with (
        browsing(browser) as browsers,
        connected(outfit.servers, outfit.secrets, draft, level, limits, private=outfit.private) as servers,
    ):
        for server in servers:
            if isinstance(server, Lost):
                tell(server.why)
        yield Toolbox(
            hands,
            [*kits, *browsers, *servers],
            [DELEGATION],
            interrupt=hands.interrupt,
            pulse=lambda: None if browser is None else browser.pulse,
        )
