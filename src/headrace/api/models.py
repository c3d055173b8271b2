"""What can be asked: the models, in OpenAI's form with what we know beside it, or in Anthropic's where its clients ask."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from headrace.core.clock import SECOND, Clock
from headrace.core.money import usd_per_mtok
from headrace.gateway import Gateway
from headrace.metering import Price
from headrace.portfolio import ModelProfile, abilities

ANTHROPIC = "anthropic-version"
"""A header that Anthropic's clients send, and nobody else."""


class Models:
    """Describes the models of one gateway."""

    def __init__(self, gateway: Gateway, clock: Clock) -> None:
        self._gateway, self._clock = gateway, clock

    def told(self, profile: ModelProfile, headers: Mapping[str, str]) -> dict[str, Any]:
        """One model, in the form that the client reads."""
        if ANTHROPIC in headers:
            created = datetime.fromtimestamp(profile.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            return {"type": "model", "id": profile.name, "display_name": profile.name, "created_at": created}
        known = {"id": profile.name, "object": "model", "created": profile.created, "owned_by": profile.owned_by}
        return known | {"x_headrace": self._facts(profile)}

    def listed(self, models: list[dict[str, Any]], headers: Mapping[str, str]) -> dict[str, Any]:
        """All of them."""
        if ANTHROPIC not in headers:
            return {"object": "list", "data": models}
        ends = {"first_id": models[0]["id"] if models else None, "last_id": models[-1]["id"] if models else None}
        return {"data": models, "has_more": False, **ends}

    def _facts(self, profile: ModelProfile) -> dict[str, Any]:
        world = self._gateway.world
        pools, known = world.snapshot.pools_of.get(profile.name, ()), abilities(world.snapshot, profile.name)
        price = world.book.price_on(profile.name, self._clock.moment())
        classes = {name: terms.price_permille for name, terms in world.board.classes.items()}
        return {
            "operations": sorted(profile.operations),
            "capabilities": None if known is None else sorted(known),
            "tokens_context_max": profile.tokens_context_max,
            "tokens_out_max": profile.tokens_out_max,
            "pools": [pool.name for pool in pools],
            "jurisdictions": sorted({one for pool in pools for one in pool.jurisdictions}),
            "vendors": sorted({pool.vendor for pool in pools}),
            "usd_per_mtok": None if price is None else _price(price),
            "price_permille_by_class": classes,
        }


def _price(price: Price) -> dict[str, Any]:
    output = None if price.output_pico is None else usd_per_mtok(price.output_pico)
    return {
        "input": usd_per_mtok(price.input_pico),
        "cached_input": usd_per_mtok(price.cached_input_pico),
        "output": output,
        "valid_from": price.valid_from // SECOND,
    }
