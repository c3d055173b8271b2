"""Settings: every field is read, every mistake is named, and the environment has the last word."""

from datetime import date
from pathlib import Path

import msgspec
import pytest

from headrace.compose.settings import Settings, load_settings, parse_settings
from headrace.core.errors import SettingsInvalid

EVERYTHING = """
[server]
host = "0.0.0.0"
port = 9000
stop_timeout_s = 5
body_bytes_max = 1000
head_bytes_max = 2000
request_timeout_ms = 3000
idle_timeout_ms = 4000
stalled_timeout_ms = 5000
workers = 2

[storage]
url = "postgresql://db/headrace"
path = "/var/lib/headrace"
sync_interval_ms = 20
segment_size_max = 65536
keys_stale_max_s = 60

[engine]
weights = "qwen"
backend = "llamacpp"
threads = 2
context_max = 4096
sequences_max = 4
queue_max = 8
kv_cache_mb = 64
prefill_tokens_max = 128
temperature = 0.5
top_p = 0.8
repetition_penalty = 1.2
load_timeout_s = 60
stall_timeout_s = 30

[transport]
connect_timeout_ms = 1
first_byte_timeout_ms = 2
between_bytes_timeout_ms = 3
idle_connections_max = 4
idle_timeout_ms = 5
total_timeout_ms = 6
ca_file = "/etc/ca.pem"
http2 = true

[responses]
retention_days = 7

[cache]
bytes_max = 1_000_000
answer_bytes_max = 100_000
ttl_s = 60
price_permille = 100
by_default = true

[batches]
concurrency_max = 4
lines_max = 100

[files]
person_bytes_max = 1_048_576
bytes_max = 1000
project_bytes_max = 2000
retention_days = 3
url = "s3://headrace-files/eu"
endpoint = "https://minio.internal:9000"
region = "eu-central-1"

[agents]
schedules = false
browser = "firefox"
private_networks = true
ports = [80, 443, 8_443]
a2a_usd_max = "0.25"
a2a_tokens_max = 50_000

[oidc]
issuer = "https://id.internal"
client_id = "gateway"
client_secret_env = "OIDC_SECRET"
url = "https://headrace.internal"
organization = "acme"
scopes = ["openid", "email"]
role_claim = "roles"
roles = { "admins" = "admin" }
default_role = "member"
session_hours = 8
idle_minutes = 30

[limits]
requests_per_minute = 5
tokens_per_minute = 6

[telemetry]
log_format = "json"
log_level = "debug"
access_log = true
traces = true

[routing]
policy = "cheapest"
attempts_max = 2
retry_share = 0.1
hedge_share_max = 0.05
vendor_share_max = { openai = 0.5 }
share_window_s = 60
strict = true

[health]
failures_max = 2
failure_share = 0.4
samples_min = 5
window_ms = 6
closed_ms = 7
closed_ms_max = 8
slow_start_ms = 9
outlier_factor = 3.0
overloaded_ms = 10

[[rule]]
name = "eu"
organization = "acme"
project = "demo"
key = "k"
model = "m"
class = "batch"
jurisdictions = ["eu"]
vendors = ["oci"]
vendors_denied = ["openai"]
data_class = "restricted"
zero_retention = true

[[class]]
name = "batch"
wait_ms_max = 5

[[silicon]]
name = "own"
vendor = "us"
tokens_per_s = { m = 5.0 }

[[pool]]
name = "fra-mi355x"
dialect = "openai"
responses = true
pass_through = ["/rerank", { path = "/parse", tokens_in_max = 100, units_max = { page = 10 } }]
endpoints = ["http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1"]
api_key_env = "FRA_KEY"
models = { "gpt-5.4-nano" = "its-name" }
embeddings = false
concurrency_max = 512
drain_ms_max = 0
cloud = "oci"
region = "eu-frankfurt-2"
silicon = "amd-mi355x"

[[pool]]
name = "all"
dialect = "azure"
endpoints = ["https://a.openai.azure.com"]
models = { m = "deployment" }
cloud = "azure"
region = "swedencentral"
vendor = "microsoft"
contract = { kind = "tokens" }
usd_per_mtok = { input = "1" }
tokens_per_s = 5.0
zero_retention = true
data_class = "restricted"
capabilities = ["tools"]
tokens_context_max = 1000
waiting_max = 5
weight = 2.0
ttft_ms = 100.0
tpot_ms = 10.0
prefill_tokens_per_s = 1000.0
probe_interval_ms = 5
headers = { a = "b" }
rename = { a = "b" }
drops = ["seed"]
api_version = "2024-10-21"
[pool.transport]
connect_timeout_ms = 10
[pool.entra]
tenant = "t"
client_id = "c"
client_secret_env = "S"

[[pool]]
name = "claude"
dialect = "anthropic"
models = { m = "claude" }
beta = ["b"]
bearer = true

[[pool]]
name = "bedrock"
dialect = "bedrock"
models = { m = "m" }
[pool.aws]
region = "eu-central-1"

[[pool]]
name = "vertex"
dialect = "gemini"
models = { m = "m" }
[pool.vertex]
project = "p"
location = "eu"
service_account_file = "f"

[[pool]]
name = "here"
country = "DE"
dialect = "local"
weights = "/models/x.gguf"

[[model]]
name = "gpt-5.4-nano"
usd_per_mtok = { input = "0.20", cached_input = "0.02", output = "1.25" }
valid_from = 2026-01-01
valid_to = 2027-01-01
above = [{ tokens_in = 272000, usd_per_mtok = { input = "0.40" } }]
tiers = { priority = "2" }
usd_per_call = { web_search = "0.01" }
tokens_out_max = 100
tokens_context_max = 200
audio_s_max = 600
operations = ["chat", "embeddings"]
capabilities = ["images"]

[[contract]]
name = "acme-2026"
organization = "acme"
project = "demo"
models = ["gpt-5.4-nano"]
multiple = "0.9"
usd_per_mtok = { input = "0.18" }
above = [{ tokens_in = 272000, usd_per_mtok = { input = "0.36" } }]
tiers = { priority = "2" }
usd_per_call = { web_search = "0.005" }
valid_from = 2026-01-01
valid_to = 2027-01-01

[[uplift]]
multiple = "1.1"
jurisdiction = "eu"
cloud = "oci"
region = "eu-frankfurt-2"
models = ["gpt-5.4-nano"]

[[key]]
name = "dev"
secret_env = "HEADRACE_DEV_KEY"
organization = "acme"
project = "demo"
class = "enterprise"
requests_per_minute = 7
tokens_per_minute = 8
admin = true

[budgets]
webhook_url = "https://example.org/hook"
webhook_secret_env = "HOOK_SECRET"

[[budget]]
name = "all"
usd = "500"
period = "day"
timezone = "Europe/Berlin"
mode = "soft"
organization = "acme"
project = "demo"
key = "key_1"
user = "ann"
session = "s"
model = "gpt-5.4-nano"
class = "batch"
for_each = "user"
alerts_percent = [90]

[[limit]]
name = "all"
organization = "acme"
project = "demo"
key = "key_1"
user = "ann"
session = "s"
model = "gpt-5.4-nano"
class = "batch"
for_each = "user"
requests_per_minute = 1
tokens_per_minute = 2
requests_per_day = 3
tokens_per_day = 4
concurrent = 5
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "headrace.toml"
    file.write_text(text, encoding="utf-8")
    return file


def refused(folder: Path, text: str) -> str:
    with pytest.raises(SettingsInvalid) as wrong:
        load_settings(written(folder, text), {})
    return str(wrong.value).removeprefix(f"{folder}/")


def test_without_a_file_everything_has_a_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {}) == Settings()


def test_every_field_is_read(tmp_path: Path):
    settings = load_settings(written(tmp_path, EVERYTHING), {})
    assert (settings.server.host, settings.server.stalled_timeout_ms, settings.storage.segment_size_max) == ("0.0.0.0", 5_000, 65_536)
    assert (settings.engine.weights, settings.engine.stall_timeout_s, settings.transport.idle_connections_max) == ("qwen", 30, 4)
    assert (settings.limits.tokens_per_minute, settings.telemetry.access_log) == (6, True)
    fra, *_, here = settings.pool
    assert (fra.models, fra.silicon, here.weights) == ({"gpt-5.4-nano": "its-name"}, "amd-mi355x", "/models/x.gguf")
    assert (settings.model[0].valid_from, settings.key[0].traffic_class) == (date(2026, 1, 1), "enterprise")


def test_the_example_above_leaves_nothing_out(tmp_path: Path):
    """A field that is added must be added there: its value must differ from the default's."""
    settings, default = load_settings(written(tmp_path, EVERYTHING), {}), Settings()
    same = [
        f"{section}.{field}"
        for section in (
            "server",
            "storage",
            "engine",
            "transport",
            "limits",
            "telemetry",
            "routing",
            "health",
            "budgets",
            "responses",
            "files",
            "batches",
            "cache",
            "agents",
            "oidc",
        )
        for field in getattr(default, section).__struct_fields__
        if getattr(getattr(settings, section), field) == getattr(getattr(default, section), field)
    ]
    assert same == []
    for rows in (
        settings.pool, settings.model, settings.key, settings.rule, settings.contract, settings.uplift, settings.budget, settings.limit,
    ):  # fmt: skip
        fields = [field for field in msgspec.structs.fields(type(rows[0])) if field.default is not msgspec.NODEFAULT]
        said_nowhere = [field.name for field in fields if all(getattr(row, field.name) == field.default for row in rows)]
        assert said_nowhere == []


