"""SCIM's PATCH (RFC 7644 §3.5.2): what becomes of a resource, as Entra ID and Okta send it.

Where they and the RFC differ, they are followed: operations in capitals; `remove` of members named in a value; a value set by a path
whose filter nothing matches, which makes what the filter describes; paths as names of a value without a path; and an `id` in it.
"""

from typing import Any, Final

from headrace.wire.scim import NOT_KEPT, Attribute, Resource, ScimRefused, attribute, read, value_of
from headrace.wire.scim_filter import And, Compare, Filter, Path, matches, parse_path

OPERATIONS_MAX: Final = 1_000
READ_ONLY: Final = ("id", "meta", "schemas")


def patched(resource: Resource, body: object, attributes: tuple[Attribute, ...]) -> Resource:
    """The resource after all operations of a body, or as it was: raises ScimRefused where one can't be done."""
    made = {name: _copied(value) for name, value in resource.items()}
    for op, path, value in _operations(body):
        if path is not None:
            _apply(made, op, parse_path(path), value, attributes)
        elif op == "remove":
            raise ScimRefused("noTarget", "An operation that removes has a path.")
        elif isinstance(value, dict):
            for name, each in value.items():
                named = parse_path(name)
                known = attribute(attributes, named.name)
                if named.name.lower() not in READ_ONLY and not (known is not None and known.read_only):
                    _apply(made, op, named, each, attributes)
        else:
            raise ScimRefused("invalidValue", "An operation without a path has an object as its value.")
    return read(made, attributes)


def _operations(body: object) -> list[tuple[str, str | None, Any]]:
    said = {name.lower(): value for name, value in body.items()} if isinstance(body, dict) else {}
    listed = said.get("operations")
    if not isinstance(listed, list) or not 1 <= len(listed) <= OPERATIONS_MAX:
        raise ScimRefused("invalidSyntax", f"A PATCH has 1 to {OPERATIONS_MAX:,} Operations.")
    found = []
    for each in listed:
        one = {name.lower(): value for name, value in each.items()} if isinstance(each, dict) else {}
        op, path = str(one.get("op", "")).lower(), one.get("path") or None
        if op not in ("add", "replace", "remove") or not isinstance(path, str | None):
            raise ScimRefused("invalidSyntax", "The op of an operation is add, replace or remove, and its path a string.")
        found.append((op, path, one.get("value")))
    return found


def _apply(resource: Resource, op: str, path: Path, value: Any, attributes: tuple[Attribute, ...]) -> None:
    known = attribute(attributes, path.name)
    if known is None:
        _check_known(path.name)
        return
    part = None
    if path.part is not None:
        part = known.part(path.part)
        if part is None:
            _check_known(path.part)
            return
    if known.read_only or (part is not None and part.read_only):
        raise ScimRefused("mutability", f"{path.name!r} is made here and can't be set.")
    if known.many:
        _apply_many(resource, op, known, path.chosen, part, value)
    elif path.chosen is not None:
        raise ScimRefused("invalidPath", f"{path.name!r} has one value, of which none can be chosen.")
    elif part is not None:
        _set(resource.setdefault(known.name, {}), op, part, value)
    elif known.kind == "complex" and op != "remove":
        resource.setdefault(known.name, {}).update(value_of(known, value) or {})
    else:
        _set(resource, op, known, value)


def _check_known(name: str) -> None:
    """What others keep is passed over."""
    if not name.lower().startswith("urn:") and name.lower() not in NOT_KEPT:
        raise ScimRefused("mutability" if name.lower() in READ_ONLY else "invalidPath", f"There is no attribute {name!r} to be set.")


def _set(held: Resource, op: str, known: Attribute, value: Any) -> None:
    kept = None if op == "remove" else value_of(known, value)
    if kept is None:
        if known.required:
            raise ScimRefused("mutability", f"{known.name!r} is required and stays.")
        held.pop(known.name, None)
    else:
        held[known.name] = kept


def _apply_many(resource: Resource, op: str, known: Attribute, chosen: Filter | None, part: Attribute | None, value: Any) -> None:
    held: list[Resource] = resource.setdefault(known.name, [])
    if chosen is None and part is None:
        given: list[Resource] = value_of(known, value) or []
        if op == "remove":
            gone = {each.get("value") for each in given}
            held[:] = [each for each in held if value is not None and each.get("value") not in gone]
        else:
            held[:] = _together([] if op == "replace" else held, given)
        return
    found = held[:] if chosen is None else _chosen(held, chosen)
    if op == "remove" and part is None:
        these = {id(each) for each in found}
        held[:] = [each for each in held if id(each) not in these]
        return
    if not found and op != "remove":
        found = [_described(chosen, known)]
        held += found
    for each in found:
        if part is not None:
            _set(each, op, part, value)
        else:
            kept = value_of(known, value) if value else None
            each.update(kept[0] if kept else {})  # nothing of it may be what we keep
        _first(held, each)


def _chosen(held: list[Resource], chosen: Filter) -> list[Resource]:
    """Those that match; one of many members is found without trying the filter on each."""
    if isinstance(chosen, Compare) and (chosen.path, chosen.sign) == (("value",), "eq"):
        held = [each for each in held if str(each.get("value")).casefold() == str(chosen.value).casefold()]
    return [each for each in held if matches(chosen, each)]


def _copied(value: Any) -> Any:
    """As deep as resources are, and so many times as fast as `deepcopy`."""
    if isinstance(value, list):
        return [_copied(each) for each in value]
    return dict(value) if isinstance(value, dict) else value


def _together(held: list[Resource], given: list[Resource]) -> list[Resource]:
    """Each value once, with what was said of it last."""
    by_value: dict[Any, Resource] = {each.get("value"): each for each in held}
    for each in given:
        by_value[each.get("value")] = {**by_value.get(each.get("value"), {}), **each}
    together = list(by_value.values())
    for each in given:
        _first(together, each)
    return together


def _first(held: list[Resource], one: Resource) -> None:
    """There is one primary value: the one that was set last."""
    if one.get("primary") is True:
        for each in held:
            if each.get("value") != one.get("value") and each.pop("primary", False):
                each["primary"] = False


def _described(chosen: Filter | None, known: Attribute) -> Resource:
    """The value that a filter describes: `emails[type eq "work"]`. Raises ScimRefused where it describes none."""
    terms = chosen.terms if isinstance(chosen, And) else (chosen,)
    made: Resource = {}
    for term in terms:
        if not isinstance(term, Compare) or term.sign != "eq" or (part := known.part(term.path[0])) is None:
            raise ScimRefused("noTarget", f"No value of {known.name!r} is as the path says.")
        made[part.name] = value_of(part, term.value)
    return made
