"""How a pool's capacity is paid: by the token, or by the accelerator-hour under one of four terms."""

from typing import Annotated, TypeAlias, assert_never

import msgspec

from headrace.portfolio.costs import pico_per_hour
from headrace.portfolio.prices import HourlyKind, PriceRow

Accelerators: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]


class Tokens(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="tokens", forbid_unknown_fields=True):
    """Priced by the price book."""


class Reserved(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="reserved", forbid_unknown_fields=True):
    """Paid for a term, used or not, at the price that was agreed."""

    usd_per_accelerator_hour: str
    accelerators: Accelerators

    def __post_init__(self) -> None:
        pico_per_hour(self.usd_per_accelerator_hour)


class OnDemand(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="on_demand", forbid_unknown_fields=True):
    """Paid while it is held. Without a price of its own: at the cloud's list price."""

    usd_per_accelerator_hour: str | None = None
    accelerators: Accelerators

    def __post_init__(self) -> None:
        _check(self.usd_per_accelerator_hour)


class Spot(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="spot", forbid_unknown_fields=True):
    """Paid while it is held, and the cloud may take it back. Without a price of its own: the upper end of what the cloud asked."""

    usd_per_accelerator_hour: str | None = None
    accelerators: Accelerators

    def __post_init__(self) -> None:
        _check(self.usd_per_accelerator_hour)


class Owned(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="owned", forbid_unknown_fields=True):
    """Bought: what an hour of it costs over its life, power and space included. Without one of its own: the upper published estimate."""

    usd_per_accelerator_hour: str | None = None
    accelerators: Accelerators

    def __post_init__(self) -> None:
        _check(self.usd_per_accelerator_hour)


Contract: TypeAlias = Tokens | Reserved | OnDemand | Spot | Owned
Rented: TypeAlias = Reserved | OnDemand | Spot | Owned
"""Those that are paid by the accelerator-hour."""


def kind_of(contract: Rented) -> HourlyKind:
    """The name by which list prices know it."""
    match contract:
        case Reserved():
            return "reserved"
        case OnDemand():
            return "on_demand"
        case Spot():
            return "spot"
        case Owned():
            return "owned"
        case never:
            assert_never(never)


def pico_per_accelerator_hour(contract: Rented, listed: PriceRow | None) -> int | None:
    """What an accelerator-hour costs under `contract`, in pico-USD. Without a price of its own: the upper end of the list price for the
    like; None: there is none.
    """
    if contract.usd_per_accelerator_hour is not None:
        return pico_per_hour(contract.usd_per_accelerator_hour)
    return None if listed is None else listed.pico_per_accelerator_hour_max


def _check(usd_per_accelerator_hour: str | None) -> None:
    if usd_per_accelerator_hour is not None:
        pico_per_hour(usd_per_accelerator_hour)