TYPOS = [
    ("[server]\nprot = 9000", "unknown field `prot` in [server]: did you mean `port`?"),
    ("[sever]\nport = 9000", "unknown field `sever`: did you mean `server`?"),
    ("[[pool]]\nname = 'a'\ndialct = 'openai'", "unknown field `dialct` in [pool]: did you mean `dialect`?"),
    ("[[pool]]\nname = 'a'\ndialect = 'local'\n[[pool]]\nnam = 'b'", "unknown field `nam` in [pool]: did you mean `name`?"),
    ("[[key]]\nname = 'a'\nclas = 'x'", "unknown field `clas` in [key]: did you mean `class`?"),
    ("[[key]]\ntraffic_class = 'x'", "unknown field `traffic_class` in [key]: "),
    (
        "[[model]]\nname = 'm'\nusd_per_mtok = { input = '1', ouput = '2' }",
        "unknown field `ouput` in [model.usd_per_mtok]: did you mean `output`?",
    ),
    ("[transport]\nxyzzy = 1", "known here: between_bytes_timeout_ms, ca_file, connect_timeout_ms"),
]


@pytest.mark.parametrize(("text", "words"), TYPOS)
def test_a_typo_is_named_with_the_nearest_name(tmp_path: Path, text: str, words: str):
    said = refused(tmp_path, text)
    assert said.startswith("headrace.toml: unknown field")
    assert words in said


