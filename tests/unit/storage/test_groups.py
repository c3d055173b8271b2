"""Groups give parts in projects, in either kind of database; and what a directory says of people holds."""

import pytest
from msgspec.structs import replace

from headrace.core.clock import SECOND
from headrace.core.errors import Conflict, InvalidRequest, NotFound
from headrace.storage import (
    Act,
    Author,
    Database,
    Group,
    Groups,
    Invite,
    KeyRing,
    Layout,
    Person,
    Profile,
    Provisioning,
    Register,
    SharedState,
    SignIn,
    sign_in,
    signed_in,
)
from tests.server import eventually

AUTHOR = Author(origin="command", id="root")
TIMES = iter(range(10, 10_000))


def act(organization: str = "acme") -> Act:
    moment = next(TIMES)
    return Act(id=f"audit_{moment}", moment=moment, organization=organization, author=AUTHOR)


@pytest.fixture
def register(shared: Database, layout: Layout) -> Register:
    register = Register(shared, layout, "acme")
    for name in ("ann", "bob"):
        register.add_person(Person(id=name, organization="acme", email=f"{name}@acme.example", name=name, role="member", added=1), act())
    for project in ("atlas", "borea"):
        register.create_project(project, project, act())
    return register


@pytest.fixture
def groups(register: Register) -> Groups:
    groups = Groups(register)
    groups.create(a_group("staff"), act(), ("ann", "bob"))
    return groups


def a_group(id: str, name: str = "") -> Group:
    return Group(id=id, name=name or id, created=2, changed=2)


def key(register: Register, owner: str, project: str) -> str:
    moment = next(TIMES)
    return register.keys.create(
        id=f"key_{moment}",
        name="own",
        organization="acme",
        project=project,
        token=moment.to_bytes(2, "big") * 15,
        created=moment,
        owner=owner,
    )[1]


def entries(register: Register, kind: str) -> int:
    return int(register.database.execute("SELECT count(*) FROM audit_entry WHERE kind = ?", (kind,)).fetchone()[0])


def test_the_strongest_part_counts(register: Register, groups: Groups) -> None:
    groups.place("atlas", "staff", "member", act())
    assert register.parts_of("ann") == {"atlas": "member"}
    register.place_person("atlas", "ann", "owner", act())
    assert (register.parts_of("ann"), register.parts_of("bob")) == ({"atlas": "owner"}, {"atlas": "member"})
    groups.create(a_group("leads"), act(), ("bob",))
    groups.place("atlas", "leads", "owner", act())
    groups.place("borea", "leads", "member", act())
    assert register.parts_of("bob") == {"atlas": "owner", "borea": "member"}
    groups.take_out("leads", "bob", act())
    assert register.parts_of("bob") == {"atlas": "member"}
    assert entries(register, "role.assignment.created") == 3


def test_who_loses_his_last_part_loses_his_keys_there(register: Register, groups: Groups, state: SharedState) -> None:
    groups.place("atlas", "staff", "member", act())
    groups.place("borea", "staff", "member", act())
    register.place_person("atlas", "ann", "member", act())
    keys = {name: key(register, *name.split()) for name in ("ann atlas", "ann borea", "bob atlas", "bob borea")}
    ring = KeyRing(state.follow(SECOND))

    def good() -> set[str]:
        return {name for name, secret in keys.items() if ring.find(secret) is not None}

    assert good() == set(keys)
    groups.take_out("staff", "ann", act())
    assert eventually(lambda: good() == {"ann atlas", "bob atlas", "bob borea"})  # in atlas she has a part of her own
    groups.displace("borea", "staff", act())
    assert eventually(lambda: good() == {"ann atlas", "bob atlas"})
    groups.delete("staff", act())
    assert eventually(lambda: good() == {"ann atlas"})
    register.displace_person("atlas", "ann", act())
    assert eventually(lambda: good() == set())
    ring.close()


