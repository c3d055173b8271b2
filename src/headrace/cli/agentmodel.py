"""The running server as an agent's model: over its API, so every token is metered, limited and placed like anyone's."""

import asyncio
import json
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from headrace.cli.client import Client
from headrace.core.model import Reply
from headrace.wire.openai_reply import reply_of

PICO = 10**12
TOKENS_OUT_MAX = 2_048
TOKENS_OUT_MAX_BUILT_IN = 256
"""A small model that goes on and on is stopped sooner."""


class ServedModel:
    """One model of one server. It asks as a request of the class `agentic`."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self._name = client, name
        listed = client.get("/models")["data"]
        self.built_in = any(one["id"] == name and one.get("owned_by") == "headrace" for one in listed)

    @property
    def name(self) -> str:
        return self._name

    async def reply(self, body: bytes) -> Reply:
        most = TOKENS_OUT_MAX_BUILT_IN if self.built_in else TOKENS_OUT_MAX
        asked: dict[str, Any] = {**json.loads(body), "model": self._name, "temperature": 0}
        asked["max_completion_tokens"] = min(most, asked.get("max_completion_tokens", most))
        wishes = {"x-headrace-class": "agentic"}
        if (most_usd := asked.pop("max_cost", None)) is not None:
            wishes["x-headrace-max-cost"] = most_usd  # as a header: another vendor's server takes no such field
        answer, headers = await asyncio.to_thread(self._client.post_whole, "/chat/completions", asked, wishes)
        return reply_of(answer, pico_usd=_pico(headers.get("x-headrace-cost")), request=headers.get("x-request-id") or "")


class ServedEmbeddings:
    """The model that the server embeds with."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self.name = client, name

    @classmethod
    def found(cls, client: Client) -> "ServedEmbeddings | None":
        """The first that the server lists; None where it embeds with none, or is no headrace."""
        listed = client.get("/models")["data"]
        names = [str(one["id"]) for one in listed if "embeddings" in one.get("x_headrace", {}).get("operations", ())]
        return cls(client, names[0]) if names else None

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        asked = {"model": self.name, "input": list(texts), "encoding_format": "float"}
        answer = await asyncio.to_thread(self._client.post, "/embeddings", asked)
        return [each["embedding"] for each in sorted(answer["data"], key=lambda each: int(each["index"]))]


def _pico(cost: str | None) -> int:
    """Whole pico-dollars; of an unpriced model, none."""
    try:
        return int(Decimal(cost or "0") * PICO)
    except InvalidOperation:
        return 0
