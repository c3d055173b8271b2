"""Settings: one `headrace.toml` and the environment, read once, refused whole when anything in it is wrong.

Without a file everything has a value that works. `HEADRACE_SERVER_PORT=9000` sets a plain value of a section; secrets are only ever
named (`api_key_env`, `secret_env`) and read from the environment.
"""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal

import msgspec

from headrace.agents.connected import ServerTerms
from headrace.agents.peers import PeerTerms
from headrace.api import BatchesSettings, CacheSettings, FilesSettings, ResponsesSettings
from headrace.api.socket import SocketSettings
from headrace.compose.budgets import BudgetSettings, BudgetsSettings, WhomSettings
from headrace.compose.pools import PoolSettings
from headrace.core.ask import Operation
from headrace.core.errors import SettingsInvalid
from headrace.core.guardrails import Way
from headrace.core.identity import TrafficClass
from headrace.core.money import pico_of
from headrace.core.roles import PersonRole
from headrace.core.rules import Capability, DataClass
from headrace.engine import EngineSettings
from headrace.gateway import Action, Terms
from headrace.metering import Above, Limit, UsdPerMtok, WrittenPrice, compiled
from headrace.metering.prices import permille_of
from headrace.portfolio import Silicon
from headrace.providers import TransportSettings
from headrace.providers.identity import secure
from headrace.routing import CLASSES, ClassTerms, HealthSettings
from headrace.storage import WORKERS_MAX, UsageLogSettings
from headrace.telemetry import LogFormat

FILE_NAME = "headrace.toml"
REACH_MAX = 4_096


