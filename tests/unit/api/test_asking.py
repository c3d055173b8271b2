"""What a client asks for: headers that only narrow, and what a request says that placement must know."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.asking import CACHED_BYTES_MIN, FRAMING_TOKENS_MAX, Reader
from headrace.core.ask import Ask
from headrace.core.clock import MS
from headrace.core.errors import InvalidRequest, ModelNotFound
from headrace.core.rules import CAPABILITIES, NO_RULES, Rules
from headrace.gateway import RuleFor, Terms
from headrace.routing import broken_rule
from headrace.testing.builders import MODEL, a_model, a_pool, a_principal, a_snapshot
from tests.unit.gateway.world import World

CHAT: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
EMBED: dict[str, Any] = {"model": "e", "input": "hello"}
UNSURE = a_pool(models=[MODEL, "e"], capabilities=frozenset())
"""A pool that can do nothing special: so all that a request needs must be known."""


class Clients:
    """A reader before one gateway."""

    def __init__(self, *rules: RuleFor, **terms: Any) -> None:
        seen = a_snapshot(UNSURE, models=[a_model(), a_model("e", operations=["embeddings"])])
        self.world = World(UNSURE, scripts={}, snapshot=seen, rules=rules, terms=Terms(**terms))
        self.reader = Reader(self.world.gateway, self.world.clock)

    def chat(self, headers: dict[str, str] | None = None, who: Any = None, **body: Any) -> Ask:
        return self.reader.chat("req_1", who or a_principal(), raw(headers or {}), json.dumps(CHAT | body).encode())

    def embeddings(self, headers: dict[str, str] | None = None, who: Any = None) -> Ask:
        return self.reader.embeddings("req_1", who or a_principal(), raw(headers or {}), json.dumps(EMBED).encode())


def raw(headers: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode("utf-8") for name, value in headers.items()}


@pytest.fixture
def clients() -> Clients:
    return Clients()


def test_a_plain_request(clients: Clients):
    body = json.dumps(CHAT).encode()
    who = a_principal(traffic_class="coding")
    ask = clients.reader.chat("req_7", who, {b"content-type": b"application/json"}, body)
    assert (ask.request, ask.operation, ask.principal, ask.model, ask.body) == ("req_7", "chat", who, MODEL, body)
    assert (ask.stream, ask.include_usage, ask.tokens_in_max, ask.tokens_out_max) == (False, False, len(body) + FRAMING_TOKENS_MAX, None)
    assert (ask.traffic_class, ask.rules, ask.needs, ask.deadline, ask.strict) == ("coding", NO_RULES, frozenset(), None, False)
    assert ask.affinity == 0, "so short a prompt is cached nowhere"


def test_a_plain_request_for_embeddings(clients: Clients):
    ask = clients.embeddings(who=a_principal(traffic_class="batch"))
    assert (ask.operation, ask.model, ask.stream, ask.tokens_out_max, ask.traffic_class) == ("embeddings", "e", False, 0, "batch")
    assert (ask.rules, ask.deadline, ask.strict, ask.affinity) == (NO_RULES, None, False, 0)


def test_models_and_what_they_serve(clients: Clients):
    with pytest.raises(ModelNotFound):
        clients.chat(model="gpt-9")
    with pytest.raises(InvalidRequest, match="The model `e` serves embeddings, not chat") as refused:
        clients.chat(model="e")
    assert refused.value.param == "model"
    with pytest.raises(InvalidRequest, match=f"The model `{MODEL}` serves chat, not embeddings"):
        clients.reader.embeddings("req_1", a_principal(), {}, json.dumps(EMBED | {"model": MODEL}).encode())


# ------------------------------------------------------------------------------------------------------------------- the headers

READ = [
    # a header, what it says, what the ask is
    ("x-headrace-class", "batch", {"traffic_class": "batch"}),
    ("x-headrace-class", " Enterprise ", {"traffic_class": "enterprise"}),
    ("x-headrace-strict", "true", {"strict": True}),
    ("x-headrace-strict", "1", {"strict": True}),
    ("x-headrace-strict", "False", {"strict": False}),
    ("x-headrace-jurisdictions", "eu", {"rules": Rules(names=("request",), jurisdictions=frozenset({"eu"}))}),
    ("x-headrace-jurisdictions", " EU, de ,,", {"rules": Rules(names=("request",), jurisdictions=frozenset({"eu", "de"}))}),
    ("x-headrace-vendors", "azure,oci", {"rules": Rules(names=("request",), vendors=frozenset({"azure", "oci"}))}),
    ("x-headrace-data-class", "Confidential", {"rules": Rules(names=("request",), data_class="confidential")}),
    ("x-headrace-zero-retention", "true", {"rules": Rules(names=("request",), zero_retention=True)}),
    ("x-headrace-zero-retention", "0", {"rules": Rules(names=("request",))}),
]


@pytest.mark.parametrize(("header", "says", "asked"), READ)
def test_what_a_header_says(clients: Clients, header: str, says: str, asked: dict[str, Any]):
    for ask in (clients.chat({header: says}), clients.embeddings({header: says})):
        assert {name: getattr(ask, name) for name in asked} == asked


@pytest.mark.parametrize(("says", "ms"), [("1", 1), (" 1500 ", 1_500), ("86400000", 86_400_000), ("007", 7)])
def test_a_deadline_counts_from_now(clients: Clients, says: str, ms: int):
    for ask in (clients.chat({"x-headrace-deadline-ms": says}), clients.embeddings({"x-headrace-deadline-ms": says})):
        assert ask.deadline == clients.world.clock.instant() + ms * MS


UNREADABLE = [
    ("x-headrace-class", "vip", "one of realtime, enterprise"),
    ("x-headrace-class", "batch,realtime", "one of realtime, enterprise"),
    ("x-headrace-class", "", "one of realtime, enterprise"),
    ("x-headrace-jurisdictions", "", "names separated by commas"),
    ("x-headrace-jurisdictions", " , ,", "names separated by commas"),
    ("x-headrace-vendors", " ", "names separated by commas"),
    ("x-headrace-data-class", "secret", "one of public, internal, confidential, restricted"),
    ("x-headrace-data-class", "internal, restricted", "one of public"),
    ("x-headrace-data-class", "", "one of public"),
    ("x-headrace-zero-retention", "yes", "true or false"),
    ("x-headrace-zero-retention", "", "true or false"),
    ("x-headrace-strict", "2", "true or false"),
    ("x-headrace-strict", " ", "true or false"),
    ("x-headrace-deadline-ms", "0", "milliseconds from now, 1 to 86400000"),
    ("x-headrace-deadline-ms", "-1", "milliseconds from now"),
    ("x-headrace-deadline-ms", "1.5", "milliseconds from now"),
    ("x-headrace-deadline-ms", "86400001", "milliseconds from now"),
    ("x-headrace-deadline-ms", "soon", "milliseconds from now"),
    ("x-headrace-deadline-ms", "²", "milliseconds from now"),
    ("x-headrace-deadline-ms", "٣", "milliseconds from now"),
    ("x-headrace-deadline-ms", "", "milliseconds from now"),
    ("x-headrace-deadline-ms", "9" * 5_000, "milliseconds from now"),
]


@pytest.mark.parametrize(("header", "says", "wanted"), UNREADABLE, ids=lambda value: str(value)[:30])
def test_what_can_not_be_read_is_refused_and_never_ignored(clients: Clients, header: str, says: str, wanted: str):
    for asked in (clients.chat, clients.embeddings):
        with pytest.raises(InvalidRequest, match=wanted) as refused:
            asked({header: says})
        assert refused.value.param == header
        assert header in str(refused.value)


@pytest.mark.parametrize("header", ["x-headrace-jurisdiction", "x-headrace-zero_retention", "x-headrace-vendors-denied", "x-headrace"])
def test_a_typo_in_a_headers_name_is_refused(clients: Clients, header: str):
    """Who asks for a rule that we do not know would believe that it holds."""
    with pytest.raises(InvalidRequest) as refused:
        clients.chat({header: "eu"})
    assert refused.value.param == header


@pytest.mark.parametrize("names", [",".join(f"vendor-{number}" for number in range(6_000)), "v" * 60_000], ids=["many", "long"])
def test_names_without_end_are_refused(clients: Clients, names: str):
    """Each kind of request is kept in memory and in the log: what a client can name has an end."""
    with pytest.raises(InvalidRequest) as refused:
        clients.chat({"x-headrace-vendors": names})
    assert refused.value.param == "x-headrace-vendors"


def test_bytes_that_are_no_text(clients: Clients):
    with pytest.raises(InvalidRequest):
        clients.reader.chat("req_1", a_principal(), {b"x-headrace-class": b"\xff\xfe"}, json.dumps(CHAT).encode())
    ask = clients.reader.chat("req_1", a_principal(), {b"x-headrace-jurisdictions": b"\xff"}, json.dumps(CHAT).encode())
    assert broken_rule(a_pool(jurisdictions=frozenset({"eu"})), ask.rules) == "jurisdiction", "a place that nobody knows is nowhere"


# ------------------------------------------------------------------------------------------------------------------- only narrower

EU, US = frozenset({"eu"}), frozenset({"us"})
FOR_ALL = RuleFor(rules=Rules(names=("gdpr",), jurisdictions=EU | US, data_class="confidential"))


def test_a_request_is_held_to_the_rules_of_the_settings_and_its_own():
    ask = Clients(FOR_ALL).chat({"x-headrace-jurisdictions": "eu"})
    assert ask.rules == Rules(names=("gdpr", "request"), jurisdictions=EU, data_class="confidential")


WIDER = [
    {"x-headrace-jurisdictions": "us,cn,eu"},
    {"x-headrace-data-class": "public"},
    {"x-headrace-zero-retention": "false"},
    {"x-headrace-vendors": "azure,oci,acme"},
    {"x-headrace-strict": "false"},
]


@pytest.mark.parametrize("headers", WIDER)
def test_a_header_allows_nothing_that_the_settings_forbid(headers: dict[str, str]):
    rules = Rules(names=("r",), jurisdictions=EU, vendors=frozenset({"oci"}), data_class="confidential", zero_retention=True)
    clients = Clients(RuleFor(rules=rules), strict=True)
    without, asked = clients.chat(), clients.chat(headers)
    assert without.rules == rules
    assert asked.strict
    for change in ({}, {"jurisdictions": US}, {"vendor": "acme"}, {"data_class": "public"}, {"zero_retention": False}):
        fits: dict[str, Any] = {"jurisdictions": EU, "vendor": "oci", "data_class": "restricted", "zero_retention": True}
        pool = a_pool("a", **fits | change)
        assert broken_rule(pool, without.rules) is None or broken_rule(pool, asked.rules) is not None


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "x-headrace-jurisdictions": st.sampled_from(["eu", "us", "eu,us", "cn"]),
        "x-headrace-vendors": st.sampled_from(["oci", "oci,azure", "acme"]),
        "x-headrace-data-class": st.sampled_from(["public", "internal", "restricted"]),
        "x-headrace-zero-retention": st.sampled_from(["true", "false"]),
        "x-headrace-class": st.sampled_from(["batch", "realtime", "agentic"]),
    },
)
POOLS = st.builds(
    a_pool,
    jurisdictions=st.frozensets(st.sampled_from(["eu", "us", "cn"])),
    vendor=st.sampled_from(["oci", "azure", "acme"]),
    data_class=st.sampled_from(["public", "internal", "restricted"]),
    zero_retention=st.booleans(),
)
SETTINGS = st.builds(
    RuleFor,
    rules=st.builds(
        Rules,
        names=st.just(("r",)),
        jurisdictions=st.none() | st.frozensets(st.sampled_from(["eu", "us"]), min_size=1),
        vendors=st.none() | st.frozensets(st.sampled_from(["oci", "azure"]), min_size=1),
        data_class=st.none() | st.sampled_from(["internal", "restricted"]),
        zero_retention=st.booleans(),
    ),
    traffic_class=st.none() | st.sampled_from(["realtime", "batch", "enterprise"]),
)


@given(rules=st.lists(SETTINGS, max_size=3), headers=VALUES, tier=st.sampled_from([None, "flex", "priority", "auto"]), pool=POOLS)
def test_whatever_a_request_says_it_goes_nowhere_where_its_key_may_not(rules, headers, tier, pool):
    clients = Clients(*rules)
    who = a_principal(traffic_class="enterprise")
    plain, asked = clients.chat(who=who), clients.chat(headers, who=who, **({} if tier is None else {"service_tier": tier}))
    if broken_rule(pool, plain.rules) is not None:
        assert broken_rule(pool, asked.rules) is not None


def test_another_class_does_not_escape_the_rules_of_ones_own():
    """A rule for a class's traffic holds for the keys of that class, whatever class their requests ask for, and for that class too."""
    own = RuleFor(rules=Rules(names=("own",), jurisdictions=EU), traffic_class="enterprise")
    other = RuleFor(rules=Rules(names=("other",), zero_retention=True), traffic_class="batch")
    clients, who = Clients(own, other), a_principal(traffic_class="enterprise")
    assert clients.chat(who=who).rules == own.rules
    both = own.rules.and_(other.rules)
    assert clients.chat({"x-headrace-class": "batch"}, who=who).rules == both
    assert clients.chat(who=who, service_tier="flex").rules == both
    assert clients.embeddings({"x-headrace-class": "batch"}, who=who).rules == both


