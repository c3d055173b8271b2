"""People who sign in at an identity provider, over sockets: who is let in as what, what a cookie is good for, and how it ends."""

import http.client
import json
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from joserfc.jwk import ECKey, RSAKey

from headrace.core.errors import NotAllowed
from headrace.providers.identity import LOGOUT_EVENT, IdentityProvider
from tests.browser import OURS, Browser
from tests.identity import CLIENT, SECRETS, Claims, IdentityServer, oidc
from tests.server import Installation, Running, pool
from tests.vendor import Vendor

ANN: Claims = {"sub": "ann", "email": "ann@example.org", "email_verified": True, "name": "Ann", "groups": ["staff", "admins"], "sid": "s1"}


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityServer]:
    with IdentityServer.open() as opened:
        yield opened


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, provider: IdentityServer) -> Iterator[Running]:
    settings = oidc(provider.issuer, roles='{ "admins" = "admin", "accountants" = "billing" }')
    with Vendor.open() as vendor:
        place = Installation(tmp_path_factory.mktemp("oidc"), pool("vendor", vendor.url, "answers") + settings, SECRETS)
        with place.serving() as running:
            yield running


@pytest.fixture(autouse=True)
def honest(provider: IdentityServer) -> None:
    provider.user, provider.bend, provider.userinfo = ANN, lambda claims: claims, {}


