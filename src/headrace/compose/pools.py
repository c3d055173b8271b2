"""The settings of a pool: what it is, where, under which contract, and how to speak to it."""

import re
from typing import Literal

import msgspec

from headrace.core.rules import Capability, DataClass
from headrace.metering import UsdPerMtok
from headrace.portfolio import Contract, Dialect, PathBound
from headrace.providers import TransportSettings
from headrace.wire import posts

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_PATH = re.compile(r"(/[A-Za-z0-9._~:@-]+)+")
_OURS = frozenset(
    {
        "batches", "chat", "conversations", "embeddings", "files", "keys", "messages", "models", "organization", "quotes", "responses",
        "uploads",
    }
)  # fmt: skip
"""What stands first in the paths that are answered here."""


class AwsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The environment variables that hold AWS credentials, and the region to sign for (default: the pool's)."""

    access_key_id_env: str = "AWS_ACCESS_KEY_ID"
    secret_access_key_env: str = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 -- the name of a variable
    session_token_env: str | None = None
    region: str | None = None


class EntraSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service principal of Microsoft Entra ID; `authority` differs in sovereign clouds."""

    tenant: str
    client_id: str
    client_secret_env: str
    authority: str = "https://login.microsoftonline.com"
    scope: str = "https://cognitiveservices.azure.com/.default"


class VertexSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A project and location of Vertex AI, and the file of the service account that may ask there."""

    project: str
    location: str
    service_account_file: str


class PassThroughSettings(PathBound, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A path of the vendor's, and the most that one request to it can use."""

    path: str


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Capacity of one kind at one place. A `local` pool runs `weights` here; the others name endpoints and models.

    Where the data is follows from `cloud` and `region`; only for capacity on your own premises, which no list knows, `country` says it.
    """

    name: str
    dialect: Dialect = "openai"
    endpoints: tuple[str, ...] = ()
    api_key_env: str | None = None
    models: dict[str, str] = {}
    weights: str | None = None
    embeddings: bool = True

    cloud: str = "on-premises"
    region: str = "local"
    country: str | None = None
    vendor: str | None = None
    silicon: str = "cpu"
    contract: Contract | None = None
    usd_per_mtok: UsdPerMtok | None = None
    tokens_per_s: float | None = None
    zero_retention: bool = False
    data_class: DataClass = "public"
    capabilities: tuple[Capability, ...] | None = None
    tokens_context_max: int | None = None

    concurrency_max: int = 1_024
    waiting_max: int = 1_024
    weight: float = 1.0
    ttft_ms: float = 500.0
    tpot_ms: float = 20.0
    prefill_tokens_per_s: float = 10_000.0
    drain_ms_max: int = 20_000
    probe_interval_ms: int = 10_000
    transport: TransportSettings | None = None

    headers: dict[str, str] = {}
    rename: dict[str, str] = {}
    drops: tuple[str, ...] = ()
    api_version: str = "v1"
    entra: EntraSettings | None = None
    aws: AwsSettings | None = None
    vertex: VertexSettings | None = None
    beta: tuple[str, ...] = ()
    bearer: bool = False
    responses: bool = False
    pass_through: tuple[str | PassThroughSettings, ...] = ()

    @property
    def paths(self) -> dict[str, PathBound | None]:
        """What it offers beside chats, and what one request there can use, where the settings say so."""
        if self.dialect not in ("openai", "azure"):
            return {}
        own: dict[str, PathBound | None] = dict.fromkeys(posts.PATHS)
        for one in self.pass_through:
            own[one if isinstance(one, str) else one.path] = None if isinstance(one, str) else one
        return own

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"pool.name {self.name!r} must be letters, digits, and . _ - /")
        if self.dialect in ("openai", "azure") and not (self.endpoints and self.models):
            raise ValueError(f'pool {self.name!r} needs endpoints = ["https://…/v1"] and models = {{ "our name" = "its name" }}')
        if self.dialect != "local" and not self.models:
            raise ValueError(f'pool {self.name!r} needs models = {{ "our name" = "its name" }}')
        if self.dialect == "local" and (self.endpoints or self.api_key_env):
            raise ValueError(f"pool {self.name!r} is local: it has no endpoints and no key")
        if self.dialect != "local" and self.weights is not None:
            raise ValueError(f'pool {self.name!r} has weights, which only dialect = "local" runs')
        if self.concurrency_max < 1 or self.drain_ms_max < 0 or self.waiting_max < 0 or self.probe_interval_ms < 0:
            raise ValueError(
                f"pool {self.name!r}: concurrency_max is at least 1; waiting_max, drain_ms_max and probe_interval_ms are at least 0"
            )
        if min(self.weight, self.ttft_ms, self.tpot_ms) < 0 or self.prefill_tokens_per_s <= 0:
            raise ValueError(f"pool {self.name!r}: weight, ttft_ms and tpot_ms are at least 0, prefill_tokens_per_s more than 0")
        self._check_dialect()

    def _check_dialect(self) -> None:
        """What only one dialect reads must not stand where it would be ignored."""
        read_by: dict[str, tuple[Literal["openai", "azure", "anthropic", "bedrock", "gemini", "local"], ...]] = {
            "headers": ("openai", "azure"),
            "rename": ("openai", "azure"),
            "drops": ("openai", "azure"),
            "entra": ("azure",),
            "aws": ("bedrock",),
            "vertex": ("gemini",),
            "beta": ("anthropic",),
            "bearer": ("anthropic",),
            "responses": ("openai",),
            "pass_through": ("openai", "azure"),
        }
        for field, dialects in read_by.items():
            if getattr(self, field) and self.dialect not in dialects:
                raise ValueError(f"pool {self.name!r} has {field}, which only dialect {' or '.join(dialects)} reads")
        for one in self.pass_through:
            path = one if isinstance(one, str) else one.path
            if not _PATH.fullmatch(path) or any(part in (".", "..") for part in path.split("/")):
                raise ValueError(f'pool {self.name!r}: pass_through names paths below the endpoint\'s, such as "/rerank", not {path!r}')
            if path in posts.PATHS or path.split("/")[1] in _OURS:
                raise ValueError(f"pool {self.name!r}: {path} is served by headrace itself, and is not passed through")
        if self.country is not None and self.cloud != "on-premises":
            raise ValueError(f"pool {self.name!r}: its country follows from its cloud and region; say it only for on-premises")