def test_rules_are_worked_out_once_until_the_settings_change():
    clients = Clients(FOR_ALL)
    first = clients.chat()
    assert clients.chat().rules is first.rules
    clients.world.change(UNSURE, scripts={}, rules=[RuleFor(rules=Rules(zero_retention=True))])
    assert clients.chat().rules == Rules(zero_retention=True)
    clients.world.change(UNSURE, scripts={})
    assert clients.chat().rules == NO_RULES


def test_each_key_model_and_class_has_its_own_rules():
    rules = [RuleFor(rules=Rules(names=(key,), zero_retention=True), key=key) for key in ("key_1", "key_2")]
    clients = Clients(*rules, RuleFor(rules=Rules(names=("e",), vendors=frozenset()), model="e"))
    for key in ("key_1", "key_2", "key_1"):
        assert clients.chat(who=a_principal(key=key)).rules.names == (key,)
    assert clients.embeddings(who=a_principal(key="key_1")).rules.names == ("e", "key_1")


# --------------------------------------------------------------------------------------------------------------------- the class

TIERS = [
    # header, service tier, the key's own, what it is
    (None, None, "coding", "coding"),
    (None, "auto", "coding", "coding"),
    (None, "default", "coding", "coding"),
    (None, "unheard of", "coding", "coding"),
    (None, "flex", "coding", "batch"),
    (None, "priority", "batch", "realtime"),
    (None, "fast", "batch", "realtime"),
    (None, "scale", "batch", "enterprise"),
    ("agentic", "flex", "coding", "agentic"),
    ("agentic", None, "coding", "agentic"),
]


