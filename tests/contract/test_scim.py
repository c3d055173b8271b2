"""A directory keeps people and groups by SCIM, over a socket, on either kind of database: with the bodies that Entra ID and Okta send.

What the two send is told in their own documentation: Microsoft's "Develop and plan provisioning for a SCIM endpoint" and its page on known
issues with SCIM compliance, Okta's "SCIM 2.0 reference".
"""

import http.client
import json
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from tests.browser import Browser
from tests.identity import SECRETS, IdentityServer, oidc
from tests.others import need_others, run
from tests.postgres import postgres
from tests.server import Installation, Running, eventually, pool
from tests.vendor import Vendor

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityServer]:
    with IdentityServer.open() as opened:
        yield opened


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, provider: IdentityServer) -> Iterator[Installation]:
    settings = oidc(provider.issuer, roles='{ "admins" = "admin" }', default_role='"member"')
    folder = tmp_path_factory.mktemp("scim")
    with Vendor.open() as vendor:
        settings = pool("vendor", vendor.url, "answers") + settings
        if request.param == "sqlite":
            yield Installation(folder, settings, SECRETS)
            return
        with postgres() as cluster:
            settings += f'[storage]\nurl = "{cluster.url}"\n[files]\nurl = "file://{folder}/files"\n'
            yield Installation(folder, settings, SECRETS)


@pytest.fixture(scope="module")
def running(place: Installation) -> Iterator[Running]:
    with place.serving() as running:
        yield running