OPENED: list[openai.OpenAI] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Every client of a test is closed at its end."""
    yield
    while OPENED:
        OPENED.pop().close()


@pytest.fixture
def browser(running: Running) -> Browser:
    return Browser(running)


def organization(running: Running) -> Any:
    OPENED.append(openai.OpenAI(base_url=running.base_url, admin_api_key=running.key, api_key="none", max_retries=0))
    return OPENED[-1].admin.organization


def test_a_person_signs_in_and_administers_as_the_provider_says(running, browser):
    status, there, _ = browser.sign_in("/docs?page=1")
    assert (status, there) == (303, "/docs?page=1")
    assert {"httponly", "samesite=lax", "path=/"} <= set(browser.set["headrace_person"].replace(" ", "").split(";"))
    me = browser.me()
    assert (me["name"], me["email"], me["role"], me["organization"], me["signed_in"]) == (
        "Ann",
        "ann@example.org",
        "admin",
        "default",
        True,
    )
    status, _, said = browser.ask("POST", "/v1/organization/projects", {"name": "by Ann"})
    assert (status, json.loads(said)["name"]) == (200, "by Ann")
    assert browser.ask("POST", "/v1/organization/projects", {"name": "no"}, site="cross-site")[0] == 403
    assert browser.ask("GET", "/v1/organization/admin_api_keys")[0] == 403, "an admin has no right to those"
    created = organization(running).audit_logs.list(actor_emails=["ann@example.org"], event_types=["project.created"]).data[0]
    assert created.actor.session.user.id == me["id"]
    assert "login.succeeded" in {one.type for one in organization(running).audit_logs.list(resource_ids=[me["id"]])}


def test_what_the_provider_says_of_somebody_holds_from_his_next_sign_in_on(provider, browser):
    browser.sign_in()
    first = browser.me()["id"]
    provider.user = {**ANN, "groups": "accountants"}
    browser.sign_in()
    assert (browser.me()["id"], browser.me()["role"]) == (first, "billing")


def test_a_sign_out_ends_the_session_here_and_there(provider, browser):
    browser.sign_in()
    stolen = dict(browser.cookies)
    assert browser.ask("POST", "/auth/logout", site="cross-site")[0] == 403
    status, there, _ = browser.ask("POST", "/auth/logout")
    assert status == 303
    assert there.startswith(f"{provider.issuer}/end_session?id_token_hint=")
    browser.cookies = stolen
    assert browser.me() == {"status": 401}


def test_who_is_signed_in_has_the_page_as_well_until_he_signs_out(running, browser):
    status, there, _ = browser.sign_in("/")
    assert (status, there.startswith("/#/in/")) == (303, True)
    status, _, said = browser.ask("POST", "/workspace/api/session", {"link": there.rpartition("/")[2]})
    assert (status, json.loads(said)["organization"]) == (200, "default")
    assert browser.ask("GET", "/workspace/api/session")[0] == 200
    assert browser.ask("POST", "/v1/organization/projects", {"name": "from the page"})[0] == 200, "by the key of the page he is himself"
    assert browser.ask("POST", "/v1/organization/projects", {"name": "no"}, site="cross-site")[0] != 200
    kept, first = dict(browser.cookies), json.loads(said)["key"]
    assert browser.ask("POST", "/auth/logout")[0] == 303
    browser.cookies = kept
    assert browser.ask("GET", "/workspace/api/session")[0] == 401
    assert browser.ask("POST", "/v1/organization/projects", {"name": "no"})[0] == 401
    _, there, _ = browser.sign_in("/")
    _, _, said = browser.ask("POST", "/workspace/api/session", {"link": there.rpartition("/")[2]})
    assert json.loads(said)["key"] == first, "his threads are his again"


@pytest.mark.parametrize("named", [{"sid": "s1"}, {"sub": "ann"}])
def test_the_provider_ends_a_session_by_itself(running, provider, browser, named):
    browser.sign_in()
    assert browser.me()["role"] == "admin"
    other = RSAKey.generate_key(2048, {"kid": "first"})
    forged = provider.signed({"iss": provider.issuer, "aud": CLIENT, "iat": 1, "events": {}, **named}, other)
    no_event = provider.logout_token(events={}, **named)
    for token, status in ((forged, 403), (no_event, 403), ("nonsense", 403), (provider.logout_token(**named), 200)):
        assert post(running, token) == status, token
    assert browser.me() == {"status": 401}


def post(running: Running, token: str) -> int:
    line = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    form = {"content-type": "application/x-www-form-urlencoded"}
    line.request("POST", "/auth/backchannel-logout", urllib.parse.urlencode({"logout_token": token}), form)
    with line.getresponse() as answer:
        status = answer.status
    line.close()
    return status


LIES: list[tuple[str, Callable[[Claims], Claims]]] = [
    ("another nonce", lambda claims: {**claims, "nonce": "another"}),
    ("no nonce", lambda claims: {name: value for name, value in claims.items() if name != "nonce"}),
    ("another audience", lambda claims: {**claims, "aud": "somebody-else"}),
    ("made for another", lambda claims: {**claims, "aud": [CLIENT, "other"], "azp": "other"}),
    ("another issuer", lambda claims: {**claims, "iss": "https://elsewhere.example"}),
    ("over", lambda claims: {**claims, "exp": claims["iat"] - 3600}),
    ("no subject", lambda claims: {name: value for name, value in claims.items() if name != "sub"}),
]


@pytest.mark.parametrize("lie", [lie for _, lie in LIES], ids=[name for name, _ in LIES])
def test_what_does_not_hold_is_refused(provider, browser, lie):
    provider.bend = lie
    status, _, said = browser.sign_in()
    assert (status, json.loads(said)["error"]["code"]) == (403, "not_allowed")
    assert browser.me() == {"status": 401}


def test_a_signature_by_another_key_is_refused(provider, browser):
    honest_key = provider.key
    provider.key = RSAKey.generate_key(2048, {"kid": honest_key.kid})  # not published
    assert browser.sign_in()[0] == 403
    provider.key = honest_key
    assert browser.sign_in()[0] == 303


def test_a_new_key_is_found_and_an_elliptic_curve_will_do(provider):
    now = 1_900_000_000
    claims = {"iss": provider.issuer, "aud": CLIENT, "iat": now, "exp": now + 600, "sub": "ann", "events": {LOGOUT_EVENT: {}}}
    ours = IdentityProvider(issuer=provider.issuer, client_id=CLIENT, client_secret=None, redirect_uri=OURS, scopes=("openid",))
    assert ours.signed_out(provider.signed(claims), now) == (None, "ann")
    kept = provider.key
    provider.change_keys(ECKey.generate_key("P-256", {"kid": "curve", "use": "sig"}))
    with pytest.raises(NotAllowed):
        ours.signed_out(provider.signed(claims), now + 1)  # the keys were asked for just now
    assert ours.signed_out(provider.signed(claims), now + 10) == (None, "ann")
    with pytest.raises(NotAllowed):
        ours.signed_out(provider.signed(claims, kept), now + 20)
    provider.change_keys(kept)


def test_a_callback_that_this_browser_did_not_begin_is_refused(running, browser):
    _, there, _ = browser.ask("GET", "/auth/login?next=/docs")
    _, back, _ = browser.ask("GET", there)
    assert Browser(running).ask("GET", back)[0] == 403
    assert browser.ask("GET", back.replace("state=", "state=x"))[0] == 403
    assert browser.ask("GET", back)[0] == 303
    assert browser.ask("GET", back)[0] == 403, "a code is good once"


@pytest.mark.parametrize("next", ["https://evil.example/", "//evil.example", "/\\evil.example"])
def test_nobody_is_sent_elsewhere(browser, next):
    assert browser.sign_in(urllib.parse.quote(next))[1].startswith("/#/in/")


def test_strangers_are_refused_and_who_is_invited_is_not(running, provider, browser):
    provider.user = {"sub": "bob", "email": "bob@example.org", "email_verified": True, "name": "Bob"}
    status, _, said = browser.sign_in()
    assert (status, "invite" in json.loads(said)["error"]["message"]) == (403, True)
    admin = organization(running)
    project = admin.projects.create(name="Bob's").id
    invite = admin.invites.create(email="Bob@example.org", role="reader", projects=[{"id": project, "role": "member"}])
    provider.user = {**provider.user, "email_verified": False}
    assert browser.sign_in()[0] == 403, "an address that nobody has checked is nobody's"
    provider.user = {**provider.user, "email_verified": True}
    assert browser.sign_in()[0] == 303
    assert admin.invites.retrieve(invite.id).status == "accepted"
    bob = browser.me()["id"]
    assert [(one.id, one.role) for one in admin.projects.users.list(project)] == [(bob, "member")]
    made = json.loads(browser.ask("POST", f"/v1/organization/projects/{project}/api_keys", {"name": "mine"})[2])
    assert made["owner"]["user"]["id"] == bob
    asking = openai.OpenAI(base_url=running.base_url, api_key=made["value"], max_retries=0)
    OPENED.append(asking)
    assert asking.chat.completions.create(model="answers", messages=[{"role": "user", "content": "hi"}]).choices
    listed = json.loads(browser.ask("GET", "/v1/organization/projects")[2])["data"]
    assert [one["id"] for one in listed] == [project], "a member sees what has him"
    another = admin.projects.service_accounts.create(project, name="robot").api_key.id
    assert browser.ask("DELETE", f"/v1/organization/projects/{project}/api_keys/{another}")[0] == 403
    assert browser.ask("DELETE", "/v1/organization/projects/default/api_keys/x")[0] == 403
    assert admin.projects.users.update(bob, project_id=project, role="owner").role == "owner"
    assert browser.ask("DELETE", f"/v1/organization/projects/{project}/api_keys/{another}")[0] == 200
    assert admin.users.update(bob, role="viewer").role == "viewer"
    assert admin.users.delete(bob).deleted
    assert browser.me() == {"status": 401}
    with pytest.raises(openai.AuthenticationError):
        asking.models.list()


def test_who_comes_from_the_page_is_told_there_why_once(provider, browser):
    def ways() -> Claims:
        return dict(json.loads(browser.ask("GET", "/auth/ways")[2]))

    assert ways() == {"object": "headrace.ways", "login": "/auth/login", "provider": "127.0.0.1", "why": None}
    provider.user = {**ANN, "sub": "stranger", "email": "stranger@example.org", "groups": []}
    assert browser.sign_in("/")[:2] == (303, "/")
    assert "httponly" in browser.set["headrace_why"]
    assert "You have no place in this organisation" in ways()["why"]
    assert ways()["why"] is None
    assert browser.sign_in("/docs")[0] == 403, "who went elsewhere is answered there"


def test_an_address_may_come_from_the_userinfo(provider, browser):
    provider.user = {"sub": "eve", "groups": ["admins"]}
    provider.userinfo = {"sub": "eve", "email": "eve@example.org", "email_verified": True, "name": "Eve"}
    assert browser.sign_in()[0] == 303
    assert browser.me()["email"] == "eve@example.org"
    provider.userinfo = {"sub": "mallory", "email": "root@example.org"}
    assert browser.sign_in()[0] == 403


def test_without_a_provider_there_are_only_keys(scripted):
    browser = Browser(scripted)
    assert browser.ask("GET", "/auth/login")[0] == 403
    status, body = scripted.get("/auth/me")
    assert (status, json.loads(body)["role"], json.loads(body)["signed_in"]) == (200, "owner", False)
