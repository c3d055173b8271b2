"""The door's small decisions: whose request it is, and how long is how long."""

import pytest

from headrace.api.askers import Askers, authenticate
from headrace.api.door import duration
from headrace.core.errors import InvalidApiKey
from headrace.testing.builders import a_principal

SECRET = "sk-hr-" + "a" * 36 + "x7Qa"
WHO = a_principal()


class OneKey:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.changes = 0

    def version(self) -> int:
        return self.changes

    def find(self, secret: str):
        self.asked.append(secret)
        return WHO if secret == SECRET else None


@pytest.mark.parametrize("sent", [f"Bearer {SECRET}", f"bearer {SECRET}", f"BEARER   {SECRET} "])
def test_a_key_that_is_ours(sent: str):
    assert authenticate(sent.encode(), OneKey()) is WHO


def test_a_key_is_looked_up_once_until_any_key_changes():
    keys = OneKey()
    askers = Askers(keys)
    for _ in range(3):
        assert askers.of(f"Bearer {SECRET}".encode()) is WHO
    assert len(keys.asked) == 1
    keys.changes += 1
    assert askers.of(f"Bearer {SECRET}".encode()) is WHO
    assert len(keys.asked) == 2


REFUSED = [
    (None, "You didn't provide an API key"),
    (b"", "Incorrect API key provided: …."),
    (b"Bearer", "Incorrect API key provided: …."),
    (b"Bearer short", "Incorrect API key provided: …."),
    (b"Basic " + SECRET.encode(), "Incorrect API key provided: sk-hr-…x7Qa."),
    (SECRET.encode(), "Incorrect API key provided: …."),
    (b"Bearer sk-hr-" + b"b" * 40, "Incorrect API key provided: sk-hr-…bbbb."),
    (b"Bearer \xff\xfe\x00" + b"c" * 40, "Incorrect API key provided"),
]


@pytest.mark.parametrize(("sent", "words"), REFUSED)
def test_a_key_that_is_not(sent: bytes | None, words: str):
    with pytest.raises(InvalidApiKey) as refused:
        authenticate(sent, OneKey())
    assert words in str(refused.value)
    assert SECRET not in str(refused.value)


def test_without_a_bearer_no_key_is_looked_up():
    keys = OneKey()
    with pytest.raises(InvalidApiKey):
        authenticate(b"Basic " + SECRET.encode(), keys)
    assert keys.asked == []


DURATIONS = [
    (0, "0ms"),
    (12, "12ms"),
    (999, "999ms"),
    (1_000, "1s"),
    (1_500, "1.5s"),
    (59_999, "59.999s"),
    (60_000, "1m0s"),
    (61_250, "1m1.25s"),
    (360_000, "6m0s"),
]


@pytest.mark.parametrize(("ms", "written"), DURATIONS)
def test_durations(ms: int, written: str):
    assert duration(ms) == written
