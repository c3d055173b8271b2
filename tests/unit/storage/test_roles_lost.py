"""Who loses a role loses what he could do by it also through keys that he made while he had it."""

import pytest

from headrace.core.clock import SECOND
from headrace.core.errors import NotFound
from headrace.core.roles import Role
from headrace.storage import Act, Author, Database, KeyRing, Layout, Person, Register, ServiceAccount, SharedState
from tests.server import eventually

ACT = Act(id="audit_1", moment=10, organization="acme", author=Author(origin="command", id="root"))


@pytest.fixture
def register(shared: Database, layout: Layout) -> Register:
    register = Register(shared, layout, "acme")
    register.add_person(Person(id="user_1", organization="acme", email="ann@acme.example", name="Ann", role="owner", added=1), act("a"))
    return register


def act(id: str) -> Act:
    return Act(id=f"audit_{id}", moment=10, organization="acme", author=ACT.author)


def secrets_of(register: Register) -> dict[Role, str]:
    """Of a key of hers for each of these roles."""
    roles: tuple[Role, ...] = ("owner", "admin", "viewer")
    made: dict[Role, str] = {}
    for number, role in enumerate(roles):
        _, made[role] = register.keys.create(
            id=f"key_{role}", name=role, organization="acme", project="", token=bytes([number]) * 30, created=2, owner="user_1", role=role
        )
    return made


@pytest.mark.parametrize(
    ("role", "kept"),
    [("owner", {"owner", "admin", "viewer"}), ("admin", {"admin", "viewer"}), ("viewer", {"viewer"}), ("member", set())],
)
@pytest.mark.parametrize("how", ["changed", "entered"])
def test_keys_that_may_more_than_their_owner_end(register: Register, state: SharedState, role: Role, kept: set[str], how: str) -> None:
    secrets = secrets_of(register)
    ring = KeyRing(state.follow(SECOND))
    assert all(ring.find(secret) for secret in secrets.values())
    if how == "changed":
        register.change_role("user_1", role, act("b"))
    else:
        entered = register.enter(
            issuer="i", subject="s", email="ann@acme.example", name="", verified=True, role=role, otherwise=None, id="user_2", act=act("b")
        )
        assert entered is not None
        assert entered.role == role
    assert eventually(lambda: {name for name, secret in secrets.items() if ring.find(secret)} == kept)
    ring.close()


def test_a_key_has_an_owner_that_is_there(register: Register) -> None:
    """Who is removed while his key is being made leaves none behind."""
    robot = ServiceAccount(id="user_robot", project="p", name="robot", role="member", created=1)
    register.create_project("p", "p", act("p"))
    register.create_service_account(robot, act("r"))

    def make(number: int, owner: str) -> None:
        register.keys.create(
            id=f"key_{number}", name="k", organization="acme", project="p", token=bytes([number]) * 30, created=2, owner=owner
        )

    make(1, "user_robot")
    register.delete_service_account("p", "user_robot", act("d"))
    register.remove_person("user_1", act("e"))
    for number, owner in enumerate(("user_robot", "user_1", "user_none"), 2):
        with pytest.raises(NotFound, match=owner):
            make(number, owner)
    assert not register.project_keys("p")
