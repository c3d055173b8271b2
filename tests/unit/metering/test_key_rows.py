"""Keys: what a secret looks like, and that a row never tells it."""

import re

import msgspec
import pytest

from headrace.core.identity import Principal
from headrace.metering import KeyRow, digest, principal_of, secret_from, shown

SECRET = secret_from(bytes(range(32)))
ROW = KeyRow(
    id="key_1", name="ci", organization="acme", project="demo", traffic_class="batch", tokens_per_minute=9,
    digest=digest(SECRET), shown=shown(SECRET), created=1,
)  # fmt: skip


def test_a_secret_is_long_and_needs_no_quoting():
    assert re.fullmatch(r"sk-hr-[A-Za-z0-9_-]{40,}", SECRET)
    assert secret_from(bytes(range(32))) == SECRET


def test_a_secret_of_few_bytes_is_refused():
    assert len(secret_from(bytes(30))) == 46
    with pytest.raises(ValueError, match="30 random bytes or more, not of 29"):
        secret_from(bytes(29))


def test_a_digest_takes_whatever_a_client_sends():
    assert len(digest(SECRET)) == 32
    assert digest("\udcff") != digest("é") != digest("")


def test_what_lists_show():
    assert shown(SECRET) == f"sk-hr-…{SECRET[-4:]}"
    assert shown("another-secret") == "…cret"


def test_a_row_never_tells_its_digest():
    text = f"{ROW} {ROW!r}"
    assert ROW.digest.hex() not in text
    assert repr(ROW.digest) not in text
    assert "digest" not in text
    assert SECRET not in text
    assert ROW.shown in text


def test_whose_a_key_is():
    assert ROW.principal == Principal(
        organization="acme",
        project="demo",
        key="key_1",
        key_name=ROW.name,
        traffic_class="batch",
        requests_per_minute=None,
        tokens_per_minute=9,
    )


def test_who_holds_a_minted_key_may_what_all_above_it_may():
    first = msgspec.structs.replace(ROW, budget_pico=100, models=("a", "b", "c"), expires=900, requests_per_minute=50)
    second = msgspec.structs.replace(ROW, id="key_2", name="two", parent="key_1", classes=("batch",), tokens_per_minute=None)
    third = msgspec.structs.replace(
        ROW, id="key_3", name="three", parent="key_2", budget_pico=7, models=("b", "x"), expires=500, requests_per_minute=2
    )
    found = principal_of((third, second, first))
    assert (found.key, found.parents, found.parent_names) == ("key_3", ("key_2", "key_1"), ("two", ROW.name))
    assert found.allowances == (("key_3", 7), ("key_1", 100))
    assert (found.models, found.classes, found.expires) == (frozenset({"b"}), frozenset({"batch"}), 500)
    assert (found.limited_as, found.requests_per_minute, found.tokens_per_minute) == ("key_1", 50, 9)
    assert found.key_limits == (("key_3", 2, 9),)