def test_a_part_of_a_group_outlives_ones_own(register: Register, groups: Groups) -> None:
    groups.place("atlas", "staff", "member", act())
    register.place_person("atlas", "ann", "owner", act())
    key(register, "ann", "atlas")
    register.displace_person("atlas", "ann", act())
    assert len(register.project_keys("atlas")) == 1
    assert register.parts_of("ann") == {"atlas": "member"}


def test_what_a_group_may_not(register: Register, groups: Groups) -> None:
    with pytest.raises(Conflict):
        groups.create(a_group("other", name="STAFF"), act())
    with pytest.raises(InvalidRequest):
        groups.create(a_group("other"), act(), ("nobody",))
    with pytest.raises(NotFound):
        groups.group("other")
    with pytest.raises(NotFound):
        groups.put_in("staff", "nobody", act())
    with pytest.raises(NotFound):
        groups.place("nowhere", "staff", "member", act())
    with pytest.raises(NotFound):
        groups.take_out("staff", "nobody", act())
    before = entries(register, "group.updated")
    groups.put_in("staff", "ann", act())
    groups.change("staff", lambda group, members: (group, members), act())
    assert entries(register, "group.updated") == before, "nothing changed"


def test_groups_are_an_organisations_own(register: Register, groups: Groups, layout: Layout) -> None:
    other = Register(register.database, layout, "other")
    other.create_project("theirs", "theirs", act("other"))
    assert Groups(other).all() == []
    for refused in (
        lambda: Groups(other).group("staff"),
        lambda: Groups(other).place("theirs", "staff", "owner", act("other")),
        lambda: Groups(other).put_in("staff", "ann", act("other")),
        lambda: Groups(other).delete("staff", act("other")),
    ):
        with pytest.raises(NotFound):
            refused()
    Groups(other).create(a_group("staff2", "staff"), act("other"))
    with pytest.raises(InvalidRequest):
        Groups(other).change("staff2", lambda group, members: (group, members | {"ann"}), act("other"))
    with pytest.raises(NotFound):
        Provisioning(other).one("ann")


def test_who_is_removed_is_in_no_group(register: Register, groups: Groups) -> None:
    register.remove_person("ann", act())
    assert [one.id for one in groups.members("staff")] == ["bob"]
    assert groups.of_person("bob") == groups.all()


def test_a_directorys_group_is_changed_there_as_long_as_one_comes(register: Register, groups: Groups) -> None:
    groups.change("staff", lambda group, members: (replace(group, provisioned=3), members), act())
    assert groups.by_hand("staff").provisioned == 3
    register.keys.create(id="key_scim", name="okta", organization="acme", project="", token=bytes(30), created=3, role="provisioner")
    with pytest.raises(Conflict):
        groups.by_hand("staff")
    register.keys.revoke("key_scim", 4)
    assert groups.by_hand("staff").provisioned == 3


def profile(**more: str | bool) -> Profile:
    said = {
        "user_name": "eve@acme.example",
        "external": "00u9",
        "email": "eve@acme.example",
        "name": "Eve",
        "active": True,
        "document": b"{}",
    }
    return Profile(**{**said, **more})  # type: ignore[arg-type]


def enter(register: Register, subject: str, email: str, *, verified: bool = True) -> Person | None:
    return register.enter(
        issuer="i", subject=subject, email=email, name="", verified=verified, role="admin", otherwise="member", id="new", act=act()
    )