class ServerSettings(SocketSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the door is, how much a client may take of it, and how long a stop waits for answers that run."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    stop_timeout_s: int = 30

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ValueError("server.port must be 0 to 65535")
        if not 1 <= self.workers <= WORKERS_MAX:
            raise ValueError(f"server.workers must be 1 to {WORKERS_MAX}")
        if self.stop_timeout_s < 0:
            raise ValueError("server.stop_timeout_s must be 0 or more")
        for name in SocketSettings.__struct_fields__:
            if getattr(self, name) < 1:
                raise ValueError(f"server.{name} must be at least 1")


class StorageSettings(UsageLogSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where everything is kept that must not be lost. `keys_stale_max_s`: how long what is known of keys holds while `url` can't be
    reached."""

    path: str = ".headrace"
    url: str | None = None
    keys_stale_max_s: int = 900

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.url is not None and not self.url.startswith(("postgresql://", "postgres://")):
            raise ValueError('storage.url is the address of a PostgreSQL, such as "postgresql://db.internal/headrace"')
        if self.keys_stale_max_s < 1:
            raise ValueError("storage.keys_stale_max_s must be at least 1")


class LocalEngineSettings(EngineSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the embedded engine runs. `weights` is a GGUF file or the name of an added model; the default is the small one we fetch."""

    weights: str | None = None


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of a key that has none of its own; 0: none."""

    requests_per_minute: int = 60_000
    tokens_per_minute: int = 100_000_000

    def __post_init__(self) -> None:
        if min(self.requests_per_minute, self.tokens_per_minute) < 0:
            raise ValueError("limits are 0 (none) or more")


class ScopeLimitSettings(WhomSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much all requests together may ask for that match every field given of organization … class; with `for_each`, each of them."""

    name: str
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_day: int | None = None
    concurrent: int | None = None

    def __post_init__(self) -> None:
        amounts = [self.requests_per_minute, self.tokens_per_minute, self.requests_per_day, self.tokens_per_day, self.concurrent]
        given = [amount for amount in amounts if amount is not None]
        if not given or min(given) < 1:
            raise ValueError(f"limit {self.name!r}: give at least one amount, of at least 1")

    @property
    def limit(self) -> Limit:
        """As metering knows it."""
        return Limit(
            name=self.name,
            whom=self.whom,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            requests_per_day=self.requests_per_day,
            tokens_per_day=self.tokens_per_day,
            concurrent=self.concurrent,
        )


class RoutingSettings(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a place is chosen, and how often another is tried. `policy` is one of ours, or `module:function` for one of your own."""

    policy: str = "balanced"


class RuleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where data may go. It holds for the requests that match every field given of organization, project, key, model and class."""

    name: str
    organization: str | None = None
    project: str | None = None
    key: str | None = None
    model: str | None = None
    traffic_class: TrafficClass | None = msgspec.field(default=None, name="class")
    jurisdictions: tuple[str, ...] | None = None
    vendors: tuple[str, ...] | None = None
    vendors_denied: tuple[str, ...] = ()
    data_class: DataClass | None = None
    zero_retention: bool = False

    def __post_init__(self) -> None:
        if not (
            self.jurisdictions is not None or self.vendors is not None or self.vendors_denied or self.data_class or self.zero_retention
        ):
            raise ValueError(f"rule {self.name!r} rules nothing: give jurisdictions, vendors, vendors_denied, data_class or zero_retention")


class GuardrailSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A look at the texts of requests and answers, for the requests that match every field given of organization … class. `use` is one of
    ours or `module:function`; `reach` is how many characters of a stream one of its matches can span."""

    name: str
    use: str
    on: tuple[Way, ...] = ("input", "output")
    action: Action = "apply"
    reach: int | None = None
    organization: str | None = None
    project: str | None = None
    key: str | None = None
    model: str | None = None
    traffic_class: TrafficClass | None = msgspec.field(default=None, name="class")

    def __post_init__(self) -> None:
        if not self.on:
            raise ValueError(f"guardrail {self.name!r} looks at nothing: on is input, output or both")
        if self.reach is not None and not 1 <= self.reach <= REACH_MAX:
            raise ValueError(f"guardrail {self.name!r}: reach is 1 to {REACH_MAX} characters")


class ClassSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one traffic class is promised, where that differs from what it is by default."""

    name: TrafficClass
    priority: int | None = None
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    wait_ms_max: int | None = None
    usd_per_hour: float | None = None
    price_permille: int | None = None
    idle_share: float | None = None

    def __post_init__(self) -> None:
        self.terms(CLASSES[self.name])

    def terms(self, default: ClassTerms) -> ClassTerms:
        """`default`, with what is said here."""
        said = {field: value for field, value in msgspec.structs.asdict(self).items() if field != "name" and value is not None}
        changed = msgspec.structs.replace(default, **said)
        changed.__post_init__()
        return changed


class TelemetrySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`access_log`: a line a request; by default only where a person watches a terminal."""

    log_format: LogFormat = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    access_log: bool | None = None
    traces: bool = False


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model costs and may do here. Several rows of one model with different `valid_from` are its price's history; what it may
    do is said in the first."""

    name: str
    usd_per_mtok: UsdPerMtok | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    above: tuple[Above, ...] = ()
    tiers: dict[str, str] = {}
    usd_per_call: dict[str, str] = {}
    tokens_out_max: int = 16_384
    tokens_context_max: int | None = None
    audio_s_max: int = 1_500
    operations: tuple[Operation, ...] = ("chat",)
    capabilities: tuple[Capability, ...] | None = None

    def __post_init__(self) -> None:
        if min(self.tokens_out_max, self.audio_s_max) < 1:
            raise ValueError(f"model {self.name!r}: tokens_out_max is at least 1, and so is audio_s_max")
        if self.usd_per_mtok is not None:
            compiled(self.price(self.usd_per_mtok))
        elif self.above or self.tiers or self.usd_per_call:
            raise ValueError(f"model {self.name!r}: above, tiers and usd_per_call belong to a price: give usd_per_mtok too")

    def price(self, usd_per_mtok: UsdPerMtok) -> WrittenPrice:
        """Its row of the price book."""
        return WrittenPrice(
            model=self.name,
            usd_per_mtok=usd_per_mtok,
            source="settings",
            valid_from=self.valid_from,
            valid_to=self.valid_to,
            above=self.above,
            tiers=self.tiers,
            usd_per_call=self.usd_per_call,
        )


class ContractSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was agreed with a customer, for the models named, else for all: the list price times `multiple`, or prices of its own."""

    name: str
    organization: str
    project: str | None = None
    models: tuple[str, ...] = ()
    multiple: str = "1"
    usd_per_mtok: UsdPerMtok | None = None
    above: tuple[Above, ...] = ()
    tiers: dict[str, str] = {}
    usd_per_call: dict[str, str] = {}
    valid_from: date | None = None
    valid_to: date | None = None

    def __post_init__(self) -> None:
        permille_of(self.multiple)
        if self.usd_per_mtok is not None and not self.models:
            raise ValueError(f"contract {self.name!r} has prices of its own: name the models that they hold for")
        for price in self.prices():
            compiled(price)

    def prices(self) -> list[WrittenPrice]:
        """Its own rows, one a model."""
        if self.usd_per_mtok is None:
            return []
        return [
            WrittenPrice(
                model=model,
                usd_per_mtok=self.usd_per_mtok,
                source=f"contract {self.name}",
                valid_from=self.valid_from,
                valid_to=self.valid_to,
                above=self.above,
                tiers=self.tiers,
                usd_per_call=self.usd_per_call,
            )
            for model in self.models
        ]


class UpliftSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Service at a place that costs more: the price times `multiple`, within a jurisdiction, a cloud or a region."""

    multiple: str
    jurisdiction: str | None = None
    cloud: str | None = None
    region: str | None = None
    models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        permille_of(self.multiple)
        if self.jurisdiction is None and self.cloud is None and self.region is None:
            raise ValueError("an uplift holds at a place: give jurisdiction, cloud or region")


class KeySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fixed key whose secret is in the environment; other keys are made with `headrace keys create`."""

    name: str
    secret_env: str
    organization: str = "default"
    project: str = "default"
    traffic_class: TrafficClass = msgspec.field(default="realtime", name="class")
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    admin: bool = False

    def __post_init__(self) -> None:
        for field in ("requests_per_minute", "tokens_per_minute"):
            if (limit := getattr(self, field)) is not None and limit < 1:
                raise ValueError(f"key {self.name!r}: {field} is at least 1; leave it out for the limits of [limits]")


class AgentsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What agents find here. `browser` is a program, or empty for none; `private_networks` opens addresses that are not the internet's, and
    `ports` are those at which hosts may be reached; `schedules`: the server does what is scheduled. `a2a_usd_max` and `a2a_tokens_max` are
    what one task of another agent may use before its owner is asked."""

    browser: str = "chromium"
    private_networks: bool = False
    ports: tuple[int, ...] = (80, 443)
    schedules: bool = True
    a2a_usd_max: str | None = None
    a2a_tokens_max: int = 1_000_000

    def __post_init__(self) -> None:
        if not all(1 <= port <= 65_535 for port in self.ports):
            raise ValueError("agents.ports must be 1 to 65535")
        if self.a2a_usd_max is not None:
            pico_of(self.a2a_usd_max)
        if self.a2a_tokens_max < 1:
            raise ValueError("agents.a2a_tokens_max is at least 1")


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The identity provider at which people sign in. `url` is our own address as browsers see it; without an issuer there are only keys."""

    issuer: str | None = None
    client_id: str = "headrace"
    client_secret_env: str | None = None
    url: str = "http://127.0.0.1:8080"
    organization: str = "default"
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    role_claim: str = "groups"
    roles: dict[str, PersonRole] = {}
    default_role: PersonRole | None = None
    session_hours: int = 12
    idle_minutes: int = 120

    def __post_init__(self) -> None:
        for name in ("issuer", "url"):
            value = getattr(self, name)
            if value is not None and not secure(value):
                raise ValueError(f"oidc.{name} is an https:// address (http:// only on this machine itself), not {value!r}")
        if "openid" not in self.scopes:
            raise ValueError("oidc.scopes must hold openid")
        if self.session_hours < 1 or self.idle_minutes < 1:
            raise ValueError("oidc.session_hours and oidc.idle_minutes are at least 1")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it."""

    server: ServerSettings = ServerSettings()
    storage: StorageSettings = StorageSettings()
    engine: LocalEngineSettings = LocalEngineSettings()
    transport: TransportSettings = TransportSettings()
    limits: LimitSettings = LimitSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    routing: RoutingSettings = RoutingSettings()
    health: HealthSettings = HealthSettings()
    budgets: BudgetsSettings = BudgetsSettings()
    budget: tuple[BudgetSettings, ...] = ()
    limit: tuple[ScopeLimitSettings, ...] = ()
    responses: ResponsesSettings = ResponsesSettings()
    files: FilesSettings = FilesSettings()
    batches: BatchesSettings = BatchesSettings()
    cache: CacheSettings = CacheSettings()
    oidc: OidcSettings = OidcSettings()
    pool: tuple[PoolSettings, ...] = ()
    model: tuple[ModelSettings, ...] = ()
    key: tuple[KeySettings, ...] = ()
    rule: tuple[RuleSettings, ...] = ()
    guardrail: tuple[GuardrailSettings, ...] = ()
    traffic_class: tuple[ClassSettings, ...] = msgspec.field(default=(), name="class")
    silicon: tuple[Silicon, ...] = ()
    contract: tuple[ContractSettings, ...] = ()
    uplift: tuple[UpliftSettings, ...] = ()
    agents: AgentsSettings = AgentsSettings()
    mcp: tuple[ServerTerms, ...] = ()
    a2a: tuple[PeerTerms, ...] = ()

    def __post_init__(self) -> None:
        named: dict[str, list[str]] = {
            "keys": [key.name for key in self.key],
            "rules": [rule.name for rule in self.rule],
            "guardrails": [one.name for one in self.guardrail],
            "classes": [one.name for one in self.traffic_class],
            "contracts": [contract.name for contract in self.contract],
            "limits": [one.name for one in self.limit],
            "budgets": [one.name for one in self.budget],
            "connected servers and agents": [*(one.name for one in self.mcp), *(one.name for one in self.a2a)],
        }
        for what, names in named.items():
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"two {what} are named {min(twice)!r}: give each its own name")


_SECTIONS = (
    "server", "storage", "engine", "transport", "limits", "telemetry", "routing", "health", "budgets", "responses", "files", "batches",
    "cache", "agents", "oidc",
)  # fmt: skip


def load_settings(file: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of `file`, else of ./headrace.toml where there is one, else the defaults; the environment has the last word.

    Raises SettingsInvalid that names the file, the field and, for a typo, the nearest name.
    """
    path = settings_file(file, environ)
    where = "the environment" if path is None else str(path)
    tables = {} if path is None else _read(path)
    for section, field, value in _from_environment(environ):
        table = tables.setdefault(section, {})
        if isinstance(table, dict):
            table[field] = value
    return parse_settings(tables, where)


def settings_file(file: Path | None, environ: Mapping[str, str]) -> Path | None:
    """`file`, else the one that HEADRACE_CONFIG names, else ./headrace.toml; None where only the last would be, and isn't there."""
    chosen = file or (Path(environ["HEADRACE_CONFIG"]) if environ.get("HEADRACE_CONFIG") else None)
    if chosen is not None:
        return chosen
    return Path(FILE_NAME) if Path(FILE_NAME).exists() else None


def parse_settings(tables: Mapping[str, Any], where: str) -> Settings:
    """Settings from parsed TOML. Raises SettingsInvalid."""
    try:
        return msgspec.convert(tables, Settings, strict=True)
    except msgspec.ValidationError as wrong:
        raise SettingsInvalid(f"{where}: {_explained(str(wrong))}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsInvalid(f"{path} does not exist: check --config or HEADRACE_CONFIG, or leave both out to run with defaults") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        raise SettingsInvalid(f"{path} is not valid TOML: {wrong}") from None
    except OSError as wrong:
        raise SettingsInvalid(f"{path} cannot be read: {wrong.strerror}") from None


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    """`HEADRACE_SECTION_FIELD=value` for every plain field there is; a number or true/false is read as such."""
    for section in _SECTIONS:
        prefix = f"HEADRACE_{section}_".upper()
        fields = {field.encode_name: field for field in msgspec.structs.fields(type(getattr(Settings(), section)))}
        for name in sorted(name for name in environ if name.startswith(prefix)):
            field = fields.get(name.removeprefix(prefix).lower())
            if field is None:
                raise SettingsInvalid(f"{name} sets nothing: {_nearest(name.removeprefix(prefix).lower(), list(fields))}")
            yield section, field.encode_name, _plain(name, environ[name], field.type)


def _plain(name: str, text: str, kind: Any) -> Any:
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as wrong:
        raise SettingsInvalid(f"{name}={text}: {str(wrong)[0].lower()}{str(wrong)[1:]}") from None


_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]+)`(?: - at `\$\.?(?P<path>[^`]*)`)?")


def _explained(wrong: str) -> str:
    unknown = _UNKNOWN.match(wrong)
    if unknown is None:
        return wrong.replace(" - at `$.", " - at `").replace("[...]", "[]")
    field, path = unknown["field"], re.sub(r"\[.*?\]", "", unknown["path"] or "")
    return f"unknown field `{field}`{f' in [{path}]' if path else ''}: {_nearest(field, _fields_at(path))}"


def _nearest(field: str, known: list[str]) -> str:
    close = difflib.get_close_matches(field, known, n=1)
    return f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(sorted(known))}"


def _fields_at(path: str) -> list[str]:
    kind: Any = Settings
    for part in filter(None, path.split(".")):
        found = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
        kind = found.get(part)
        inner = [one for one in getattr(kind, "__args__", ()) if isinstance(one, type) and issubclass(one, msgspec.Struct)]
        kind = inner[0] if inner else kind
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            return []
    return [field.encode_name for field in msgspec.structs.fields(kind)]
