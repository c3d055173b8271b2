"""A2A's values: times as they are told and asked for."""

import pytest

from headrace.wire.a2a import MOMENT_MAX, Fault, SendMessage, Task, answer, call_of, moment_of, params_of, time_of

NOW = 1_795_000_000_123_000_000


def test_a_time_that_was_told_is_the_moment_again():
    assert time_of(NOW) == "2026-11-18T11:06:40.123Z"
    assert moment_of(time_of(NOW)) == NOW
    assert moment_of("2026-11-18T12:06:40.123+01:00") == NOW


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2262-04-12T00:00:00Z"])
def test_a_time_beyond_all_moments_is_the_first_or_the_last_of_them(time: str):
    assert abs(moment_of(time)) == MOMENT_MAX


def test_what_is_no_time_is_told():
    with pytest.raises(Fault, match="is no time such as"):
        moment_of("yesterday")


@pytest.mark.parametrize(("member", "value"), [("id", b'"\xff"'), ("params", b"[" * 60_000 + b"]" * 60_000)])
def test_what_is_no_text_or_too_deep_is_told(member: str, value: bytes):
    message = b'{"message":{"messageId":"a","role":"ROLE_USER","parts":[{"data":%b}]}}' % value
    with pytest.raises(Fault, match="no JSON"):
        call_of(b'{"jsonrpc":"2.0","method":"SendMessage","%b":%b}' % (member.encode(), value))
    with pytest.raises(Fault, match="can't be read"):
        params_of(message, SendMessage)
    with pytest.raises(Fault, match=r"no A2A 1\.0"):
        answer(b'{"result":%b}' % value, Task)
