"""What was asked, to be played again: answered chat in the order of its coming, each once."""

import contextlib

from headrace.compose.place import here
from headrace.compose.simulated import own_traffic
from headrace.core.usage import Usage
from headrace.simulator.traces import As
from headrace.storage import Came, connect, load_once, traffic
from tests.unit.metering.builders import MODEL, admit, settle, void


def test_answered_chat_in_order(log, layout):
    first, second, never = admit("req_1", 1), admit("req_1", 2), admit("req_2")
    for record in (first, void(first), second, settle(second, usage=Usage(1, 2, 3, 4, 5, 6, 7, 8)), never):
        log.append(record)
    load_once(layout, 1)
    with contextlib.closing(connect(layout.database)) as database:
        assert list(traffic(database)) == [Came(1_000, "acme/demo", MODEL, "enterprise", 1 + 2 + 3 + 6 + 7 + 8, 4 + 5)]


def test_it_becomes_calls(log, layout):
    asked = admit("req_1")
    log.append(asked)
    log.append(settle(asked, usage=Usage(100, output=7)))
    call = next(own_traffic(here(None, layout.root), As(model="m")).calls())
    assert (call.at_ms, call.model, call.traffic_class, call.tokens_in, call.tokens_out) == (0.0, "m", "enterprise", 100, 7)
