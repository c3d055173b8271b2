"""Who asks: the owner of a key, from the organisation down."""

from typing import Literal, TypeAlias

import msgspec

TrafficClass: TypeAlias = Literal["realtime", "enterprise", "agentic", "coding", "batch", "training"]


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """The holder of one API key, by its id and its name. Limits of None mean: not limited."""

    organization: str
    project: str
    key: str
    key_name: str = ""
    traffic_class: TrafficClass = "realtime"
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