class Directory:
    """Asks as a directory does: status, what was answered, and the ETag."""

    def __init__(self, running: Running, key: str | None) -> None:
        self._running, self._key, self.etag = running, key, ""

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        line = http.client.HTTPConnection("127.0.0.1", self._running.port, timeout=20)
        sent = {
            "content-type": "application/scim+json; charset=utf-8",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        if self._key is not None:
            sent["authorization"] = f"Bearer {self._key}"
        line.request(method, f"/scim/v2{path}", None if body is None else json.dumps(body), sent)
        answer = line.getresponse()
        said = answer.read()
        self.etag = answer.headers.get("etag") or ""
        if said:
            assert answer.headers["content-type"] == "application/scim+json"
        line.close()
        return answer.status, json.loads(said) if said else None

    def found(self, path: str, filter: str, **more: str) -> list[str]:
        """The ids of what a filter finds."""
        status, listed = self.ask("GET", f"{path}?{urllib.parse.urlencode({'filter': filter, **more})}")
        assert (status, listed["schemas"]) == (200, [LIST]), listed
        assert listed["totalResults"] >= len(listed["Resources"]) == listed["itemsPerPage"]
        return [one["id"] for one in listed["Resources"]]

    def patch(self, path: str, *operations: dict[str, Any]) -> Any:
        status, said = self.ask("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)})
        assert status == 200, said
        return said


def provisioner(running: Running, place: Installation, name: str, organization: str) -> str:
    """A key for a directory, made at the terminal while a server runs, which hears of it."""
    key = place.run("keys", "create", name, "--organization", organization, "--role", "provisioner").stdout.strip()
    assert eventually(lambda: Directory(running, key).ask("GET", "/Users?count=0")[0] == 200)
    return key


@pytest.fixture(scope="module")
def key(running: Running, place: Installation) -> str:
    return provisioner(running, place, "directory", "default")


@pytest.fixture
def directory(running: Running, key: str) -> Directory:
    return Directory(running, key)


@pytest.fixture
def admin(running: Running) -> Iterator[Any]:
    with openai.OpenAI(base_url=running.base_url, admin_api_key=running.key, api_key="none", max_retries=0) as client:
        yield client.admin.organization


def entra(name: str) -> dict[str, Any]:
    """A user as Entra ID makes one, by its own mappings."""
    return {
        "schemas": [USER, ENTERPRISE],
        "externalId": f"0a21f0f2-{name}",
        "userName": f"{name}@example.org",
        "active": True,
        "displayName": name.title(),
        "emails": [{"primary": True, "type": "work", "value": f"{name}@example.org"}],
        "meta": {"resourceType": "User"},
        "name": {"formatted": f"{name.title()} Archer", "familyName": "Archer", "givenName": name.title()},
        "roles": [],
        ENTERPRISE: {"department": "Sales"},
    }


def made(directory: Directory, path: str, body: dict[str, Any]) -> str:
    status, said = directory.ask("POST", path, body)
    assert status == 201, said
    assert said["meta"]["location"].endswith(f"/scim/v2{path}/{said['id']}")
    return str(said["id"])


def test_nobody_comes_in_without_a_key_of_that_role(running: Running) -> None:
    status, said = Directory(running, None).ask("GET", "/Users")
    assert (status, said["schemas"], said["status"]) == (401, [ERROR], "401")
    assert Directory(running, running.key).ask("GET", "/Users")[0] == 403, "not an owner's"


def test_a_key_is_made_by_the_api_too_and_revoked(running: Running, admin: Any) -> None:
    made = admin.admin_api_keys.create(name="second", extra_body={"role": "provisioner"})
    second = Directory(running, made.value)
    assert second.ask("GET", "/Users?count=1")[0] == 200
    with (
        openai.OpenAI(base_url=running.base_url, admin_api_key=made.value, api_key="none", max_retries=0) as client,
        pytest.raises(openai.PermissionDeniedError),
    ):
        client.admin.organization.users.list()
    assert admin.admin_api_keys.delete(made.id).deleted
    assert second.ask("GET", "/Users?count=1")[0] == 401
    told = {one.type for one in admin.audit_logs.list(resource_ids=[made.id])}
    assert told == {"api_key.created", "api_key.deleted"}


def test_entra_id_keeps_a_user(directory: Directory, admin: Any) -> None:
    assert directory.found("/Users", 'userName eq "ulrich@example.org"') == []
    id = made(directory, "/Users", entra("ulrich"))
    assert directory.found("/Users", 'userName eq "ULRICH@example.org"') == [id]
    assert directory.found("/Users", 'externalId eq "0a21f0f2-ulrich"') == [id]
    assert directory.found("/Users", 'emails[type eq "work"].value eq "ulrich@example.org"') == [id]
    status, said = directory.ask("POST", "/Users", entra("ulrich"))
    assert (status, said["scimType"]) == (409, "uniqueness")
    changed = directory.patch(
        f"/Users/{id}",
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "u.archer@example.org"},
        {"op": "Add", "path": "displayName", "value": "U. Archer"},
        {"op": "Add", "path": f"{ENTERPRISE}:department", "value": "Research"},
        {"op": "Remove", "path": 'phoneNumbers[type eq "mobile"].value'},
        {"op": "Replace", "path": "name.familyName", "value": "Bowman"},
    )
    assert (changed["displayName"], changed["name"]["familyName"], changed["active"]) == ("U. Archer", "Bowman", True)
    assert [(one.name, one.role) for one in admin.users.list(emails=["u.archer@example.org"])] == [("U. Archer", "member")]
    assert directory.patch(f"/Users/{id}", {"op": "Replace", "path": "active", "value": "False"})["active"] is False
    assert not admin.users.retrieve(id).user.enabled
    status, listed = directory.ask("GET", "/Users?filter=" + urllib.parse.quote('userName eq "ulrich@example.org"'))
    assert listed["Resources"][0]["active"] is False, "it is still there"
    assert directory.ask("DELETE", f"/Users/{id}") == (204, None)
    assert directory.ask("GET", f"/Users/{id}")[0] == 404
    told = [(one.type, one.actor.api_key.name) for one in admin.audit_logs.list(resource_ids=[id])]
    assert told[::-1] == [("user.added", "directory"), *[("user.updated", "directory")] * 2, ("user.deleted", "directory")]


def test_okta_keeps_a_user(directory: Directory) -> None:
    body = {
        "schemas": [USER],
        "userName": "olga@example.org",
        "name": {"givenName": "Olga", "familyName": "Okta"},
        "emails": [{"primary": True, "value": "olga@example.org", "type": "work"}],
        "displayName": "Olga Okta",
        "locale": "en-US",
        "externalId": "00ujl29u0le5T6Aj10h7",
        "groups": [],
        "password": "1mz050nq",
        "active": True,
    }
    status, listed = directory.ask("GET", "/Users?filter=userName%20eq%20%22olga%40example.org%22&startIndex=1&count=100")
    assert (status, listed["totalResults"], listed["Resources"]) == (200, 0, [])
    status, said = directory.ask("POST", "/Users", body)
    assert (status, "password" in said) == (201, False)
    id = said["id"]
    status, said = directory.ask(
        "PUT", f"/Users/{id}", {**said, "name": {"givenName": "Olga", "familyName": "Ohm"}, "displayName": "Olga Ohm"}
    )
    assert (status, said["name"]["familyName"], said["externalId"]) == (200, "Ohm", "00ujl29u0le5T6Aj10h7")
    assert directory.patch(f"/Users/{id}", {"op": "replace", "value": {"active": False}})["active"] is False
    left = {name: value for name, value in said.items() if name != "active"}
    assert directory.ask("PUT", f"/Users/{id}", left)[1]["active"] is False, "nobody is let in again by what is not said"
    assert directory.patch(f"/Users/{id}", {"op": "replace", "value": {"active": True}})["active"] is True


def test_entra_id_keeps_a_group(directory: Directory, admin: Any) -> None:
    people = [made(directory, "/Users", entra(name)) for name in ("gustav", "greta", "gerd")]
    group = made(
        directory,
        "/Groups",
        {
            "schemas": [GROUP, "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
            "externalId": "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159",
            "displayName": "Gardeners",
            "members": [],
            "meta": {"resourceType": "Group"},
        },
    )
    at = f"/Groups/{group}"
    assert directory.found("/Groups", 'displayName eq "gardeners"', excludedAttributes="members") == [group]
    assert "members" not in directory.ask("GET", f"{at}?excludedAttributes=members")[1]

    def members() -> set[str]:
        return {one["value"] for one in directory.ask("GET", at)[1]["members"]}

    directory.patch(at, {"op": "Add", "path": "members", "value": [{"$ref": None, "value": one} for one in people]})
    assert members() == set(people)
    assert directory.found("/Groups", f'id eq "{group}" and members eq "{people[0]}"') == [group]
    assert directory.found("/Groups", f'id eq "{group}" and members eq "user_nobody"') == []
    directory.patch(at, {"op": "Remove", "path": "members", "value": [{"$ref": None, "value": people[0]}]})
    directory.patch(at, {"op": "Remove", "path": f'members[value eq "{people[1]}"]'})
    assert members() == {people[2]}
    assert [one["display"] for one in directory.ask("GET", f"/Users/{people[2]}")[1]["groups"]] == ["Gardeners"]
    directory.patch(at, {"op": "Replace", "path": "displayName", "value": "Growers"})
    assert admin.groups.retrieve(group).is_scim_managed
    refusals: tuple[Callable[[], object], ...] = (
        lambda: admin.groups.update(group, name="mine"),
        lambda: admin.groups.delete(group),
        lambda: admin.groups.users.create(group, user_id=people[0]),
        lambda: admin.groups.users.delete(people[2], group_id=group),
    )
    for refused in refusals:
        with pytest.raises(openai.ConflictError):
            refused()
    status, said = directory.ask(
        "PATCH", at, {"schemas": [PATCH], "Operations": [{"op": "Add", "path": "members", "value": [{"value": "user_nobody"}]}]}
    )
    assert (status, said["scimType"]) == (400, "invalidValue")
    assert directory.ask("DELETE", at)[0] == 204
    assert directory.ask("DELETE", at)[0] == 404


def test_okta_pushes_a_group(directory: Directory) -> None:
    people = [made(directory, "/Users", entra(name)) for name in ("paul", "petra")]
    status, said = directory.ask(
        "POST", "/Groups", {"schemas": [GROUP], "displayName": "Pushed", "members": [{"value": people[0], "display": "p"}]}
    )
    assert status == 201
    at = f"/Groups/{said['id']}"
    renamed = directory.patch(at, {"op": "replace", "value": {"id": said["id"], "displayName": "Pushed anew"}})
    assert (renamed["displayName"], len(renamed["members"])) == ("Pushed anew", 1)
    moved = directory.patch(
        at,
        {"op": "remove", "path": f'members[value eq "{people[0]}"]'},
        {"op": "add", "path": "members", "value": [{"value": people[1], "display": "petra@example.org"}]},
    )
    assert [one["value"] for one in moved["members"]] == [people[1]]
    replaced = directory.patch(at, {"op": "replace", "path": "members", "value": [{"value": one} for one in people]})
    assert len(replaced["members"]) == 2


@pytest.mark.parametrize("how", ["deactivated", "deleted"])
def test_who_leaves_can_do_nothing_at_once_and_no_sign_in_brings_him_back(
    running: Running, provider: IdentityServer, directory: Directory, admin: Any, how: str
) -> None:
    name = f"{how}-eve"
    id = made(directory, "/Users", entra(name))
    provider.user = {"sub": name, "email": f"{name}@example.org", "email_verified": True, "name": "Eve", "groups": ["admins"], "sid": how}
    project, group = admin.projects.create(name=name).id, made(directory, "/Groups", {"displayName": name, "members": [{"value": id}]})
    admin.projects.groups.create(project, group_id=group, role="member")
    browser = Browser(running)

    def on_the_page() -> str:
        """The key that stands for him there."""
        _, there, _ = browser.sign_in("/")
        status, _, said = browser.ask("POST", "/workspace/api/session", {"link": there.rpartition("/")[2]})
        assert status == 200, there
        return str(json.loads(said)["key"])

    page = on_the_page()
    assert browser.ask("GET", "/workspace/api/session")[0] == 200
    assert (browser.me()["id"], browser.me()["role"]) == (id, "admin")
    status, _, said = browser.ask("POST", f"/v1/organization/projects/{project}/api_keys", {"name": "own"})
    assert status == 200
    secret = json.loads(said)["value"]
    with openai.OpenAI(base_url=running.base_url, api_key=secret, max_retries=0) as asking:
        assert asking.models.list().data
        assert asking.chat.completions.create(model="answers", messages=[{"role": "user", "content": "hi"}]).choices
        if how == "deleted":
            assert directory.ask("DELETE", f"/Users/{id}")[0] == 204
        else:
            directory.patch(f"/Users/{id}", {"op": "Replace", "path": "active", "value": "False"})
        with pytest.raises(openai.AuthenticationError):
            asking.chat.completions.create(model="answers", messages=[{"role": "user", "content": "hi"}])
    assert browser.me() == {"status": 401}
    assert browser.ask("GET", "/workspace/api/session")[0] == 401
    before = dict(browser.cookies)
    assert browser.sign_in()[0] == 403, "whatever the claims say"
    assert Browser(running).sign_in()[0] == 403
    if how == "deleted":
        id = made(directory, "/Users", entra(name))
    else:
        directory.patch(f"/Users/{id}", {"op": "Replace", "path": "active", "value": "True"})
    assert (on_the_page() == page) is (how == "deactivated"), "his threads are his again"
    assert browser.me()["id"] == id
    browser.cookies = before
    assert browser.ask("GET", "/workspace/api/session")[0] == 401, "what ended stays so"
    with openai.OpenAI(base_url=running.base_url, api_key=secret, max_retries=0) as asking, pytest.raises(openai.AuthenticationError):
        asking.models.list()


def test_who_is_here_already_is_taken_over(running: Running, provider: IdentityServer, directory: Directory) -> None:
    provider.user = {"sub": "ida", "email": "ida@example.org", "email_verified": True, "name": "Ida", "groups": [], "sid": "ida"}
    browser = Browser(running)
    browser.sign_in()
    id = browser.me()["id"]
    assert directory.found("/Users", 'userName eq "ida@example.org"') == [id]
    linked = directory.patch(f"/Users/{id}", {"op": "Add", "path": "externalId", "value": "ext-ida"})
    assert (linked["externalId"], linked["displayName"]) == ("ext-ida", "Ida")
    assert browser.me()["id"] == id


def test_pages_and_versions(directory: Directory) -> None:
    ids = [made(directory, "/Users", entra(f"page{number}")) for number in range(5)]
    asked = urllib.parse.urlencode({"filter": 'userName sw "page"', "startIndex": 2, "count": 2})
    status, page = directory.ask("GET", f"/Users?{asked}&attributes=userName")
    assert (status, page["totalResults"], page["startIndex"], page["itemsPerPage"]) == (200, 5, 2, 2)
    assert page["Resources"] == [
        {"schemas": [USER], "id": id, "userName": f"page{at}@example.org"} for at, id in enumerate(ids) if at in (1, 2)
    ]
    assert directory.ask("GET", "/Users?count=0")[1]["Resources"] == []
    at = f"/Users/{ids[0]}"
    _, said = directory.ask("GET", at)
    first = directory.etag
    assert first == said["meta"]["version"]
    assert directory.ask("GET", at, if_none_match=first)[0] == 304
    said["displayName"] = "Another"
    assert directory.ask("PUT", at, said, if_match=first)[0] == 200
    status, refused = directory.ask("PUT", at, said, if_match=first)
    assert (status, refused["schemas"]) == (412, [ERROR])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("GET", "/Users?filter=userName", None, 400, "invalidFilter"),
        ("GET", "/Users?count=many", None, 400, "invalidValue"),
        ("POST", "/Users", {"userName": ""}, 400, "invalidValue"),
        ("POST", "/Users", [], 400, "invalidSyntax"),
        ("POST", "/Groups", {"displayName": "x", "members": "y"}, 400, "invalidValue"),
        ("GET", "/Users/user_nobody", None, 404, None),
        ("PATCH", "/Users/user_nobody", {"Operations": [{"op": "add", "value": {}}]}, 404, None),
        ("DELETE", "/Groups/group_nobody", None, 404, None),
        ("GET", "/Nothing", None, 404, None),
        ("PUT", "/Users", {}, 405, None),
        ("POST", "/Bulk", {}, 404, None),
    ],
)
def test_what_is_refused_is_told_in_scims_form(
    directory: Directory, method: str, path: str, body: Any, status: int, kind: str | None
) -> None:
    found, said = directory.ask(method, path, body)
    assert (found, said["status"], said["schemas"], said.get("scimType")) == (status, str(status), [ERROR], kind), said


