"""Whom a budget or a limit holds for, as a table."""

import msgspec
import pytest

from headrace.core.ask import Ask
from headrace.core.identity import Principal
from headrace.metering import Asker, Whom, asker_of, instances

ASKER = Asker(
    organization="acme",
    project="demo",
    lineage=("key_3", "key_2", "key_1"),
    names=("run", "agent", "ann's"),
    user="ann",
    session="s1",
    model="nano",
    traffic_class="batch",
)

TABLE = [
    # whom                                              its instances
    (Whom(), ("",)),
    (Whom(organization="acme", project="demo", user="ann", session="s1", model="nano", traffic_class="batch"), ("",)),
    (Whom(organization="other"), ()),
    (Whom(project="other"), ()),
    (Whom(user="bob"), ()),
    (Whom(session="s2"), ()),
    (Whom(model="mini"), ()),
    (Whom(traffic_class="realtime"), ()),
    (Whom(key="key_3"), ("",)),
    (Whom(key="key_1"), ("",)),
    (Whom(key="agent"), ("",)),
    (Whom(key="key_4"), ()),
    (Whom(for_each="organization"), ("acme",)),
    (Whom(for_each="project"), ("acme/demo",)),
    (Whom(for_each="key"), ("key_3", "key_2", "key_1")),
    (Whom(for_each="user"), ("ann",)),
    (Whom(for_each="session"), ("key_1/s1",)),
    (Whom(for_each="model"), ("nano",)),
    (Whom(for_each="class"), ("batch",)),
    (Whom(organization="other", for_each="user"), ()),
]


@pytest.mark.parametrize(("whom", "found"), TABLE)
def test_whom_it_holds_for(whom: Whom, found: tuple[str, ...]):
    assert instances(whom, ASKER) == found


def test_sessions_of_two_tenants_are_two_whatever_they_are_called():
    other = msgspec.structs.replace(ASKER, lineage=("key_9",))
    assert instances(Whom(for_each="session"), ASKER) != instances(Whom(for_each="session"), other)


def test_who_asks_is_a_key_with_all_that_it_was_minted_from():
    who = Principal(
        organization="acme", project="demo", key="key_3", key_name="run", parents=("key_2", "key_1"), parent_names=("agent", "ann's")
    )
    ask = Ask(
        request="req_1",
        operation="chat",
        principal=who,
        model="nano",
        stream=False,
        include_usage=False,
        tokens_in_max=1,
        tokens_out_max=1,
        body=b"{}",
        traffic_class="batch",
        user="ann",
        session="s1",
    )
    assert asker_of(ask) == ASKER
