"""What a run is equipped with beside the workspace's own tools, opened for as long as it is driven."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from headrace.agents.connected import ServerTerms
from headrace.agents.delegation import DELEGATION
from headrace.agents.peers import PeerTerms
from headrace.sandbox import Draft, Level, Limits
from headrace.sandbox.egress import PORTS
from headrace.workspace.browsing import Browser, browsing
from headrace.workspace.connecting import Lost, ServerSecrets, connected
from headrace.workspace.hands import Hands, Screen
from headrace.workspace.peers import peers
from headrace.workspace.toolbox import Kit, Toolbox


class Outfit(msgspec.Struct, frozen=True, kw_only=True):
    """`browser` is its program, None for none. `private` lets addresses of this machine's networks be reached; `ports` are those of pages
    and of what commands reach. `tokens` are what other agents are shown, by their names, and `new_id` names messages to them."""

    servers: tuple[ServerTerms, ...] = ()
    secrets: Mapping[str, ServerSecrets] = {}
    private: bool = False
    ports: frozenset[int] = PORTS
    browser: str | None = None
    agents: tuple[PeerTerms, ...] = ()
    tokens: Mapping[str, str] = {}
    new_id: Callable[[str], str] = lambda prefix: prefix


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
        others = await peers(outfit.agents, outfit.tokens, draft, outfit.new_id)
        for one in (*servers, *others):
            if isinstance(one, Lost):
                tell(one.why)
        yield Toolbox(
            hands,
            [*kits, *browsers, *servers, *others],
            [DELEGATION],
            interrupt=hands.interrupt,
            pulse=lambda: None if browser is None else browser.pulse,
        )