@pytest.mark.parametrize(("header", "tier", "own", "is_class"), TIERS)
def test_which_class_a_request_is_of(clients: Clients, header, tier, own, is_class):
    body = {} if tier is None else {"service_tier": tier}
    headers = {} if header is None else {"x-headrace-class": header}
    assert clients.chat(headers, who=a_principal(traffic_class=own), **body).traffic_class == is_class


# ------------------------------------------------------------------------------------------------------------- what a pool must do

NEEDS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, set()),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, {"tools"}),
    ({"tools": []}, set()),
    ({"tools": None}, set()),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]}, {"images"}),
    ({"messages": [{"role": "user", "content": 'say "image_url"'}]}, set()),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}, {"audio"}),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "s"}}}, {"json_schema"}),
    ({"response_format": {"type": "json_object"}}, set()),
    ({"response_format": {"type": "text"}}, set()),
    ({"reasoning_effort": "low"}, {"reasoning"}),
    ({"reasoning_effort": "none"}, set()),
    ({"reasoning_effort": None}, set()),
    ({"logprobs": True}, {"logprobs"}),
    ({"logprobs": False}, set()),
    ({"tools": [{"type": "function", "function": {"name": "f"}}], "logprobs": True}, {"tools", "logprobs"}),
]


@pytest.mark.parametrize(("body", "needs"), NEEDS)
def test_what_a_pool_must_be_able_to_do(clients: Clients, body, needs):
    assert clients.chat(**body).needs == needs