def test_a_directory_sees_its_own_organisation(running: Running, place: Installation, directory: Directory) -> None:
    other = Directory(running, provisioner(running, place, "theirs", "acme"))
    id = made(directory, "/Users", entra("lone"))
    assert other.ask("GET", "/Users")[1]["totalResults"] == 0
    for method in ("GET", "DELETE"):
        assert other.ask(method, f"/Users/{id}")[0] == 404
    theirs = made(other, "/Users", entra("lone"))
    assert other.ask("GET", "/Users")[1]["totalResults"] == 1
    assert other.ask("POST", "/Groups", {"displayName": "g", "members": [{"value": id}]})[0] == 400
    assert other.ask("GET", "/Users", openai_organization="default")[0] == 403
    assert directory.ask("GET", f"/Users/{theirs}")[0] == 404


def test_a_tester_of_others_finds_nothing_wrong(running: Running, key: str) -> None:
    need_others()
    found = json.loads(run(running, "python", "scim_suite.py", f"{running.url}/scim/v2", key))
    wrong = [one for one in found if one["status"] not in ("SUCCESS", "COMPLIANT", "ACCEPTABLE", "SKIPPED")]
    assert [(one["title"], one["of"], "'active'" in one["why"]) for one in wrong] == [("check_remove_attribute", "User", True)], (
        "whether somebody may do anything is never unsaid"
    )
    assert sum(one["status"] == "SUCCESS" for one in found) > 60