def test_whom_a_directory_deactivates_can_do_nothing(register: Register, groups: Groups, state: SharedState) -> None:
    people = Provisioning(register)
    people.create("eve", profile(), act())
    assert enter(register, "eve", "eve@acme.example") is not None
    groups.put_in("staff", "eve", act())
    groups.place("atlas", "staff", "member", act())
    secret = key(register, "eve", "atlas")
    session = SignIn(person="eve", began=5, seen=5, expires=10**6, issuer="i", subject="eve", sid=None, id_token="")
    sign_in(register.database, "cookie", session)
    assert signed_in(register.database, "cookie", 6, 10**6) is not None
    ring = KeyRing(state.follow(SECOND))
    assert ring.find(secret) is not None
    gone = people.change("eve", lambda _: profile(active=False), act())
    assert gone.person.deactivated is not None
    assert eventually(lambda: ring.find(secret) is None)
    assert signed_in(register.database, "cookie", 6, 10**6) is None
    assert enter(register, "eve", "eve@acme.example") is None
    with pytest.raises(NotFound):
        key(register, "eve", "atlas")
    back = people.change("eve", lambda _: profile(), act())
    assert back.person.deactivated is None
    assert ring.find(secret) is None, "a key that is revoked stays so"
    assert enter(register, "eve", "eve@acme.example") is not None
    assert register.parts_of("eve") == {"atlas": "member"}
    assert [one for one in groups.members("staff") if one.id == "eve"]
    ring.close()


def test_who_is_shut_out_while_he_opens_the_page_stays_out(register: Register, groups: Groups) -> None:
    """He was seen to be signed in, and then his directory deactivated him."""
    people = Provisioning(register)
    people.create("eve", profile(), act())
    groups.put_in("staff", "eve", act())
    groups.place("atlas", "staff", "member", act())
    eve = register.person("eve")
    held = register.page_key(eve, 10**6, "key_page", bytes(30), act())
    assert held is not None
    people.change("eve", lambda _: profile(active=False), act())
    assert register.page_key(eve, 10**6, "key_other", bytes(30), act()) is None
    (row,) = register.project_keys("atlas")
    assert row.expires is not None
    assert row.expires < 10**6
    people.change("eve", lambda _: profile(), act())
    back = register.page_key(eve, 10**6, "key_third", bytes(30), act())
    assert back is not None
    assert (back.id, back.expires) == (held.id, 10**6), "his threads are that key's"


@pytest.mark.parametrize(
    ("subject", "email", "verified"),
    [
        ("eve", "else@acme.example", True),
        ("new", "EVE@acme.example", True),
        ("new", "eve@acme.example", False),
        ("00u9", "else@acme.example", True),
    ],
)
def test_whom_a_directory_removes_no_sign_in_brings_back(register: Register, subject: str, email: str, verified: bool) -> None:
    people = Provisioning(register)
    people.create("eve", profile(), act())
    assert enter(register, "eve", "eve@acme.example") is not None
    register.remove_person("eve", act(), for_good=True)
    assert enter(register, subject, email, verified=verified) is None
    assert not people.all(id="eve")
    people.create("eve2", profile(external="00u10"), act())
    found = enter(register, "eve", "eve@acme.example")
    assert found is not None
    assert found.id == "eve2", "he is told of anew"


def test_names_and_addresses_are_ones_own(register: Register) -> None:
    people = Provisioning(register)
    people.create("eve", profile(), act())
    for other in (profile(email="x@acme.example", user_name="EVE@acme.example"), profile(user_name="x", email="Ann@acme.example")):
        with pytest.raises(Conflict):
            people.create("eve2", other, act())
        with pytest.raises(Conflict):
            people.change("bob", lambda _, other=other: other, act())  # type: ignore[misc]
    assert [one.person.id for one in people.all(user_name="ANN@acme.example")] == ["ann"], "known by the address, where by no other name"
    assert [one.person.id for one in people.all(external="00u9")] == ["eve"]
    before = entries(register, "user.updated")
    people.change("eve", lambda _: profile(), act())
    assert entries(register, "user.updated") == before, "nothing changed"


def test_whom_somebody_invites_again_comes_in(register: Register) -> None:
    people = Provisioning(register)
    people.create("eve", profile(active=False), act())
    register.remove_person("eve", act())
    assert enter(register, "eve", "eve@acme.example") is None, "who was deactivated is removed for good, whoever does it"
    invite = Invite(id="invite_1", email="eve@acme.example", role="viewer", projects=(), created=5, expires=10**9)
    register.send_invite(invite, act())
    assert enter(register, "eve", "eve@acme.example", verified=False) is None
    assert enter(register, "eve", "eve@acme.example") is not None
