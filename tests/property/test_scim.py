"""Whatever a directory sends, it is done or refused in SCIM's words; and what was refused has changed nothing."""

from contextlib import suppress
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headrace.wire.scim import USER_ATTRIBUTES, ScimRefused, read
from headrace.wire.scim_filter import demanded, matches, named, parse_filter, parse_path
from headrace.wire.scim_patch import patched

NAMES = ["userName", "emails", "emails.value", "name.familyName", "active", "id", "urn:a:b:c"]
SIGNS = ["eq", "ne", "co", "gt", "pr", "and", "or", "not", "(", ")", "[", "]", ".value", '"x"', '"ann"', "true", "null", "1", "[type", "]x"]
TEXTS = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(NAMES + SIGNS), max_size=12).map(" ".join))
PATHS = TEXTS | st.sampled_from(["emails", 'emails[type eq "work"]', 'emails[type eq "home"].value', "name", "name.givenName", "active"])
KEYS = st.sampled_from(["value", "type", "primary", "userName", "emails", "name", "givenName", "id", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
OPERATION = st.fixed_dictionaries({"op": st.sampled_from(["Add", "replace", "Remove"]), "value": JSON}, optional={"path": PATHS})
OPERATIONS = st.lists(OPERATION, min_size=1, max_size=3)
EMAIL = {"value": st.sampled_from("abc"), "type": st.sampled_from(["work", "home"]), "primary": st.booleans()}
EMAILS = st.lists(st.fixed_dictionaries({}, optional=EMAIL), max_size=3)
USERS = st.builds(lambda emails, active: {"id": "user_1", "userName": "ann", "emails": emails, "active": active}, EMAILS, st.booleans())


@given(text=TEXTS, user=USERS)
def test_a_filter_is_answered_or_refused(text: str, user: dict[str, Any]) -> None:
    with suppress(ScimRefused):
        found = parse_filter(text)
        assert named(found)
        if matches(found, user):
            assert demanded(found).get("username", "ann") == "ann", "what is looked up is what matches"


@given(text=PATHS)
def test_a_path_is_read_or_refused(text: str) -> None:
    with suppress(ScimRefused):
        assert parse_path(text).name


@given(user=USERS, operations=OPERATIONS)
def test_a_patch_is_done_or_refused_and_what_comes_of_it_can_be_read_again(user: dict[str, Any], operations: list[dict[str, Any]]) -> None:
    before = deepcopy(user)
    with suppress(ScimRefused):
        after = patched(user, {"Operations": operations}, USER_ATTRIBUTES)
        assert read(after, USER_ATTRIBUTES) == after
        assert after["userName"]
    assert user == before


@given(body=JSON)
def test_a_body_is_read_or_refused(body: Any) -> None:
    with suppress(ScimRefused):
        assert read(body, USER_ATTRIBUTES)["userName"]
