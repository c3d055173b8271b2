"""SCIM's filters and patches, in the forms in which directories send them."""

from typing import Any

import pytest

from headrace.wire.scim import GROUP, GROUP_ATTRIBUTES, USER, USER_ATTRIBUTES, ScimRefused, read, schema
from headrace.wire.scim_filter import demanded, matches, named, parse_filter, parse_path
from headrace.wire.scim_patch import patched

ANN: dict[str, Any] = {
    "id": "user_1",
    "externalId": "00u1",
    "userName": "Ann@Example.org",
    "name": {"givenName": "Ann", "familyName": "Archer"},
    "emails": [{"value": "ann@example.org", "type": "work", "primary": True}, {"value": "ann@home.example", "type": "home"}],
    "active": True,
}
STAFF: dict[str, Any] = {"id": "group_1", "displayName": "Staff", "members": [{"value": "user_1"}, {"value": "user_2"}]}
CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('userName eq "ann@example.org"', True),
        ('USERNAME Eq "ANN@EXAMPLE.ORG"', True),
        (f'{CORE}:userName eq "ann@example.org"', True),
        ('externalId eq "00u1"', True),
        ('externalId eq "00U1"', False),
        ('id eq "user_1" and active eq true', True),
        ('id eq "user_1" and active eq "False"', False),
        ('emails.value eq "ann@home.example"', True),
        ('emails eq "ann@home.example"', True),
        ('emails[type eq "work"].value eq "ann@example.org"', True),
        ('emails[type eq "work"].value eq "ann@home.example"', False),
        ('emails[type eq "work" and value sw "ann@home"]', False),
        ('emails[type eq "home" and value sw "ann@home"]', True),
        ('name.familyName co "rch" and name.givenName ew "nn"', True),
        ("displayName pr or name.familyName pr", True),
        ("displayName pr and name.familyName pr or active pr", True),
        ("displayName pr and (name.familyName pr or active pr)", False),
        ("not (displayName pr)", True),
        ("displayName eq null", True),
        ('userName ne "bob"', True),
        ('userName ne "ann@example.org"', False),
        (f'{ENTERPRISE}:department eq "Sales"', False),
        ('userName gt "a" and userName lt "b"', True),
        (r'userName eq "a\"b"', False),
        ("userName eq 7", False),
        ('name eq "Ann"', False),
        ("active gt true", False),
    ],
)
def test_what_a_filter_finds(text: str, expected: bool) -> None:
    assert matches(parse_filter(text), ANN) is expected


def test_members_are_found_by_their_ids() -> None:
    assert matches(parse_filter('id eq "group_1" and members eq "user_2"'), STAFF)
    assert not matches(parse_filter('members.value eq "user_3"'), STAFF)


@pytest.mark.parametrize(
    "text",
    ["", "userName", "userName eq", 'userName is "a"', 'userName eq "a', "(userName pr", 'userName eq "a" and', 'emails[type eq "work"',
     'userName eq "a" "b"', "userName eq ann", '"a" eq "a"', "(" * 40 + "active pr" + ")" * 40, "a" * 9_000],
)  # fmt: skip
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(ScimRefused) as refused:
        parse_filter(text)
    assert refused.value.kind == "invalidFilter"


def test_what_a_filter_demands_can_be_looked_up() -> None:
    assert demanded(parse_filter('userName eq "a" and active eq true and externalId eq "b"')) == {"username": "a", "externalid": "b"}
    assert demanded(parse_filter('userName eq "a" or externalId eq "b"')) == {}
    assert demanded(parse_filter('not (userName eq "a")')) == {}
    assert named(parse_filter('not (id eq "a") or emails[type eq "work"] and members.value eq "b"')) == {"id", "emails", "members"}


