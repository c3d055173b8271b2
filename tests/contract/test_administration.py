"""The administration of an organisation as OpenAI's own client does it, over a socket: and what it changes holds at once."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.server import Installation, Running, pool
from tests.vendor import Vendor
from tests.visitor import API, Visitor

FIXED_KEY = "sk-hr-0123456789012345678901234567890123"
ONCE = {"idempotency-key": "once"}
SETTINGS = """
[[key]]
name = "fixed"
secret_env = "FIXED_KEY"
project = "from-the-settings"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Vendor.open() as vendor:
        settings = pool("vendor", vendor.url, "answers", "embeds") + SETTINGS
        yield Installation(tmp_path_factory.mktemp("administration"), settings, {"FIXED_KEY": FIXED_KEY})


@pytest.fixture(scope="module")
def running(place: Installation) -> Iterator[Running]:
    with place.serving() as running:
        yield running


OPENED: list[openai.OpenAI] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Every client of a test is closed at its end."""
    yield
    while OPENED:
        OPENED.pop().close()


def client(running: Running, key: str | None = None) -> openai.OpenAI:
    """Administers with `key`, else with the development key."""
    OPENED.append(openai.OpenAI(base_url=running.base_url, admin_api_key=key or running.key, api_key=key or running.key, max_retries=0))
    return OPENED[-1]


@pytest.fixture
def organization(running: Running) -> Any:
    return client(running).admin.organization


def say(running: Running, key: str, model: str = "answers") -> str | None:
    with client(running, key) as asking:
        return asking.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}]).choices[0].message.content


def test_projects(running, organization):
    made = organization.projects.create(name="Atlas")
    assert (made.object, made.name, made.status, made.archived_at) == ("organization.project", "Atlas", "active", None)
    assert organization.projects.retrieve(made.id) == made
    assert organization.projects.update(made.id, name="Atlas II").name == "Atlas II"
    names = {one.id: one.name for one in organization.projects.list()}
    assert names[made.id] == "Atlas II"
    assert names["default"] == "default", "a project is there as soon as a key carries its name"
    with pytest.raises(openai.NotFoundError):
        organization.projects.retrieve("proj_nobody")


def test_lists_have_pages(organization):
    ids = [organization.projects.create(name=f"page {number}").id for number in range(5)]
    first = organization.projects.list(limit=2)
    assert (len(first.data), first.has_more, first.last_id) == (2, True, first.data[-1].id)
    found = [one.id for one in organization.projects.list(limit=2)]  # the client follows the cursors
    assert found[-5:] == ids
    assert len(found) == len(set(found))


def test_a_service_accounts_key_works_until_the_account_is_deleted(running, organization):
    project = organization.projects.create(name="accounts").id
    account = organization.projects.service_accounts.create(project, name="deploy")
    secret = account.api_key.value
    assert say(running, secret)
    second = organization.projects.service_accounts.api_keys.create(account.id, project_id=project, name="second")
    assert say(running, second.value)
    assert organization.projects.service_accounts.update(account.id, project_id=project, name="ship").name == "ship"
    assert [one.name for one in organization.projects.service_accounts.list(project)] == ["ship"]
    keys = {one.id: one for one in organization.projects.api_keys.list(project)}
    assert keys.keys() == {account.api_key.id, second.id}
    assert keys[second.id].owner.service_account.id == account.id
    assert organization.projects.api_keys.delete(second.id, project_id=project).deleted
    with pytest.raises(openai.AuthenticationError):
        say(running, second.value)
    assert say(running, secret), "the other one is still good"
    assert organization.projects.service_accounts.delete(account.id, project_id=project).deleted
    with pytest.raises(openai.AuthenticationError):
        say(running, secret)
    assert list(organization.projects.api_keys.list(project)) == []


def test_an_archived_project_refuses_its_keys_at_once(running, organization):
    project = organization.projects.create(name="to be archived").id
    secret = organization.projects.service_accounts.create(project, name="robot").api_key.value
    child = client(running, secret).post("/keys", cast_to=object, body={"name": "child"})
    assert isinstance(child, dict)
    assert say(running, secret)
    assert say(running, child["secret"])
    archived = organization.projects.archive(project)
    assert archived.status == "archived"
    for key in (secret, child["secret"]):
        with pytest.raises(openai.AuthenticationError):
            say(running, key)
    assert project not in {one.id for one in organization.projects.list()}
    assert project in {one.id for one in organization.projects.list(include_archived=True)}
    with pytest.raises(openai.ConflictError):
        organization.projects.update(project, name="back again")
    with pytest.raises(openai.ConflictError):
        organization.projects.service_accounts.create(project, name="late")


def test_nobody_locks_himself_out_for_good(running, organization):
    with pytest.raises(openai.ConflictError, match="would end with it"):
        organization.projects.archive("default")
    assert say(running, running.key)


def test_a_project_of_the_settings_is_ended_there(running, organization):
    with pytest.raises(openai.ConflictError, match=r"headrace\.toml"):
        organization.projects.archive("from-the-settings")
    assert say(running, FIXED_KEY)


def test_a_project_may_ask_for_some_models_only(running, organization):
    project = organization.projects.create(name="narrow").id
    secret = organization.projects.service_accounts.create(project, name="robot").api_key.value
    with client(running, secret) as asking:
        minted: Any = asking.post("/keys", cast_to=object, body={"name": "child"})
    child = minted["secret"]
    permissions = organization.projects.model_permissions
    with pytest.raises(openai.NotFoundError):
        permissions.retrieve(project)
    assert say(running, secret)
    made = permissions.update(project, mode="deny_list", model_ids=["answers"])
    assert (made.object, made.mode, made.api_model_ids) == ("project.model_permissions", "deny_list", ["answers"])
    for key in (secret, child):
        with pytest.raises(openai.NotFoundError, match="answers"):
            say(running, key)
    assert say(running, running.key), "another project"
    permissions.update(project, mode="allow_list", model_ids=["answers"])
    assert permissions.retrieve(project).mode == "allow_list"
    assert say(running, child)
    with client(running, secret) as asking, pytest.raises(openai.NotFoundError):
        asking.embeddings.create(model="embeds", input="x")
    with pytest.raises(openai.BadRequestError, match="no model 'answer'"):
        permissions.update(project, mode="deny_list", model_ids=["answer"])
    assert permissions.delete(project).deleted
    assert say(running, secret)
    whole = {"mode": "allow_list", "model_ids": ["embeds"]}
    with client(running) as administering:
        administering.post("/organization/model_permissions", cast_to=object, body=whole)
        try:
            for key in (secret, FIXED_KEY):
                with pytest.raises(openai.NotFoundError):
                    say(running, key)
        finally:
            administering.delete("/organization/model_permissions", cast_to=object)
    assert say(running, FIXED_KEY)
    kinds = [one.type for one in organization.audit_logs.list(project_ids=[project])]
    assert {"model_permissions.updated", "model_permissions.deleted"} <= set(kinds)


def test_a_rate_limit_that_is_set_holds(running, organization):
    project = organization.projects.create(name="limited").id
    secret = organization.projects.service_accounts.create(project, name="robot").api_key.value
    before = {one.model: one for one in organization.projects.rate_limits.list_rate_limits(project)}
    assert before["answers"].max_requests_per_1_minute == 60_000
    changed = organization.projects.rate_limits.update_rate_limit(
        "rl-answers", project_id=project, max_requests_per_1_minute=2, max_tokens_per_1_minute=10**6
    )
    assert (changed.model, changed.max_requests_per_1_minute, changed.max_tokens_per_1_minute) == ("answers", 2, 10**6)
    assert say(running, secret)
    assert say(running, secret)
    with pytest.raises(openai.RateLimitError, match=f"project:default/{project}/answers"):
        say(running, secret)
    other = organization.projects.service_accounts.create(project, name="another").api_key.value
    with pytest.raises(openai.RateLimitError):
        say(running, other)
    assert say(running, running.key), "another project has its own"
    client(running).delete(f"/organization/projects/{project}/rate_limits/rl-answers", cast_to=object)
    assert say(running, secret)
    with pytest.raises(openai.NotFoundError):
        organization.projects.rate_limits.update_rate_limit("rl-nothing", project_id=project, max_requests_per_1_minute=1)
    with pytest.raises(openai.BadRequestError):
        organization.projects.rate_limits.update_rate_limit("rl-answers", project_id=project, max_images_per_1_minute=1)


def test_a_key_can_be_given_an_end(running, organization):
    project = organization.projects.create(name="ending").id
    account = organization.projects.service_accounts.create(project, name="robot", expires_in_seconds=3600)
    assert account.api_key.expires_at is not None
    changed = organization.projects.api_keys.update(account.api_key.id, project_id=project, expires_in_seconds=7200)
    assert changed.expires_at - account.api_key.expires_at >= 3600
    assert say(running, account.api_key.value)
    with pytest.raises(openai.BadRequestError) as refused:
        organization.projects.api_keys.update(account.api_key.id, project_id=project, scopes=["api.all.read"])
    assert refused.value.param == "scopes"


def test_a_secret_is_told_once_also_under_an_idempotency_key(running, organization):
    with client(running) as asking:

        def make() -> Any:
            return asking.post("/organization/admin_api_keys", cast_to=object, body={"name": "once"}, options={"headers": ONCE})

        secret = make()["value"]
        with pytest.raises(openai.ConflictError, match="told once"):
            make()
    assert [one.name for one in organization.admin_api_keys.list()].count("once") == 1
    assert all(secret.encode() not in path.read_bytes() for path in (running.folder / ".headrace").rglob("*") if path.is_file())


def test_admin_keys_administer_and_do_nothing_else(running, organization):
    made = organization.admin_api_keys.create(name="ci")
    theirs = client(running, made.value).admin.organization
    assert theirs.admin_api_keys.retrieve(made.id).redacted_value == made.redacted_value
    assert made.id in {one.id for one in theirs.admin_api_keys.list()}
    assert theirs.projects.create(name="by an admin key").id
    with pytest.raises(openai.AuthenticationError):
        say(running, made.value)
    with pytest.raises(openai.PermissionDeniedError):
        client(running, made.value).post("/keys", cast_to=object, body={"name": "talks"})
    assert Visitor(running).call("POST", f"{API}/session", {"key": made.value})[0] == 401
    assert theirs.admin_api_keys.delete(made.id).deleted
    with pytest.raises(openai.AuthenticationError):
        theirs.projects.list()


def test_a_key_may_what_its_role_may(running, organization):
    def key(role: str) -> Any:
        made = client(running).post("/organization/admin_api_keys", cast_to=object, body={"name": role, "role": role})
        assert isinstance(made, dict)
        return client(running, made["value"]).admin.organization

    viewer, billing, admin = key("viewer"), key("billing"), key("admin")
    assert list(viewer.projects.list())
    with pytest.raises(openai.PermissionDeniedError):
        viewer.projects.create(name="no")
    billing.spend_limit.update(currency="USD", interval="month", threshold_amount=10**9, extra_body={"enforcement": {"status": "inactive"}})
    assert viewer.spend_limit.retrieve().threshold_amount == 10**9
    with pytest.raises(openai.PermissionDeniedError):
        admin.spend_limit.delete()
    billing.spend_limit.delete()
    with pytest.raises(openai.PermissionDeniedError):
        billing.audit_logs.list()
    with pytest.raises(openai.PermissionDeniedError):
        admin.admin_api_keys.create(name="more")


def test_an_organisation_sees_nothing_of_another(running):
    other = client(running).with_options(default_headers={"OpenAI-Organization": "acme"}).admin.organization
    project = other.projects.create(name="theirs").id
    key = other.admin_api_keys.create(name="acme's own").value
    acme = client(running, key)
    assert [one.id for one in acme.admin.organization.projects.list()] == [project]
    assert {one.project.id for one in acme.admin.organization.audit_logs.list() if one.project} == {project}
    with pytest.raises(openai.NotFoundError):
        acme.admin.organization.projects.retrieve("default")
    with pytest.raises(openai.PermissionDeniedError):
        acme.with_options(default_headers={"OpenAI-Organization": "default"}).admin.organization.projects.list()
    with pytest.raises(openai.PermissionDeniedError):
        acme.get("/../admin/pools", cast_to=object)


def test_invites_wait_and_can_be_taken_back(organization):
    project = organization.projects.create(name="inviting").id
    made = organization.invites.create(email="Ann@Example.org", role="reader", projects=[{"id": project, "role": "owner"}])
    assert (made.status, made.email, made.projects[0].id) == ("pending", "Ann@Example.org", project)
    assert organization.invites.retrieve(made.id) == made
    assert made.id in {one.id for one in organization.invites.list()}
    assert organization.invites.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        organization.invites.retrieve(made.id)
    with pytest.raises(openai.BadRequestError) as refused:
        organization.invites.create(email="ann@example.org", role="emperor")
    assert refused.value.param == "role"


def test_every_change_is_in_the_audit_log(organization):
    project = organization.projects.create(name="audited").id
    account = organization.projects.service_accounts.create(project, name="robot")
    organization.projects.rate_limits.update_rate_limit("rl-answers", project_id=project, max_requests_per_1_minute=7)
    organization.projects.service_accounts.delete(account.id, project_id=project)
    organization.projects.archive(project)
    entries = list(organization.audit_logs.list(project_ids=[project]))
    assert [one.type for one in reversed(entries)] == [
        "project.created",
        "service_account.created",
        "api_key.created",
        "rate_limit.updated",
        "service_account.deleted",
        "project.archived",
    ]
    assert {one.actor.type for one in entries} == {"api_key"}
    created, limited = entries[-1], entries[2]
    assert created.project_created.data.name == "audited"
    assert (limited.rate_limit_updated.id, limited.actor.api_key.ip_address) == ("rl-answers", "127.0.0.1")
    filtered = organization.audit_logs.list(project_ids=[project], event_types=["project.archived"])
    assert [one.type for one in filtered] == ["project.archived"]
    for later in (created.effective_at + 3600, 9_999_999_999):
        assert not list(organization.audit_logs.list(project_ids=[project], effective_at={"gt": later}))
    page = organization.audit_logs.list(project_ids=[project], limit=2)
    assert page.has_more
    before = organization.audit_logs.list(project_ids=[project], limit=2, before=entries[3].id)
    assert [one.id for one in before.data] == [entries[1].id, entries[2].id]
