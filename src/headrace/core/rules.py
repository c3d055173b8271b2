"""Where a request's data may go: rules that only ever narrow, and fail closed.

A rule names what is allowed; a pool that does not say, or of which we don't know, is outside of it. Rules of the settings and of the
request hold together, so a request can narrow what its key may do and never widen it.
"""

from typing import Literal, TypeAlias

import msgspec

DataClass: TypeAlias = Literal["public", "internal", "confidential", "restricted"]
DATA_CLASSES: tuple[DataClass, ...] = ("public", "internal", "confidential", "restricted")
"""From the least to the most sensitive."""

Capability: TypeAlias = Literal["tools", "images", "audio", "json_schema", "reasoning", "logprobs"]

CAPABILITIES: tuple[Capability, ...] = ("tools", "images", "audio", "json_schema", "reasoning", "logprobs")


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What all of a request's rules say together. None: no rule about this.

    `jurisdictions`: the data may be processed only where one of these holds (`eu`, `de`, `eu-sovereign` …), and as well one of each of
    `jurisdictions_too`. `vendors`: only by one of these. `data_class`: only by pools that are cleared for it. `names` are the settings'
    rules that are in it, for the evidence.
    """

    names: tuple[str, ...] = ()
    jurisdictions: frozenset[str] | None = None
    jurisdictions_too: frozenset[frozenset[str]] = frozenset()
    vendors: frozenset[str] | None = None
    vendors_denied: frozenset[str] = frozenset()
    data_class: DataClass | None = None
    zero_retention: bool = False

    def and_(self, other: "Rules") -> "Rules":
        """Both together, whichever is said first. `eu` and `de` leave the places in which both hold, `eu` and `us` perhaps none."""
        demands = _demands(self, other)
        return Rules(
            names=tuple(sorted({*self.names, *other.names})),
            jurisdictions=demands[0] if demands else None,
            jurisdictions_too=frozenset(demands[1:]),
            vendors=_both(self.vendors, other.vendors),
            vendors_denied=self.vendors_denied | other.vendors_denied,
            data_class=_stricter(self.data_class, other.data_class),
            zero_retention=self.zero_retention or other.zero_retention,
        )


def _demands(*rules: Rules) -> list[frozenset[str]]:
    """The sets of jurisdictions of each of which one must hold; what another set demands already is left out."""
    asked = {each for one in rules for each in (one.jurisdictions, *one.jurisdictions_too) if each is not None}
    return sorted((each for each in asked if not any(other < each for other in asked)), key=lambda each: sorted(each))


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None:
        return other
    return one if other is None else one & other


def _stricter(one: DataClass | None, other: DataClass | None) -> DataClass | None:
    given = [DATA_CLASSES.index(each) for each in (one, other) if each is not None]
    return DATA_CLASSES[max(given)] if given else None


NO_RULES = Rules()
