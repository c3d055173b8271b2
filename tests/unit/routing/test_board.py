"""Who may serve a request: each filter alone, what a pool that says nothing gets, and what the evidence keeps of it."""

from typing import Any

import msgspec
import pytest

from headrace.core.ask import Ask
from headrace.core.rules import CAPABILITIES, NO_RULES, Rules
from headrace.portfolio import Pool, TokenCost
from headrace.routing import Board, Evidence, Load, broken_rule, read_evidence
from headrace.routing.board import HINDERED, SHORTLISTS_MAX, UNBOUNDED, UNKNOWN_COST
from headrace.testing.builders import MODEL, a_model, a_pool, a_snapshot, an_ask


def a_board(*pools: Pool, version: int = 1, **of_model: object) -> Board:
    """Over `pools`; `of_model` are fields of the model's profile."""
    profile = msgspec.structs.replace(a_model(), **of_model)
    seen = a_snapshot(*pools, models=[profile], version=version)
    return Board(seen, {name: Load() for name in seen.pools})


def named(*names: str) -> frozenset[str]:
    return frozenset(names)


EU_AND_DE = Rules(jurisdictions=named("eu")).and_(Rules(jurisdictions=named("de")))

BROKEN = [
    # the pool                                        the rule                                       what it breaks
    (a_pool(),                                        Rules(),                                       None),
    (a_pool(jurisdictions=named("eu", "de")),         Rules(jurisdictions=named("eu", "us")),        None),
    (a_pool(jurisdictions=named("us")),               Rules(jurisdictions=named("eu")),              "jurisdiction"),
    (a_pool(),                                        Rules(jurisdictions=named("eu")),              "jurisdiction"),
    (a_pool(jurisdictions=named("eu")),               Rules(jurisdictions=named()),                  "jurisdiction"),
    (a_pool(jurisdictions=named("eu", "de")),         EU_AND_DE, None),
    (a_pool(jurisdictions=named("eu")),               EU_AND_DE, "jurisdiction"),
    (a_pool(jurisdictions=named("de")),               EU_AND_DE, "jurisdiction"),
    (a_pool(vendor="azure"),                          Rules(vendors=named("azure", "oci")),          None),
    (a_pool(vendor="azure"),                          Rules(vendors=named("oci")),                   "vendor"),
    (a_pool(),                                        Rules(vendors=named("azure")),                 "vendor"),
    (a_pool(vendor="azure"),                          Rules(vendors=named()),                        "vendor"),
    (a_pool(vendor="azure"),                          Rules(vendors_denied=named("azure")),          "vendor"),
    (a_pool(vendor="azure"),                          Rules(vendors_denied=named("oci")),            None),
    (a_pool(vendor="azure"),                          Rules(vendors=named("azure"), vendors_denied=named("azure")), "vendor"),
    (a_pool(data_class="confidential"),               Rules(data_class="internal"),                  None),
    (a_pool(data_class="internal"),                   Rules(data_class="internal"),                  None),
    (a_pool(data_class="internal"),                   Rules(data_class="confidential"),              "data_class"),
    (a_pool(),                                        Rules(data_class="public"),                    None),
    (a_pool(),                                        Rules(data_class="internal"),                  "data_class"),
    (a_pool(zero_retention=True),                     Rules(zero_retention=True),                    None),
    (a_pool(),                                        Rules(zero_retention=True),                    "zero_retention"),
]  # fmt: skip


@pytest.mark.parametrize(("pool", "rules", "broken"), BROKEN)
def test_what_a_pool_breaks(pool, rules, broken):
    assert broken_rule(pool, rules) == broken
    shortlist = a_board(pool).shortlist(an_ask(rules=rules))
    assert [choice.pool for choice in shortlist.choices] == ([] if broken else [pool])
    assert shortlist.excluded == ((("a", broken),) if broken else ())


CAPABLE = [
    # the pool can         its model can          the request needs          what it lacks
    ({"tools"},            None,                  {"tools"},                 None),
    ({"tools"},            {"tools", "images"},   {"images"},                "capability:images"),
    (None,                 {"tools"},             {"tools"},                 None),
    (None,                 {"tools"},             {"tools", "images"},       "capability:images"),
    (set(),                {"tools"},             {"tools"},                 "capability:tools"),
    (None,                 set(),                 {"tools", "audio"},        "capability:audio"),
    ({"tools"},            None,                  set(),                     None),
]  # fmt: skip


@pytest.mark.parametrize(("has", "of_model", "needs", "lacks"), CAPABLE)
def test_what_a_pool_can_do(has, of_model, needs, lacks):
    board = a_board(
        a_pool(capabilities=None if has is None else frozenset(has)), capabilities=None if of_model is None else frozenset(of_model)
    )
    shortlist = board.shortlist(an_ask(needs=needs))
    assert shortlist.excluded == ((("a", lacks),) if lacks else ())


