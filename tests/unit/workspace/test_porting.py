"""Threads that come in as files: what is in them has an end."""

import pytest

from headrace.agents.events import PersonSaid
from headrace.core.errors import InvalidRequest
from headrace.workspace import porting
from headrace.workspace.porting import Happened, PortedRun, whole


def test_branches_that_share_much_are_counted_with_what_they_share(monkeypatch):
    monkeypatch.setattr(porting, "EVENTS_MAX", 40)
    root = PortedRun("root", [Happened(0, PersonSaid("x"))] * 10)
    branches = [PortedRun(f"b{number}", [], "root", 10) for number in range(4)]
    assert [len(said) for _, said in whole([root, *branches[:3]])] == [10] * 4
    with pytest.raises(InvalidRequest, match="more than 40 events"):
        whole([root, *branches])
