"""Requests made to fit a server that knows fewer words: what it gets, and what is told of it."""

import json

import pytest

from headrace.core.errors import InvalidJson
from headrace.core.translation import Change
from headrace.wire.openai_fitting import Fitting

RENAME = {"max_completion_tokens": "max_tokens"}
OLD = Fitting(RENAME, frozenset({"logit_bias", "store"}))
CALLED = Change("changed", "max_completion_tokens", "the pool calls it max_tokens")
SAID_TWICE = Change("dropped", "max_tokens", "max_completion_tokens says the same")
BIAS = Change("dropped", "logit_bias", "the pool does not take it")

FITTED = [
    # what the client sends                                          what the pool gets                         what is told
    ({"model": "m", "max_completion_tokens": 5}, {"model": "m", "max_tokens": 5}, (CALLED,)),
    ({"max_tokens": 9, "max_completion_tokens": 5}, {"max_tokens": 5}, (SAID_TWICE, CALLED)),
    ({"max_completion_tokens": 5, "max_tokens": 9}, {"max_tokens": 5}, (CALLED, SAID_TWICE)),
    ({"max_completion_tokens": 5, "max_tokens": None}, {"max_tokens": 5}, (CALLED,)),
    ({"max_tokens": 9, "max_completion_tokens": None}, {"max_tokens": 9}, ()),
    ({"model": "m", "logit_bias": {"1": 2}, "n": 1}, {"model": "m", "n": 1}, (BIAS,)),
    ({"model": "m", "logit_bias": None}, {"model": "m"}, ()),
    ({"logit_bias": {}, "max_completion_tokens": 5}, {"max_tokens": 5}, (BIAS, CALLED)),
]


@pytest.mark.parametrize(("sent", "gets", "told"), FITTED)
def test_what_a_pool_gets_and_what_is_told(sent: object, gets: object, told: tuple[Change, ...]):
    body, changes = OLD.fit(json.dumps(sent).encode())
    assert (json.loads(body), changes) == (gets, told)


UNTOUCHED = [
    {"model": "m", "max_tokens": 5},
    {"model": "m", "messages": [{"content": '"logit_bias"'}]},
    {"model": "m", "metadata": {"logit_bias": 1, "max_completion_tokens": "2"}},
    {"model": "m", "metadata": {"ä": "\u1234"}},
]


@pytest.mark.parametrize("sent", UNTOUCHED)
@pytest.mark.parametrize("fitting", [OLD, Fitting({}, frozenset())])
def test_where_the_member_is_not_there_no_byte_changes(sent: object, fitting: Fitting):
    for body in (json.dumps(sent, indent=1).encode(), json.dumps(sent, ensure_ascii=False).encode()):
        fitted, changes = fitting.fit(body)
        assert fitted is body
        assert changes == ()


def test_a_name_is_found_however_it_is_written():
    body, changes = OLD.fit(b'{"max_\\u0063ompletion_tokens":5}')
    assert (json.loads(body), changes) == ({"max_tokens": 5}, (CALLED,))


def test_of_two_that_have_one_name_there_the_first_that_is_named_is_meant():
    fitting = Fitting({"max_completion_tokens": "limit", "max_tokens": "limit"}, frozenset())
    for sent in ({"max_tokens": 9, "max_completion_tokens": 5}, {"max_completion_tokens": 5, "max_tokens": 9}):
        body, changes = fitting.fit(json.dumps(sent).encode())
        assert json.loads(body) == {"limit": 5}
        assert SAID_TWICE in changes
    assert fitting.fit(b'{"max_tokens":9}') == (b'{"limit":9}', (Change("changed", "max_tokens", "the pool calls it limit"),))


def test_names_that_are_exchanged():
    assert json.loads(Fitting({"a": "b", "b": "c"}, frozenset()).fit(b'{"b":1,"a":2}')[0]) == {"c": 1, "b": 2}


def test_whether_usage_may_be_asked_for():
    assert OLD.asks_usage
    assert not Fitting({}, frozenset({"stream_options"})).asks_usage


def test_a_key_that_is_no_text_is_the_clients_mistake():
    with pytest.raises(InvalidJson):
        OLD.fit(b'{"store":1,"\xff":2}')


WRONG: list[tuple[dict[str, str], set[str], str]] = [
    ({}, {"messages"}, "messages can be neither renamed nor dropped"),
    ({"model": "name"}, set(), "model can be neither"),
    ({"x": "stream"}, {"input"}, "input, stream can be neither"),
    ({"a": "b"}, {"a"}, "a is renamed and dropped"),
    ({"a": "b"}, {"b"}, "b is renamed and dropped"),
]


@pytest.mark.parametrize(("rename", "drops", "words"), WRONG)
def test_what_no_pool_can_be_said_to_lack(rename: dict[str, str], drops: set[str], words: str):
    with pytest.raises(ValueError, match=words):
        Fitting(rename, frozenset(drops))
