"""Keys: what a secret looks like, and that a row never tells it."""

import re

import pytest

from headrace.core.identity import Principal
from headrace.metering import KeyRow, digest, secret_from, shown

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