BAD = [
    ("[server]\nport = 'x'", "Expected `int`, got `str` - at `server.port`"),
    ("[server]\nport = 65536", "server.port must be 0 to 65535"),
    ("[server]\nport = -1", "server.port must be 0 to 65535"),
    ("[server]\nstop_timeout_s = -1", "server.stop_timeout_s must be 0 or more"),
    ("[server]\nbody_bytes_max = 0", "server.body_bytes_max must be at least 1"),
    ("[server]\nidle_timeout_ms = 0", "server.idle_timeout_ms must be at least 1"),
    ('[storage]\nurl = "mysql://db"', "storage.url is the address of a PostgreSQL"),
    ('[budgets]\nwebhook_url = "file:///etc"', "budgets.webhook_url is an http or https address"),
    ('[[budget]]\nname = ""\nusd = "1"', "a name has 1 to 64 letters"),
    ('[[budget]]\nname = "a"\nusd = "much"', "is not an amount of dollars"),
    ('[[budget]]\nname = "a"\nusd = "1"\ntimezone = "Mars/Olympus"', "no time zone 'Mars/Olympus'"),
    ('[[budget]]\nname = "a"\nusd = "1"\nalerts_percent = [0]', "alerts_percent are 1 to 1000"),
    ('[[budget]]\nname = "a"\nusd = "1"\n[[budget]]\nname = "a"\nusd = "1"', "two budgets are named 'a'"),
    ('[[limit]]\nname = "a"', "give at least one amount"),
    ('[[limit]]\nname = "a"\nconcurrent = 0', "give at least one amount, of at least 1"),
    ("[storage]\nsync_interval_ms = 0", "storage.sync_interval_ms must be 1 to 1000"),
    ("[storage]\nsegment_size_max = 1", "storage.segment_size_max must be"),
    ("[engine]\ntemperature = 3", "engine.temperature must be 0 to 2"),
    ("[engine]\ntop_p = 0", "engine.top_p must be above 0"),
    ("[engine]\nbackend = 'cuda'", "Invalid enum value 'cuda'"),
    ("[transport]\nconnect_timeout_ms = 0", "at least 1 ms"),
    ("[limits]\ntokens_per_minute = -1", "limits are 0 (none) or more"),
    ("[telemetry]\nlog_level = 'loud'", "Invalid enum value 'loud'"),
    ("[[pool]]\ndialect = 'local'", "missing required field `name`"),
    ("[[pool]]\nname = 'a b'\ndialect = 'local'", "pool.name 'a b' must be letters"),
    ("[[pool]]\nname = 'a'", "pool 'a' needs endpoints"),
    ("[[pool]]\nname = 'a'\nendpoints = ['http://x']", "pool 'a' needs endpoints"),
    ("[[pool]]\nname = 'a'\ndialect = 'local'\nendpoints = ['http://x']", "pool 'a' is local"),
    ("[[pool]]\nname = 'a'\ndialect = 'local'\napi_key_env = 'K'", "pool 'a' is local"),
    ("[[pool]]\nname = 'a'\nendpoints = ['http://x']\nmodels = {m = 'm'}\nweights = 'w'", "pool 'a' has weights"),
    ("[[pool]]\nname = 'a'\nendpoints = ['http://x']\nmodels = {m = 'm'}\nconcurrency_max = 0", "concurrency_max is at least 1"),
    (
        "[[pool]]\nname = 'a'\nendpoints = ['http://x']\nmodels = {m = 'm'}\ndrain_ms_max = -1",
        "drain_ms_max and probe_interval_ms are at least 0",
    ),
    ("[[model]]\nname = 'm'\ntokens_out_max = 0", "tokens_out_max is at least 1"),
    ("[[pool]]\nname = 'a'\nendpoints = ['http://x']\nmodels = {m = 'm'}\npass_through = ['/../x']", "paths below the endpoint's"),
    ("[[pool]]\nname = 'a'\nendpoints = ['http://x']\nmodels = {m = 'm'}\npass_through = ['/a%2fb']", "paths below the endpoint's"),
    ("[[pool]]\nname = 'a'\nendpoints = ['http://x']\nmodels = {m = 'm'}\npass_through = ['rerank']", "paths below the endpoint's"),
    ("[[pool]]\nname = 'a'\nendpoints = ['http://x']\nmodels = {m = 'm'}\npass_through = ['/files/x']", "served by headrace itself"),
    ("[[pool]]\nname = 'a'\nendpoints = ['http://x']\nmodels = {m = 'm'}\npass_through = ['/moderations']", "served by headrace itself"),
    ("[[pool]]\nname = 'a'\nendpoints = ['http://x']\nmodels = {m = 'm'}\npass_through = [{ path = '/x', tokens = 1 }]", "unknown field"),
    ("[[model]]\nname = 'm'\nusd_per_mtok = { input = 'free' }", "'free' is not an amount of dollars"),
    ("[[model]]\nname = 'm'\nusd_per_mtok = { input = 0.2 }", "Expected `str`, got `float`"),
    ("[[model]]\nname = 'm'\nvalid_from = 'soon'", "Invalid RFC3339 encoded date"),
    ("[[model]]\nname = 'm'\noperations = ['sing']", "Invalid enum value 'sing'"),
    ("[[key]]\nname = 'k'", "missing required field `secret_env`"),
    ("[[key]]\nname = 'k'\nsecret_env = 'K'\nrequests_per_minute = -5", "requests_per_minute"),
    ("[[key]]\nname = 'k'\nsecret_env = 'K'\ntokens_per_minute = -5", "tokens_per_minute"),
    ("server = 7", "Expected `object`"),
    ("server = [", "is not valid TOML"),
    ("[server]\nport = 1\nport = 2", "is not valid TOML"),
]


