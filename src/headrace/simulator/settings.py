"""How calls are treated in a run, and what of it is watched."""

from math import inf

import msgspec

from headrace.routing import POLICIES


class RunSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How calls are treated, and what is watched. `tenant_tokens_per_minute` limits each tenant; 0: they are not limited.

    What is done by `settle_s`, while sessions and caches fill, is left out of the report; the books hold it still.
    """

    name: str = "run"
    seed: int = 1
    policy: str = "balanced"
    duration_s: float = 3_600.0
    scale: float = 1.0
    slice_s: float = 60.0
    tick_ms: float = 250.0
    attempts_max: int = 3
    retry_share: float = 0.2
    vendor_share_max: dict[str, float] = {}
    tenant_requests_per_minute: int = 0
    tenant_tokens_per_minute: int = 0
    settle_s: float = 0.0
    watch: int = -1

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"policy {self.policy!r} is not known: it is one of {', '.join(POLICIES)}")
        if not (0 < self.duration_s < inf and 0 < self.slice_s < inf and 0 < self.scale < inf and 1 <= self.tick_ms < inf):
            raise ValueError("duration_s, slice_s and scale are numbers above zero, and tick_ms is at least 1")
        if not 0 <= self.settle_s < self.duration_s:
            raise ValueError("settle_s is 0 or more, and less than duration_s")
