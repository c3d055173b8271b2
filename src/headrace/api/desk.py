"""Where administrators' wishes are carried out: in the thread of the database, as an act of somebody that the audit log tells."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from starlette.responses import Response

from headrace.api.gate import Actor
from headrace.core.clock import SECOND, Clock, Moment
from headrace.storage import AUDITED, Act, Archive, Layout, Register, note, transaction

Got = TypeVar("Got")


class Desk:
    """`new_token` gives the random bytes of a secret; `settled` the projects that the settings name in an organisation, since when."""

    def __init__(
        self,
        *,
        archive: Archive,
        layout: Layout,
        clock: Clock,
        new_id: Callable[[str], str],
        new_token: Callable[[], bytes],
        settled: Callable[[str], Mapping[str, Moment]],
    ) -> None:
        self._settled = settled
        self.archive, self._layout, self._clock = archive, layout, clock
        self.new_id, self.new_token = new_id, new_token

    def act(self, actor: Actor) -> Act:
        """What the actor does now."""
        return Act(id=self.new_id("audit_"), moment=self._clock.moment(), organization=actor.organization, author=actor.author)

    def moment(self) -> Moment:
        return self._clock.moment()

    def ends(self, seconds: int | None) -> Moment | None:
        """So long from now."""
        return None if seconds is None else self._clock.moment() + seconds * SECOND

    async def on(self, actor: Actor, work: Callable[[Register], Got]) -> Got:
        """What `work` returns for the register of the organisation that the actor acts on."""
        return await self.archive.run(
            lambda database: work(Register(database, self._layout, actor.organization, self._settled(actor.organization)))
        )

    async def noted(
        self, actor: Actor, kind: str, resource: str, details: Mapping[str, object] | None = None, *, project: str = ""
    ) -> None:
        """Tell the audit log of what was done elsewhere."""
        act = self.act(actor)

        def write(register: Register) -> None:
            with transaction(register.database, AUDITED):
                note(register.database, act, kind, resource, details, project=project)

        await self.on(actor, write)


def seconds(moment: Moment | None) -> int | None:
    """As OpenAI's objects tell time."""
    return None if moment is None else moment // SECOND


def json(value: Mapping[str, Any]) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
