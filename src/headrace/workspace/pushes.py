"""Addresses that other agents give for their tasks (A2A's push notifications): kept, shown without their secrets, taken back, and told.

An address is one of the internet, as a person's is: checked when it is given, and again whenever something is told to it.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from headrace.core.clock import Clock
from headrace.core.errors import InvalidRequest, SandboxRefused
from headrace.storage import (
    AgentTask,
    LocalArchive,
    Subscriber,
    Thread,
    drop_subscriber_of_task,
    keep_subscriber_of_task,
    subscribers_of_task,
    task_of,
    tell_of_task,
)
from headrace.storage.subscribers import OF_TASK_MAX
from headrace.wire.a2a import (
    INVALID_PARAMS,
    TASK_NOT_FOUND,
    Authentication,
    Fault,
    ListedPushes,
    ListPushes,
    OnePush,
    PushConfig,
    Streamed,
)
from headrace.workspace.telling import Teller, check_address
from headrace.workspace.visitors import Visitor

STATUS: Final = "a2a.status"


async def held_task(archive: LocalArchive, owner: str, id: str) -> tuple[AgentTask, Thread]:
    """Raises Fault where this owner has none of this name."""
    found = await archive.run(task_of, owner, id)
    if found is None:
        raise Fault(TASK_NOT_FOUND, f"There is no task {id[:100]!r}.")
    return found


class Pushes:
    """`private` says whether an address may be on this machine's networks."""

    def __init__(
        self, archive: LocalArchive, teller: Teller, clock: Clock, new_id: Callable[[str], str], private: Callable[[], bool]
    ) -> None:
        self._archive, self._teller, self._clock, self._new_id, self._private = archive, teller, clock, new_id, private

    async def create(self, visitor: Visitor, asked: PushConfig) -> PushConfig:
        """One more for a task, or another in the place of the one of its name. Raises Fault."""
        await held_task(self._archive, visitor.owner, asked.task_id)
        await self.check(asked)
        return await self.keep(visitor.owner, asked.task_id, asked)

    async def get(self, visitor: Visitor, asked: OnePush) -> PushConfig:
        """Raises Fault."""
        for one in await self._of(visitor, asked.task_id):
            if one.name == asked.id:
                return _shown(one)
        raise Fault(TASK_NOT_FOUND, f"The task has no push notification config {asked.id[:100]!r}.")

    async def list(self, visitor: Visitor, asked: ListPushes) -> ListedPushes:
        """All of a task: they are few. Raises Fault."""
        return ListedPushes(configs=tuple(_shown(one) for one in await self._of(visitor, asked.task_id)))

    async def delete(self, visitor: Visitor, asked: OnePush) -> dict[str, str]:
        """Also where it is gone already. Raises Fault."""
        await held_task(self._archive, visitor.owner, asked.task_id)
        await self._archive.run(drop_subscriber_of_task, asked.task_id, asked.id)
        return {}

    async def check(self, asked: PushConfig) -> None:
        """Raises Fault for what nobody can be told by."""
        asked.check()
        try:
            await self._teller.checked(check_address(asked.url, private=self._private()))
        except InvalidRequest as wrong:
            raise Fault(INVALID_PARAMS, wrong.message) from None
        except SandboxRefused:  # where it is inside of our networks is not for others to know
            raise Fault(INVALID_PARAMS, f"{asked.url!r} has no address of the internet, and is told nothing.") from None

    async def keep(self, owner: str, task: str, asked: PushConfig) -> PushConfig:
        """A checked one. Raises Fault where the task has too many."""
        shown = asked.authentication or Authentication()
        fresh = Subscriber(
            id=self._new_id("push_"),
            owner=owner,
            url=asked.url,
            secret="",
            created=self._clock.moment(),
            thread=task,
            name=asked.id,
            token=asked.token,
            scheme=shown.scheme,
            credentials=shown.credentials,
        )
        kept = await self._archive.run(keep_subscriber_of_task, fresh)
        if kept is None:
            await held_task(self._archive, owner, task)
            raise Fault(INVALID_PARAMS, f"A task has at most {OF_TASK_MAX} push notification configs: delete one first.")
        return msgspec.structs.replace(asked, id=kept.name or "", task_id=task)

    async def wanted(self, task: str) -> bool:
        """Whether anybody is told of this task."""
        return bool(await self._archive.run(subscribers_of_task, task))

    async def tell(self, task: str, happening: str, told: Sequence[Streamed]) -> None:
        """Have it told, in this order. `happening` names it: of one name it is told once."""
        written = [(_kind(one), msgspec.json.encode(one)) for one in told]
        if await self._archive.run(tell_of_task, task, happening, written, self._clock.moment()):
            self._teller.ring()

    async def _of(self, visitor: Visitor, task: str) -> Sequence[Subscriber]:
        await held_task(self._archive, visitor.owner, task)
        return await self._archive.run(subscribers_of_task, task)


def _shown(one: Subscriber) -> PushConfig:
    """Without what is secret in it: that was for whoever gave it."""
    shown = Authentication(scheme=one.scheme) if one.scheme else None
    return PushConfig(id=one.name or "", task_id=one.thread or "", url=one.url, authentication=shown)


def _kind(told: Streamed) -> str:
    """What it is about: of what was tried in vain, a later message about the same takes the place."""
    return STATUS if told.artifact_update is None else f"a2a.{told.artifact_update.artifact.artifact_id}"