def test_a_path_is_asked_for_only_where_it_is_offered():
    """Whatever the pool's models can do: a path that is not named is not passed through."""
    offers = a_pool("offers", paths={"/images/edits": None}, capabilities=frozenset())
    for needs, excluded in [(["/images/edits"], ("a",)), (["/rerank"], ("a", "offers")), (["/images/edits", "tools"], ("a", "offers"))]:
        shortlist = a_board(a_pool("a"), offers).shortlist(an_ask(needs=needs))
        assert tuple(name for name, _ in shortlist.excluded) == excluded


def test_of_whom_nothing_is_known_nobody_is_turned_away_for_want_of_a_capability():
    """The one filter that does not fail closed: it guards no data, and a wrong guess is answered by the upstream itself."""
    assert a_board(a_pool()).shortlist(an_ask(needs=CAPABILITIES)).excluded == ()
    unprofiled = Board(a_snapshot(a_pool(), models=[]), {"a": Load()})
    assert len(unprofiled.shortlist(an_ask(needs=CAPABILITIES)).choices) == 1


def test_where_a_rule_is_broken_it_is_named_before_a_lack():
    board = a_board(a_pool(capabilities=frozenset()))
    assert board.shortlist(an_ask(rules=Rules(zero_retention=True), needs=["tools"])).excluded == (("a", "zero_retention"),)


PARTIAL = [
    # what each pool can                 its model can     who might be turned away
    ([None, None],                       None,             set()),
    ([{"tools"}, None],                  None,             set(CAPABILITIES) - {"tools"}),
    ([set(CAPABILITIES)],                None,             set()),
    ([None],                             {"audio"},        set(CAPABILITIES) - {"audio"}),
    ([{"tools", "images"}, {"tools"}],   None,             set(CAPABILITIES) - {"tools"}),
]  # fmt: skip


@pytest.mark.parametrize(("has", "of_model", "partial"), PARTIAL)
def test_of_which_capabilities_one_must_know(has, of_model, partial):
    pools = [a_pool(str(number), capabilities=None if can is None else frozenset(can)) for number, can in enumerate(has)]
    board = a_board(*pools, capabilities=None if of_model is None else frozenset(of_model))
    assert board.partial(MODEL) == partial
    assert board.partial(MODEL) is board.partial(MODEL)


def test_of_a_model_that_nobody_knows_nothing_is_partial():
    assert a_board(a_pool()).partial("gpt-9") == frozenset()


def test_a_choice_knows_what_placement_needs():
    cost = TokenCost(3.0, 1.0, 9.0)
    pool = a_pool(costs={MODEL: cost}, owned=True, weight=2.5, tokens_context_max=4_096, prefill_tokens_per_s=5_000.0)
    other = a_pool("b", models=[MODEL, "n"])
    board = a_board(pool, other, tokens_context_max=8_192)
    one, two = board.shortlist(an_ask()).choices
    assert (one.input_pico, one.cached_pico, one.output_pico, one.owned, one.weight) == (3.0, 1.0, 9.0, True, 2.5)
    assert (one.context_max, one.prefill_per_ms, one.load) == (4_096, 5.0, board.loads["a"])
    assert (two.context_max, two.input_pico) == (8_192, UNKNOWN_COST.input_pico)
    assert board.shortlist(an_ask()).context_min == 4_096
    assert one.seed != two.seed


def test_without_a_context_length_none_is_too_long():
    shortlist = a_board(a_pool()).shortlist(an_ask())
    assert (shortlist.context_min, shortlist.choices[0].context_max) == (UNBOUNDED, UNBOUNDED)
    assert a_board(a_pool("a", models=["n"])).shortlist(an_ask()).context_min == UNBOUNDED


# ------------------------------------------------------------------------------------------------------------------- the evidence

RESTRICTED = Rules(
    names=("gdpr", "request"), jurisdictions=named("eu", "de"), vendors_denied=named("oci"), data_class="internal", zero_retention=True
)


def test_the_evidence_names_everybody_who_was_left_out_and_why():
    fits: dict[str, Any] = {"jurisdictions": named("eu"), "data_class": "restricted", "zero_retention": True}
    board = a_board(
        a_pool("a", **fits),
        a_pool("b", **fits | {"jurisdictions": named("us")}),
        a_pool("c", **fits | {"vendor": "oci"}),
        a_pool("d", **fits | {"data_class": "public"}),
        a_pool("e", **fits | {"zero_retention": False}),
        a_pool("f", **fits | {"capabilities": named()}),
        a_pool("g", models=["another"], **fits),
        a_pool("h", **fits),
        version=7,
    )
    shortlist = board.shortlist(an_ask(rules=RESTRICTED, needs=["images", "tools"]))
    assert read_evidence(shortlist.content) == Evidence(
        snapshot=7,
        model=MODEL,
        rules={
            "names": ["gdpr", "request"],
            "jurisdictions": ["de", "eu"],
            "vendors_denied": ["oci"],
            "data_class": "internal",
            "zero_retention": True,
        },
        needs=("images", "tools"),
        considered=("a", "h"),
        excluded=(("b", "jurisdiction"), ("c", "vendor"), ("d", "data_class"), ("e", "zero_retention"), ("f", "capability:images")),
    )
    assert tuple(choice.pool.name for choice in shortlist.choices) == ("a", "h")


