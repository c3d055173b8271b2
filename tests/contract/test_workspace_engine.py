"""The workspace on the embedded model alone: it chats, counts what that took, and says what it is not up to."""

import pytest

from tests.server import Running
from tests.visitor import Visitor

pytestmark = pytest.mark.engine


def test_a_chat_on_the_embedded_model(embedded: Running):
    visitor = Visitor(embedded).sign_in(embedded.key)
    thread = visitor.thread()
    events = visitor.say(thread, "Say hello in one word.", within_s=240, budget_usd="1")  # now and then it says 2,000
    assert events[-1]["event"]["text"].strip()
    told = visitor.get(thread)
    assert told["tokens"] > 0
    assert told["note"] == ""
    assert "stronger model" in visitor.call("PATCH", f"/workspace/api{thread}", {"intent": "code"})[1]["note"]
