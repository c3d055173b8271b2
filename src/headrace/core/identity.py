"""Who asks: the owner of a key, from the organisation down."""

from typing import Literal, TypeAlias

import msgspec

from headrace.core.roles import Role

TrafficClass: TypeAlias = Literal["realtime", "enterprise", "agentic", "coding", "batch", "training"]


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """The holder of one API key, by its id and its name. Limits of None mean: not limited.

    A key may be minted from another: `parents` are the ids of those above it, the nearest first, and `parent_names` what they are called.
    What such a key may do is what all of them may: `models` and `classes` of None are all, `allowances` are the amounts of money that it
    and those above it may spend in all, by key, and after `expires` it is nobody's. A key with a `role` administers and does nothing else.
    `owner` is whose it is: the id of a person or a service account. `models_denied` are those that it may not ask for all the same.
    """

    organization: str
    project: str
    key: str
    key_name: str = ""
    traffic_class: TrafficClass = "realtime"
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    parents: tuple[str, ...] = ()
    parent_names: tuple[str, ...] = ()
    allowances: tuple[tuple[str, int], ...] = ()
    models: frozenset[str] | None = None
    classes: frozenset[str] | None = None
    expires: int | None = None
    limited_as: str = ""
    key_limits: tuple[tuple[str, int | None, int | None], ...] = ()
    role: Role | None = None
    owner: str = ""
    models_denied: frozenset[str] = frozenset()

    def may_ask(self, model: str) -> bool:
        return (self.models is None or model in self.models) and model not in self.models_denied