def test_the_evidence_of_several_rules_about_places_keeps_each():
    shortlist = a_board(a_pool(jurisdictions=named("eu"))).shortlist(an_ask(rules=EU_AND_DE))
    assert shortlist.excluded == (("a", "jurisdiction"),)
    said = read_evidence(shortlist.content).rules
    assert {name for value in said.values() for each in value for name in ([each] if isinstance(each, str) else each)} == {"eu", "de"}


def test_the_same_filters_have_the_same_evidence_whoever_applies_them():
    ask = an_ask(rules=RESTRICTED, needs=["tools", "images", "audio"])
    mine, theirs = (a_board(a_pool()).shortlist(ask) for _ in range(2))
    assert (mine.evidence, mine.content) == (theirs.evidence, theirs.content)


OTHERS = [
    an_ask(model="n"),
    an_ask(rules=Rules(zero_retention=True)),
    an_ask(rules=Rules(names=("a",))),
    an_ask(rules=Rules(vendors=frozenset())),
    an_ask(needs=["tools"]),
]


def test_what_differs_has_evidence_of_its_own():
    board = a_board(a_pool(models=[MODEL, "n"]))
    of = {board.shortlist(ask).evidence for ask in (an_ask(), *OTHERS)}
    assert len(of) == 1 + len(OTHERS)
    assert a_board(a_pool(models=[MODEL, "n"]), version=2).shortlist(an_ask()).evidence not in of


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x80", msgspec.msgpack.encode({"snapshot": "one"}), msgspec.msgpack.encode([1])])
def test_what_is_no_evidence(content: bytes):
    with pytest.raises(msgspec.DecodeError):
        read_evidence(content)


# ----------------------------------------------------------------------------------------------------------------------- the memo


def alike(ask: Ask) -> Ask:
    """Of equal rules and needs, in objects of its own."""
    rules = msgspec.structs.replace(ask.rules)
    needs = frozenset([*ask.needs, "tools"]) - (frozenset(["tools"]) - ask.needs)
    assert rules is not ask.rules
    return msgspec.structs.replace(ask, rules=rules, needs=needs)


def test_filters_are_done_once():
    board, ask = a_board(a_pool(), a_pool("b")), an_ask(rules=RESTRICTED, needs=["images"])
    held = board.shortlist(ask)
    assert board.shortlist(ask) is held
    assert board.shortlist(alike(ask)) is held
    assert board.shortlist(an_ask()) is not held
    assert board.shortlist(ask) is held


def test_a_rule_that_is_gone_is_never_taken_for_one_that_lies_where_it_lay():
    """The memo knows rules by where they are in memory; so it must hold on to them."""
    board = a_board(a_pool("a", jurisdictions=named("eu")), a_pool("b", jurisdictions=named("us")))
    for turn in range(2_000):
        place = ("eu", "us")[turn % 2]
        (choice,) = board.shortlist(an_ask(rules=Rules(jurisdictions=named(place)))).choices
        assert choice.pool.jurisdictions == {place}


def test_however_many_kinds_of_requests_come_the_memo_is_bounded():
    board = a_board(a_pool(vendor="azure"))
    for number in range(SHORTLISTS_MAX + 2):
        assert len(board.shortlist(an_ask(rules=Rules(vendors=named("azure", str(number))))).choices) == 1
    assert len(board.shortlist(an_ask(rules=NO_RULES)).choices) == 1
    assert max(len(held) for held in vars(board).values() if isinstance(held, dict)) <= SHORTLISTS_MAX


def test_what_follows_from_the_facts_of_a_load_follows_at_once():
    load = Load(10, ttft_ms=100.0, tpot_ms=2.0, inflight=5)
    assert (load.share, load.strain, load.filled, load.first_ms, load.each_ms) == (0.5, 0.5, 0.25, 150.0, 3.0)
    load.move(-5)
    assert (load.inflight, load.share, load.strain, load.first_ms) == (0, 0.0, 0.0, 100.0)
    load.limit, load.inflight = 5, 5
    assert (load.share, load.each_ms) == (1.0, 4.0)
    load.learn(200.0, 3.0, 900.0)
    load.move(-1)
    assert (load.ttft_ms, load.tpot_ms, load.service_ms, load.share, load.first_ms) == (200.0, 3.0, 900.0, 0.8, 360.0)


@pytest.mark.parametrize(("fact", "value"), [("closed_until", 1), ("over_share", True), ("waiting", 1)])
def test_who_is_hindered_is_strained_however_little_there_is_to_do(fact, value):
    load = Load()
    setattr(load, fact, value)
    assert (load.share, load.strain) == (0.0, HINDERED)
    setattr(load, fact, type(value)(0))
    assert load.strain == 0.0