def patch(*operations: dict[str, Any], of: dict[str, Any] = ANN) -> dict[str, Any]:
    attributes = USER_ATTRIBUTES if of is ANN else GROUP_ATTRIBUTES
    return patched(of, {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": list(operations)}, attributes)


def said(**changed: Any) -> dict[str, Any]:
    """Ann as a directory could have sent her, with some of it otherwise; None: without it."""
    return {name: value for name, value in {**ANN, **changed}.items() if name != "id" and value is not None}


WORK, HOME = ANN["emails"]
USERS = [
    # what Entra ID sends
    ({"op": "Replace", "path": "active", "value": "False"}, said(active=False)),
    ({"op": "Replace", "path": "active", "value": False}, said(active=False)),
    ({"op": "Add", "path": "displayName", "value": "Ann A."}, said(displayName="Ann A.")),
    ({"op": "Replace", "path": 'emails[type eq "work"].value', "value": "a@b.example"},
     said(emails=[{**WORK, "value": "a@b.example"}, HOME])),
    ({"op": "Add", "path": 'emails[type eq "other"].value', "value": "o@b.example"},
     said(emails=[WORK, HOME, {"type": "other", "value": "o@b.example"}])),
    ({"op": "Replace", "path": "name.familyName", "value": "Bow"}, said(name={"givenName": "Ann", "familyName": "Bow"})),
    ({"op": "Add", "path": f"{ENTERPRISE}:department", "value": "Sales"}, said()),
    ({"op": "Add", "path": 'phoneNumbers[type eq "work"].value', "value": "+1 555"}, said()),
    ({"op": "Replace", "value": {"name.givenName": "Anna", "displayName": "Anna", f"{ENTERPRISE}:department": "Sales"}},
     said(name={"givenName": "Anna", "familyName": "Archer"}, displayName="Anna")),
    ({"op": "Remove", "path": "name.givenName"}, said(name={"familyName": "Archer"})),
    # what Okta sends
    ({"op": "replace", "value": {"active": False}}, said(active=False)),
    ({"op": "replace", "value": {"id": "user_1", "userName": "ann@new.example"}}, said(userName="ann@new.example")),
    # what others may
    ({"op": "replace", "path": "name.middleName", "value": "B."}, said()),
    ({"op": "replace", "path": 'emails[type eq "home"]', "value": {"value": "h@b.example"}},
     said(emails=[WORK, {**HOME, "value": "h@b.example"}])),
    ({"op": "replace", "path": 'emails[type eq "home"]', "value": None}, said()),
    ({"op": "replace", "path": 'emails[type eq "home"]', "value": {"display": "At home"}}, said()),
    ({"op": "replace", "path": 'emails[type eq "home"]', "value": {"value": None}}, said()),
    ({"op": "replace", "value": {"name": {"familyName": "Bow"}}}, said(name={"givenName": "Ann", "familyName": "Bow"})),
    ({"op": "add", "path": "emails", "value": [{"value": "n@b.example", "primary": True}]},
     said(emails=[{**WORK, "primary": False}, HOME, {"value": "n@b.example", "primary": True}])),
    ({"op": "add", "path": "emails", "value": {"value": "ann@home.example", "type": "other"}},
     said(emails=[WORK, {**HOME, "type": "other"}])),
    ({"op": "remove", "path": 'emails[type eq "home"]'}, said(emails=[WORK])),
    ({"op": "remove", "path": "emails"}, said(emails=None)),
    ({"op": "remove", "path": 'emails[type eq "never"]'}, said()),
    ({"op": "replace", "path": f"{CORE}:userName", "value": "b"}, said(userName="b")),
    ({"op": "replace", "path": "displayName", "value": None}, said()),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "expected"), USERS)
def test_what_becomes_of_a_user(operation: dict[str, Any], expected: dict[str, Any]) -> None:
    before = repr(ANN)
    assert patch(operation) == expected
    assert repr(ANN) == before, "what was there is left as it was"


@pytest.mark.parametrize(
    ("operation", "name", "members"),
    [
        ({"op": "Add", "path": "members", "value": [{"$ref": None, "value": "user_3"}]}, "Staff", ["user_1", "user_2", "user_3"]),
        ({"op": "Add", "path": "members", "value": [{"value": "user_2"}]}, "Staff", ["user_1", "user_2"]),
        ({"op": "Remove", "path": "members", "value": [{"$ref": None, "value": "user_2"}]}, "Staff", ["user_1"]),
        ({"op": "Remove", "path": 'members[value eq "user_1"]'}, "Staff", ["user_2"]),
        ({"op": "Remove", "path": 'members[value eq "user_9"]'}, "Staff", ["user_1", "user_2"]),
        ({"op": "Remove", "path": "members", "value": []}, "Staff", ["user_1", "user_2"]),
        ({"op": "remove", "path": "members"}, "Staff", []),
        ({"op": "replace", "path": "members", "value": [{"value": "user_5", "display": "Eve"}]}, "Staff", ["user_5"]),
        ({"op": "replace", "value": {"id": "group_1", "displayName": "Crew"}}, "Crew", ["user_1", "user_2"]),
        ({"op": "Replace", "path": "displayName", "value": "Crew"}, "Crew", ["user_1", "user_2"]),
    ],
)
def test_what_becomes_of_a_group(operation: dict[str, Any], name: str, members: list[str]) -> None:
    made = patch(operation, of=STAFF)
    assert (made["displayName"], [one["value"] for one in made.get("members", [])]) == (name, members)


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ({"op": "move", "path": "active"}, "invalidSyntax"),
        ({"op": "remove"}, "noTarget"),
        ({"op": "replace", "path": "id", "value": "user_2"}, "mutability"),
        ({"op": "add", "path": "groups", "value": [{"value": "group_1"}]}, "mutability"),
        ({"op": "remove", "path": "userName"}, "mutability"),
        ({"op": "replace", "path": "favouriteColour", "value": "red"}, "invalidPath"),
        ({"op": "replace", "path": "active[", "value": True}, "invalidPath"),
        ({"op": "replace", "path": "name.colour", "value": "red"}, "invalidPath"),
        ({"op": "replace", "path": 'emails[type eq "work"].1', "value": "red"}, "invalidPath"),
        ({"op": "add", "path": "emails", "value": ["x"] * 101}, "tooMany"),
        ({"op": "add", "path": "displayName", "value": "x" * 1_025}, "invalidValue"),
        ({"op": "replace", "path": 'name[familyName eq "A"]', "value": {}}, "invalidPath"),
        ({"op": "replace", "path": "active", "value": "perhaps"}, "invalidValue"),
        ({"op": "replace", "path": "userName", "value": 7}, "invalidValue"),
        ({"op": "add", "value": "x"}, "invalidValue"),
        ({"op": "add", "path": 'emails[type pr].value', "value": "x"}, None),
        ({"op": "add", "path": 'emails[type sw "x"].value', "value": "x"}, "noTarget"),
    ],
)  # fmt: skip
def test_what_a_patch_may_not(operation: dict[str, Any], kind: str | None) -> None:
    if kind is None:
        assert [one["value"] for one in patch(operation)["emails"]] == ["x", "x"], "every value that the filter chooses"
        return
    with pytest.raises(ScimRefused) as refused:
        patch(operation)
    assert refused.value.kind == kind


