"""What SCIM 2.0 (RFC 7643) calls a user and a group, as far as we keep them: one table, of which bodies are read and schemas are told.

Directories send more than is kept: an enterprise's cost centre, phone numbers. What the RFCs name and we don't keep is left out, since to
refuse it would stop all provisioning; what nobody names is refused in a path. Names are the same in capitals, and truth may be a string
("True"), as Entra ID has sent it for years.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

Resource: TypeAlias = dict[str, Any]
"""A resource as JSON has it, with our spelling of the names of its attributes."""
Kind: TypeAlias = Literal["string", "boolean", "reference", "complex"]
USER: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
TEXT_CHARS_MAX: Final = 1_024
NOT_KEPT: Final = frozenset(
    name.lower()
    for name in (
        "nickName", "profileUrl", "title", "userType", "preferredLanguage", "locale", "timezone", "password", "phoneNumbers", "ims",
        "photos", "addresses", "entitlements", "roles", "x509Certificates", "middleName", "honorificPrefix", "honorificSuffix",
    )
)  # fmt: skip
"""What RFC 7643 names and we don't keep, as part of a path."""


class ScimRefused(Exception):
    """What can't be read or done, in SCIM's own word for it (`scimType`, RFC 7644 §3.12) and in a sentence."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail


class Attribute(msgspec.Struct, frozen=True):
    """`read_only`: what is sent of it is passed over. `unique` holds among all of its kind here; `many` values are at most `values_max`."""

    name: str
    kind: Kind = "string"
    about: str = ""
    many: bool = False
    values_max: int = 100
    required: bool = False
    read_only: bool = False
    unique: bool = False
    exact: bool = False
    fixed: bool = False
    """It is set once, with what it is part of."""
    parts: tuple["Attribute", ...] = ()
    values: tuple[str, ...] = ()
    refers_to: tuple[str, ...] = ()

    def part(self, name: str) -> "Attribute | None":
        return _named(self.parts, name)


EXTERNAL: Final = Attribute("externalId", exact=True)
"""Every resource has it, and no schema tells it."""
USER_ATTRIBUTES: Final[tuple[Attribute, ...]] = (
    Attribute("userName", about="How the directory's people sign in; the same in capitals.", required=True, unique=True),
    Attribute(
        "name",
        "complex",
        "The parts of the name.",
        parts=(
            Attribute("formatted", about="The whole name."),
            Attribute("familyName", about="The family's name."),
            Attribute("givenName", about="The given name."),
        ),
    ),
    Attribute("displayName", about="The name that is shown."),
    Attribute("active", "boolean", "Whether the person may do anything here."),
    Attribute(
        "emails",
        "complex",
        "Addresses. Of the primary one the person is known when signing in.",
        many=True,
        parts=(
            Attribute("value", about="The address."),
            Attribute("type", about="What it is for."),
            Attribute("primary", "boolean", "Whether it comes first; of one address only."),
        ),
    ),
    Attribute(
        "groups",
        "complex",
        "The groups that the person is in.",
        many=True,
        read_only=True,
        parts=(
            Attribute("value", about="The group's id.", read_only=True),
            Attribute("$ref", "reference", "Where it is.", read_only=True, exact=True, refers_to=("Group",)),
            Attribute("display", about="Its name.", read_only=True),
        ),
    ),
)
GROUP_ATTRIBUTES: Final[tuple[Attribute, ...]] = (
    Attribute("displayName", about="The group's name, one of its own in the organisation.", required=True, unique=True),
    Attribute(
        "members",
        "complex",
        "The people in it.",
        many=True,
        values_max=50_000,
        parts=(
            Attribute("value", about="The person's id.", exact=True, fixed=True),
            Attribute("$ref", "reference", "Where the person is.", exact=True, fixed=True, refers_to=("User",)),
            Attribute("type", about="What it is.", fixed=True, values=("User",)),
        ),
    ),
)


def attribute(attributes: tuple[Attribute, ...], name: str) -> Attribute | None:
    """That of a name, with or without the schema's urn before it."""
    return _named((*attributes, EXTERNAL), bare(name))


def bare(name: str) -> str:
    """Without the urn of the schemas that we have."""
    for schema in (USER, GROUP):
        if name.lower().startswith(f"{schema.lower()}:"):
            return name[len(schema) + 1 :]
    return name


def _named(attributes: tuple[Attribute, ...], name: str) -> Attribute | None:
    return next((one for one in attributes if one.name.lower() == name.lower()), None)


# Bodies.


def read(body: object, attributes: tuple[Attribute, ...]) -> Resource:
    """What a body says of a resource, in our spelling; what is read-only or not ours is left out. Raises ScimRefused."""
    if not isinstance(body, dict):
        raise ScimRefused("invalidSyntax", "A resource is a JSON object.")
    said = _read(body, (*attributes, EXTERNAL))
    for one in attributes:
        if one.required and not said.get(one.name):
            raise ScimRefused("invalidValue", f"The attribute {one.name!r} is required.")
    return said


def _read(body: Mapping[str, object], attributes: tuple[Attribute, ...]) -> Resource:
    said: Resource = {}
    for name, value in body.items():
        known = _named(attributes, bare(name))
        if known is not None and not known.read_only and (kept := value_of(known, value)) not in (None, [], {}):
            said[known.name] = kept
    return said


def value_of(known: Attribute, value: object) -> Any:
    """The value of an attribute as we keep it. Raises ScimRefused where it is of another kind."""
    if value is None:
        return None
    if not known.many:
        return _one(known, value)
    listed = value if isinstance(value, list) else [value]
    if len(listed) > known.values_max:
        raise ScimRefused("tooMany", f"There can be at most {known.values_max:,} values of {known.name!r}.")
    return [kept for each in listed if (kept := _one(known, each))]


def _one(known: Attribute, value: object) -> Any:
    if known.kind == "complex":
        if known.many and isinstance(value, str):  # a list of ids or addresses
            value = {"value": value}
        if isinstance(value, dict):
            return _read(value, known.parts)
    elif known.kind == "boolean":
        if (truth := truth_of(value)) is not None:
            return truth
    elif isinstance(value, str) and len(value) <= TEXT_CHARS_MAX:
        return value
    bound = f" of at most {TEXT_CHARS_MAX:,} letters" if known.kind in ("string", "reference") else ""
    raise ScimRefused("invalidValue", f"{repr(value)[:100]} is no value of {known.name!r}: that is a {known.kind}{bound}.")


def truth_of(value: object) -> bool | None:
    """A boolean, also where it was sent as a string; None: it is none."""
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


# Schemas.


def schema(id: str, name: str, about: str, attributes: tuple[Attribute, ...]) -> Resource:
    """As `/Schemas` tells it (RFC 7643 §7)."""
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": id,
        "name": name,
        "description": about,
        "attributes": [_told(one) for one in attributes],
    }


def _told(one: Attribute) -> Resource:
    told: Resource = {
        "name": one.name,
        "type": one.kind,
        "multiValued": one.many,
        "description": one.about,
        "required": one.required,
        "mutability": "readOnly" if one.read_only else "immutable" if one.fixed else "readWrite",
        "returned": "default",
        "uniqueness": "server" if one.unique else "none",
    }
    if one.kind in ("string", "reference"):
        told["caseExact"] = one.exact
    if one.values:
        told["canonicalValues"] = list(one.values)
    if one.refers_to:
        told["referenceTypes"] = list(one.refers_to)
    if one.parts:
        told["subAttributes"] = [_told(part) for part in one.parts]
    return told
