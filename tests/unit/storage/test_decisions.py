"""The decision of a request: all of its attempts, with everything that is on record of them."""

import msgspec
import pytest

from headrace.core.translation import Change
from headrace.core.usage import NOTHING, Usage
from headrace.metering import Evidence
from headrace.storage import AttemptRow, connect, decision_of, load_once
from tests.unit.metering.builders import BOUND, MODEL, PRICE, admit, settle, void

PLACED = ((0, 0, 0.5), (3, 2, -1.25))
CHANGES = (Change("dropped", "logit_bias", "the dialect has none"), Change("changed", "max_tokens", "at most 4,096"))
CONTENT = msgspec.msgpack.encode({"considered": ["a", "b"]})


@pytest.fixture
def database(layout):
    database = connect(layout.database)
    yield database
    database.close()


def placed(attempt: int, pool: str):
    return msgspec.structs.replace(admit("req_1", attempt), pool=pool, evidence="e1", placed=PLACED)


def test_every_attempt_with_everything(log, layout, database):
    used = Usage(*range(1, 15))
    first, second, third = placed(1, "a"), placed(2, "b"), admit("req_1", 3)
    log.append(Evidence("e1", 1, CONTENT))
    for record in (
        first, void(first), admit("req_2"), second,
        msgspec.structs.replace(settle(second, usage=used), translation=CHANGES, tier="flex", buy="openai/m@1", buy_pico=7), third,
    ):  # fmt: skip
        log.append(record)
    load_once(layout, 1)
    one, two, three = decision_of(database, "req_1")
    assert two == AttemptRow(
        request="req_1",
        attempt=2,
        state="confirmed",
        admitted=1_000,
        ended=2_000,
        organization="acme",
        project="demo",
        key="key_1",
        traffic_class="enterprise",
        operation="chat",
        model=MODEL,
        pool="b",
        streamed=True,
        bound_pico=30_000_000,
        price=PRICE,
        usage=used,
        cost_pico=12_345,
        outcome="completed",
        ttft_ms=12,
        duration_ms=340,
        model_served="SmolLM2",
        tier="flex",
        buy="openai/m@1",
        buy_pico=7,
        ours=False,
        evidence="e1",
        content=CONTENT,
        placed=PLACED,
        translation=CHANGES,
    )
    assert (one.state, one.usage, one.cost_pico, one.outcome, one.placed, one.translation) == (
        "void", NOTHING, None, "upstream_unreachable", PLACED, (),
    )  # fmt: skip
    assert (three.state, three.usage, three.ended, three.outcome, three.evidence, three.content, three.placed) == (
        "held", BOUND, None, None, None, None, (),
    )  # fmt: skip
    assert decision_of(database, "req_3") == []


def test_evidence_that_is_not_there_hides_no_attempt(log, layout, database):
    log.append(placed(1, "a"))
    load_once(layout, 1)
    (row,) = decision_of(database, "req_1")
    assert (row.evidence, row.content, row.placed) == ("e1", None, PLACED)