@pytest.mark.parametrize(("text", "words"), BAD)
def test_a_bad_value_is_refused_with_its_place(tmp_path: Path, text: str, words: str):
    assert words in refused(tmp_path, text)


def test_a_file_that_is_no_text(tmp_path: Path):
    (tmp_path / "headrace.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsInvalid, match="is not valid TOML"):
        load_settings(tmp_path / "headrace.toml", {})


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path):
    for file, environ in ((tmp_path / "x.toml", {}), (None, {"HEADRACE_CONFIG": str(tmp_path / "x.toml")})):
        with pytest.raises(SettingsInvalid, match=r"x\.toml does not exist"):
            load_settings(file, environ)
    with pytest.raises(SettingsInvalid, match="cannot be read: Is a directory"):
        load_settings(tmp_path, {})


def test_which_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "[server]\nport = 1")
    (tmp_path / "named.toml").write_text("[server]\nport = 2")
    (tmp_path / "given.toml").write_text("[server]\nport = 3")
    named = {"HEADRACE_CONFIG": str(tmp_path / "named.toml")}
    ports = [load_settings(file, environ).server.port for file, environ in ((None, {}), (None, named), (tmp_path / "given.toml", named))]
    assert ports == [1, 2, 3]


ENVIRONMENT = [
    ("HEADRACE_SERVER_PORT", "9001", lambda s: s.server.port, 9001),
    ("HEADRACE_SERVER_HOST", "::1", lambda s: s.server.host, "::1"),
    ("HEADRACE_STORAGE_PATH", "/data", lambda s: s.storage.path, "/data"),
    ("HEADRACE_ENGINE_TEMPERATURE", "0.7", lambda s: s.engine.temperature, 0.7),
    ("HEADRACE_ENGINE_WEIGHTS", "qwen", lambda s: s.engine.weights, "qwen"),
    ("HEADRACE_TRANSPORT_CONNECT_TIMEOUT_MS", "7", lambda s: s.transport.connect_timeout_ms, 7),
    ("HEADRACE_LIMITS_TOKENS_PER_MINUTE", "0", lambda s: s.limits.tokens_per_minute, 0),
    ("HEADRACE_TELEMETRY_ACCESS_LOG", "false", lambda s: s.telemetry.access_log, False),
    ("HEADRACE_TELEMETRY_LOG_FORMAT", "human", lambda s: s.telemetry.log_format, "human"),
]


@pytest.mark.parametrize(("name", "text", "read", "value"), ENVIRONMENT, ids=[row[0] for row in ENVIRONMENT])
def test_the_environment_has_the_last_word(tmp_path: Path, name, text, read, value):
    settings = load_settings(written(tmp_path, EVERYTHING), {name: text, "HEADRACE_DEV_KEY": "not ours"})
    assert read(settings) == value


WRONG_ENVIRONMENT = [
    ("HEADRACE_SERVER_PORT", "many", "HEADRACE_SERVER_PORT=many: expected `int`, got `str`"),
    ("HEADRACE_SERVER_PORT", "70000", "server.port must be 0 to 65535"),
    ("HEADRACE_TELEMETRY_LOG_FORMAT", "xml", "HEADRACE_TELEMETRY_LOG_FORMAT=xml: invalid enum value 'xml'"),
]


@pytest.mark.parametrize(("name", "text", "words"), WRONG_ENVIRONMENT)
def test_a_wrong_value_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, words: str):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsInvalid) as wrong:
        load_settings(None, {name: text})
    assert words in str(wrong.value)


def test_where_a_mistake_is():
    with pytest.raises(SettingsInvalid, match=r"^here: Expected `int`"):
        parse_settings({"server": {"port": None}}, "here")
