"""A key that is good for as long as a command runs, whatever ends that."""

import os
import signal
from collections.abc import Iterator
from typing import Any, cast

import pytest

from headrace.cli.client import Client
from headrace.cli.minted import ENDED_BY, minted_key


class Keys:
    """A server's keys."""

    def __init__(self) -> None:
        self.revoked: list[str] = []

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return {"id": "key_1", "secret": "s"}

    def within(self, timeout_s: float) -> "Keys":
        return self

    def delete(self, path: str) -> None:
        self.revoked.append(path)


@pytest.fixture
def keys() -> Iterator[Keys]:
    before = {each: signal.signal(each, signal.SIG_DFL) for each in ENDED_BY}  # also where these tests were begun to ignore one
    yield Keys()
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.parametrize("number", ENDED_BY)
def test_what_would_end_it_revokes_the_key(keys, number):
    with pytest.raises(SystemExit) as ended, minted_key(cast(Client, keys), {}):
        os.kill(os.getpid(), number)
    assert (ended.value.code, keys.revoked) == (128 + number, ["/keys/key_1"])


@pytest.mark.parametrize("number", ENDED_BY)
def test_what_it_was_begun_to_ignore_does_not_end_it(keys, number):
    signal.signal(number, signal.SIG_IGN)
    with minted_key(cast(Client, keys), {}):
        os.kill(os.getpid(), number)
        assert keys.revoked == []
    assert keys.revoked == ["/keys/key_1"]
    assert signal.getsignal(number) is signal.SIG_IGN
