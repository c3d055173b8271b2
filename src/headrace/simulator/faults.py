"""What goes wrong, or changes: each a value with the time at which it begins and ends."""

from typing import TypeAlias

import msgspec

from headrace.portfolio import Pool


class Scope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pools are meant: all that match every field that is said; none said: all pools."""

    pool: str | None = None
    cloud: str | None = None
    region: str | None = None
    silicon: str | None = None
    vendor: str | None = None

    def covers(self, pool: Pool) -> bool:
        asked = (
            (self.pool, pool.name),
            (self.cloud, pool.cloud),
            (self.region, pool.region),
            (self.silicon, pool.silicon),
            (self.vendor, pool.vendor),
        )
        return all(wanted is None or wanted == has for wanted, has in asked)


class Outage(Scope, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="outage"):
    """`share` of the replicas are gone from `from_s` to `to_s`: a replica, a zone, a region, a vendor, or spot capacity taken back.

    Asked meanwhile, who has none left fails after `fails_after_s`: at once where the connection is refused, later where it hangs.
    """

    from_s: float
    to_s: float
    share: float = 1.0
    fails_after_s: float = 0.001


class Slow(Scope, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="slow"):
    """Each step takes `factor` times as long."""

    from_s: float
    to_s: float
    factor: float
    share: float = 1.0


class PriceChange(Scope, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="price"):
    """Tokens cost `factor` times as much from `from_s` on."""

    from_s: float
    factor: float


class NewRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="rule"):
    """From `from_s` on, `share` of the tenants of a geography may be served only where one of `jurisdictions` holds."""

    from_s: float
    geography: str
    jurisdictions: tuple[str, ...]
    share: float = 1.0


class Demand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="surge"):
    """`factor` times as many sessions of `source` (of all, where it is not said), with `tenant` all that come more being one's own."""

    from_s: float
    to_s: float
    factor: float
    source: str = ""
    tenant: int | None = None


Fault: TypeAlias = Outage | Slow | PriceChange | NewRule | Demand
