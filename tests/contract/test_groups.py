"""Groups as OpenAI's own client makes them, over a socket: what they give in projects holds at once."""

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from tests.browser import Browser
from tests.identity import SECRETS, Claims, IdentityServer, oidc
from tests.server import Installation, Running, pool
from tests.vendor import Vendor

BOB: Claims = {"sub": "bob", "email": "bob@example.org", "email_verified": True, "name": "Bob", "groups": ["staff"], "sid": "s1"}


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityServer]:
    with IdentityServer.open() as opened:
        opened.user = BOB
        yield opened


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, provider: IdentityServer) -> Iterator[Running]:
    settings = oidc(provider.issuer, default_role='"member"')
    with Vendor.open() as vendor:
        place = Installation(tmp_path_factory.mktemp("groups"), pool("vendor", vendor.url, "answers") + settings, SECRETS)
        with place.serving() as running:
            yield running


@pytest.fixture
def admin(running: Running) -> Iterator[Any]:
    with openai.OpenAI(base_url=running.base_url, admin_api_key=running.key, api_key="none", max_retries=0) as client:
        yield client.admin.organization


@pytest.fixture
def bob(running: Running) -> Browser:
    """Signed in, as a member."""
    browser = Browser(running)
    browser.sign_in()
    return browser


def test_a_group_is_made_renamed_listed_and_deleted(admin: Any) -> None:
    made = admin.groups.create(name="Search")
    assert (made.name, made.is_scim_managed, made.group_type) == ("Search", False, "group")
    assert admin.groups.retrieve(made.id) == made
    assert admin.groups.update(made.id, name="Search II").name == "Search II"
    with pytest.raises(openai.ConflictError):
        admin.groups.create(name="search ii")
    others = [admin.groups.create(name=f"Other {number}").id for number in range(3)]
    first = admin.groups.list(limit=2)
    assert (len(first.data), first.has_more, first.next) == (2, True, first.data[-1].id)
    assert [one.id for one in admin.groups.list(limit=2)][-4:] == [made.id, *others], "the client follows the cursors"
    assert admin.groups.delete(made.id).object == "group.deleted"
    with pytest.raises(openai.NotFoundError):
        admin.groups.retrieve(made.id)
    for other in others:
        admin.groups.delete(other)


def test_what_a_group_has_in_a_project_its_members_have(running: Running, admin: Any, bob: Browser) -> None:
    id = bob.me()["id"]
    project, group = admin.projects.create(name="atlas").id, admin.groups.create(name="atlas").id
    at = f"/v1/organization/projects/{project}"
    assert bob.ask("GET", at)[0] == 403
    assert admin.groups.users.create(group, user_id=id).user_id == id
    given = admin.projects.groups.create(project, group_id=group, role="member")
    assert (given.group_id, given.group_name, given.project_id) == (group, "atlas", project)
    assert bob.ask("GET", at)[0] == 200
    assert bob.ask("POST", f"{at}/api_keys", {"name": "own"})[0] == 200
    assert bob.ask("POST", f"{at}/service_accounts", {"name": "robot"})[0] == 403, "that is for owners"
    assigned = admin.projects.groups.roles.create(group, project_id=project, role_id="owner")
    assert (assigned.role.id, assigned.group.id, assigned.role.resource_type) == ("owner", group, "api.project")
    assert bob.ask("POST", f"{at}/service_accounts", {"name": "robot"})[0] == 200
    assert [one.id for one in admin.projects.groups.roles.list(group, project_id=project)] == ["owner"]
    assert admin.projects.groups.roles.retrieve("owner", project_id=project, group_id=group).predefined_role
    with pytest.raises(openai.NotFoundError):
        admin.projects.groups.roles.delete("member", project_id=project, group_id=group)
    assert [(one.name, one.email) for one in admin.groups.users.list(group)] == [("Bob", "bob@example.org")]
    assert admin.groups.users.retrieve(id, group_id=group).user_type == "user"
    keys = [one for one in admin.projects.api_keys.list(project) if one.name == "own"]
    assert len(keys) == 1
    assert admin.groups.users.delete(id, group_id=group).deleted
    assert bob.ask("GET", at)[0] == 403
    assert [one for one in admin.projects.api_keys.list(project) if one.name == "own"] == [], "they went with the part"
    assert [one.group_id for one in admin.projects.groups.list(project)] == [group]
    assert admin.projects.groups.retrieve(group, project_id=project).role == "owner"
    assert admin.projects.groups.delete(group, project_id=project).deleted
    assert list(admin.projects.groups.list(project)) == []
    assert [one.id for one in admin.projects.roles.list(project)] == ["owner", "member"]


def test_who_is_let_in_by_a_group_has_the_page(admin: Any, bob: Browser) -> None:
    project, group = admin.projects.create(name="page").id, admin.groups.create(name="page").id
    admin.groups.users.create(group, user_id=bob.me()["id"])
    assert bob.sign_in("/")[1] == "/", "no project has him"
    admin.projects.groups.create(project, group_id=group, role="member")
    assert bob.sign_in("/")[1].startswith("/#/in/")
    admin.groups.delete(group)


def test_every_change_of_a_group_is_in_the_audit_log(admin: Any, bob: Browser) -> None:
    id, project = bob.me()["id"], admin.projects.create(name="told").id
    group = admin.groups.create(name="told").id
    admin.groups.update(group, name="told anew")
    admin.groups.users.create(group, user_id=id)
    admin.projects.groups.create(project, group_id=group, role="owner")
    admin.projects.groups.delete(group, project_id=project)
    admin.groups.delete(group)
    told = {one.type: one for one in admin.audit_logs.list(resource_ids=[group, f"{group}/{project}"])}
    assert told.keys() == {"group.created", "group.updated", "group.deleted", "role.assignment.created", "role.assignment.deleted"}
    assert told["group.created"].group_created.data.group_name == "told"
    assert told["role.assignment.created"].role_assignment_created.principal_id == group
    renamed = [one.group_updated.changes_requested for one in admin.audit_logs.list(event_types=["group.updated"], resource_ids=[group])]
    assert [one.group_name for one in renamed] == [None, "told anew"]


def test_an_organisation_sees_no_group_of_another(running: Running, admin: Any) -> None:
    group = admin.groups.create(name="ours").id
    there = {"OpenAI-Organization": "other"}
    assert list(admin.groups.list(extra_headers=there)) == []
    refusals: tuple[Callable[[], object], ...] = (
        lambda: admin.groups.retrieve(group, extra_headers=there),
        lambda: admin.groups.update(group, name="theirs", extra_headers=there),
        lambda: admin.groups.delete(group, extra_headers=there),
        lambda: admin.groups.users.list(group, extra_headers=there),
    )
    for refused in refusals:
        with pytest.raises(openai.NotFoundError):
            refused()
    admin.groups.delete(group)