def test_all_operations_or_none() -> None:
    done = patch({"op": "add", "path": "displayName", "value": "A"}, {"op": "replace", "path": "displayName", "value": "B"})
    assert done["displayName"] == "B"
    bodies: tuple[Any, ...] = ({}, {"Operations": []}, {"Operations": "x"}, [], {"Operations": ["x"]})
    for body in bodies:
        with pytest.raises(ScimRefused):
            patched(ANN, body, USER_ATTRIBUTES)


def test_what_is_read_of_a_body() -> None:
    body = {
        "USERNAME": "ann",
        "Active": "True",
        "groups": [{"value": "g"}],
        "title": "Dr.",
        "emails": ["a@b.example"],
        "name": None,
        "id": "x",
    }
    assert read(body, USER_ATTRIBUTES) == {"userName": "ann", "active": True, "emails": [{"value": "a@b.example"}]}
    others: tuple[Any, ...] = ([], {}, {"userName": ""}, {"userName": "a", "active": "maybe"}, {"userName": "a", "name": "Ann"})
    for wrong in others:
        with pytest.raises(ScimRefused):
            read(wrong, USER_ATTRIBUTES)


def test_paths_have_a_form() -> None:
    assert parse_path("members").name == "members"
    assert parse_path(f"{ENTERPRISE}:department").name == f"{ENTERPRISE}:department"
    for wrong in ("", "a.b.c", "1a", "members]", "emails[type eq 1]x"):
        with pytest.raises(ScimRefused):
            parse_path(wrong)


def test_schemas_tell_what_is_kept() -> None:
    told = schema(USER, "User", "A person.", USER_ATTRIBUTES)
    kept = {one["name"]: one for one in told["attributes"]}
    assert kept.keys() == {"userName", "name", "displayName", "active", "emails", "groups"}
    assert (kept["userName"]["uniqueness"], kept["groups"]["mutability"]) == ("server", "readOnly")
    assert [one["name"] for one in schema(GROUP, "Group", "", GROUP_ATTRIBUTES)["attributes"]] == ["displayName", "members"]