def test_what_all_can_do_nobody_need_know():
    able = a_pool(models=[MODEL, "e"], capabilities=frozenset(CAPABILITIES) - {"audio"})
    world = World(able, scripts={})
    body = json.dumps(CHAT | {"logprobs": True, "messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}).encode()
    assert Reader(world.gateway, world.clock).chat("req_1", a_principal(), {}, body).needs == {"audio"}


# ------------------------------------------------------------------------------------------------------------------------ affinity


def talk(*texts: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text} for text in texts]


def test_requests_that_share_a_prefix_share_a_number(clients: Clients):
    long = "x" * CACHED_BYTES_MIN
    assert clients.chat(messages=talk(long)).affinity == clients.chat(messages=talk(long, "more")).affinity != 0
    assert clients.chat(messages=talk("a" + long)).affinity != clients.chat(messages=talk("b" + long)).affinity


def test_a_name_that_the_client_gave_goes_before_what_it_says(clients: Clients):
    named = clients.chat(messages=talk("a"), prompt_cache_key="s1").affinity
    assert named == clients.chat(messages=talk("b"), prompt_cache_key="s1").affinity
    assert named != clients.chat(messages=talk("a"), prompt_cache_key="s2").affinity
    session = clients.chat({"x-headrace-session": "t1"}, messages=talk("a"), prompt_cache_key="s1").affinity
    assert session == clients.chat({"x-headrace-session": "t1"}, messages=talk("b")).affinity
    assert session != named
    assert clients.chat({"x-headrace-session": ""}, messages=talk("a"), prompt_cache_key="s1").affinity == named


@given(session=st.binary(min_size=1, max_size=40).filter(bytes.strip))
def test_a_prefix_is_never_nothing(session: bytes):
    clients = Clients()
    headers = {b"x-headrace-session": session}
    assert clients.reader.chat("req_1", a_principal(), headers, json.dumps(CHAT).encode()).affinity != 0


def test_a_cache_key_in_any_script(clients: Clients):
    assert clients.chat(prompt_cache_key="Zürich 日本").affinity not in (0, clients.chat(prompt_cache_key="Zurich").affinity)


# -------------------------------------------------------------------------------------------------------------------- how long it is

BOUNDS: list[tuple[dict[str, Any], int | None]] = [
    ({}, None),
    ({"max_tokens": 7}, 7),
    ({"max_completion_tokens": 7, "max_tokens": 9}, 7),
    ({"max_tokens": 7, "n": 3}, 21),
    ({"n": 128}, None),
    ({"max_completion_tokens": 1 << 31}, 1 << 31),
]


@pytest.mark.parametrize(("body", "bound"), BOUNDS)
def test_the_most_an_answer_may_have(clients: Clients, body, bound):
    assert clients.chat(**body).tokens_out_max == bound


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_completion_tokens": 0, "max_tokens": 5}, "max_completion_tokens"),
    ({"max_completion_tokens": (1 << 31) + 1}, "max_completion_tokens"),
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"messages": {}}, "messages"),
    ({"messages": "hello"}, "messages"),
]


@pytest.mark.parametrize(("body", "param"), WRONG)
def test_what_is_out_of_bounds(clients: Clients, body, param):
    with pytest.raises(InvalidRequest) as refused:
        clients.chat(**body)
    assert refused.value.param == param


def test_streams(clients: Clients):
    ask = clients.chat(stream=True, stream_options={"include_usage": True})
    assert (ask.stream, ask.include_usage) == (True, True)
    ask = clients.chat(stream=True, stream_options={})
    assert (ask.stream, ask.include_usage) == (True, False)


def test_a_strict_server_is_strict_with_all():
    assert Clients(strict=True).chat().strict
    assert Clients(strict=True).embeddings().strict


def test_an_ask_is_a_value(clients: Clients):
    assert clients.chat() == clients.chat()
    assert msgspec.structs.replace(clients.chat(), request="other") != clients.chat()
