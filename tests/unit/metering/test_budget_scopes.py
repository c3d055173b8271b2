"""Whom a budget or a limit holds for, as a table."""

import msgspec
import pytest

from headrace.metering import Asker, Whom, instances

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
