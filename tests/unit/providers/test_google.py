"""Tokens of a service account: what is signed, how long a token is used, and who renews it."""

import asyncio
import hashlib
import json
from base64 import urlsafe_b64decode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

import pytest

from headrace.core.clock import SECOND
from headrace.core.errors import SetupError, UpstreamUnreachable
from headrace.providers import Endpoint, TransportSettings
from headrace.providers.google import ServiceAccount, ServiceAccountTokens, read_account, rs256, vertex_url
from headrace.testing.clock import NOON, TurnedClock
from tests.needs import missing
from tests.unit.providers.upstream import Caller, Script, Upstream, upstream

ACCOUNT = ServiceAccount("a@p.iam.gserviceaccount.com", "PRIVATE", private_key_id="id-7", token_uri="https://oauth2.example/token")


def answered(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


def grants(*answers: bytes) -> Script:
    """One answer after the other, to whoever asks; after the last one it is silent."""
    left = list(answers)

    async def script(caller: Caller) -> None:
        while await caller.request():
            if not left:
                await caller.gone()
                return
            await caller.say(left.pop(0))

    return script


def granted(token: str, expires_in: int = 3_600) -> bytes:
    return answered(200, json.dumps({"access_token": token, "expires_in": expires_in, "token_type": "Bearer"}).encode())


DENIED = answered(400, b'{"error":"invalid_grant","error_description":"Invalid JWT Signature."}')


@asynccontextmanager
async def tokens_of(
    script: Script, *, account: ServiceAccount = ACCOUNT, patience_s: float = 5.0
) -> AsyncGenerator[tuple[Upstream, ServiceAccountTokens, TurnedClock], None]:
    async with asyncio.timeout(5), upstream(script) as made:
        endpoint = Endpoint(made.url.replace("/v1", "/token"), TransportSettings(), asyncio.get_running_loop())
        clock = TurnedClock()
        tokens = ServiceAccountTokens(
            account=account, sign=lambda data: b"signed:" + data[:4], endpoint=endpoint, clock=clock, patience_s=patience_s
        )
        try:
            yield made, tokens, clock
        finally:
            endpoint.close()


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def test_what_is_asked_for_a_token():
    async with tokens_of(grants(granted("t-1"))) as (made, tokens, _):
        assert await tokens.token() == "t-1"
    head, _, body = made.requests[0].decode().partition("\r\n\r\n")
    assert head.startswith("POST /token HTTP/1.1\r\n")
    assert "content-type: application/x-www-form-urlencoded\r\n" in head
    form = parse_qs(body, strict_parsing=True)
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    header, claims, signature = form["assertion"][0].split(".")
    assert json.loads(decoded(header)) == {"alg": "RS256", "typ": "JWT", "kid": "id-7"}
    assert json.loads(decoded(claims)) == {
        "iss": "a@p.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": "https://oauth2.example/token",
        "iat": NOON // SECOND,
        "exp": NOON // SECOND + 3_600,
    }
    assert decoded(signature) == b"signed:" + header[:4].encode()


async def test_a_key_without_a_name():
    account = ServiceAccount("a@p", "PRIVATE")
    async with tokens_of(grants(granted("t-1")), account=account) as (made, tokens, _):
        await tokens.token()
    header = parse_qs(made.requests[0].decode().partition("\r\n\r\n")[2])["assertion"][0].split(".")[0]
    assert json.loads(decoded(header)) == {"alg": "RS256", "typ": "JWT"}


async def test_a_token_is_kept_until_shortly_before_its_end():
    async with tokens_of(grants(granted("t-1"), granted("t-2"))) as (made, tokens, clock):
        assert await tokens.token() == "t-1"
        clock.turn(s=3_299)
        assert await tokens.token() == "t-1"
        clock.turn(s=1)
        assert await tokens.token() == "t-2"
        assert len(made.requests) == 2


async def test_a_token_that_is_refused_is_forgotten():
    async with tokens_of(grants(granted("t-1"), granted("t-2"))) as (_, tokens, _):
        await tokens.token()
        tokens.forget()
        assert await tokens.token() == "t-2"


async def test_one_asks_and_all_get_it():
    async with tokens_of(grants(granted("t-1"), granted("t-2"))) as (made, tokens, _):
        assert await asyncio.gather(*(tokens.token() for _ in range(20))) == ["t-1"] * 20
        assert len(made.requests) == 1


async def test_while_one_renews_the_others_use_what_they_have():
    renew = asyncio.Event()

    async def slow(caller: Caller) -> None:
        await caller.request()
        await caller.say(granted("t-1"))
        await caller.request()
        await renew.wait()
        await caller.say(granted("t-2"))
        await caller.gone()

    async with tokens_of(slow) as (made, tokens, clock), asyncio.TaskGroup() as tasks:
        await tokens.token()
        made.asked.clear()
        clock.turn(s=3_400)
        first = tasks.create_task(tokens.token())
        await made.asked.wait()
        assert await tokens.token() == "t-1"
        clock.turn(s=170)  # now it is too near to its end
        second = tasks.create_task(tokens.token())
        await asyncio.sleep(0.01)
        assert not second.done()
        renew.set()
        assert (await first, await second) == ("t-2", "t-2")


async def test_who_leaves_while_asking_leaves_it_to_the_next():
    arrived = asyncio.Event()

    async def script(caller: Caller) -> None:
        await caller.request()
        if not arrived.is_set():
            arrived.set()
            await caller.gone()
        else:
            await caller.say(granted("t-1"))

    async with tokens_of(script) as (_, tokens, _):
        first = asyncio.ensure_future(tokens.token())
        await arrived.wait()
        second = asyncio.ensure_future(tokens.token())
        await asyncio.sleep(0)
        first.cancel()
        assert await second == "t-1"
        assert (await asyncio.gather(first, return_exceptions=True))[0].__class__ is asyncio.CancelledError


async def test_a_renewal_that_fails_is_tried_again_later():
    async with tokens_of(grants(granted("t-1"), DENIED, granted("t-3"))) as (made, tokens, clock):
        await tokens.token()
        clock.turn(s=3_301)
        assert [await tokens.token() for _ in range(3)] == ["t-1"] * 3
        assert len(made.requests) == 2, "it is not asked again at once"
        clock.turn(s=15)
        assert await tokens.token() == "t-3"


async def test_a_token_forgotten_while_others_waited_for_it_is_asked_for_again():
    async with tokens_of(grants(granted("t-1"), granted("t-2"))) as (_, tokens, _):

        async def asks_and_forgets() -> str:
            token = await tokens.token()
            tokens.forget()
            return token

        came = await asyncio.gather(asks_and_forgets(), tokens.token())
        assert tuple(came) == ("t-1", "t-2")


FAILURES = [
    (DENIED, "answered 400: invalid_grant: Invalid JWT Signature."),
    (answered(503, b"<html>"), "answered 503."),
    (answered(500, b"{}"), "answered 500."),
    (answered(401, b'{"error":"no"}'), "answered 401: no"),
    (answered(200, b"<html>"), "something else than a token"),
    (answered(200, b'{"access_token":"t","expires_in":5}'), "something else than a token"),
]


@pytest.mark.parametrize(("answer", "words"), FAILURES)
async def test_no_token_means_that_the_model_was_not_asked(answer: bytes, words: str):
    async with tokens_of(grants(answer)) as (_, tokens, _):
        with pytest.raises(UpstreamUnreachable, match=r"There is no token for a@p\.iam") as raised:
            await tokens.token()
    assert words in str(raised.value)
    assert not raised.value.may_bill


async def test_an_endpoint_that_cuts_the_connection_bills_nothing():
    async def cuts(caller: Caller) -> None:
        await caller.request()

    async with tokens_of(cuts) as (_, tokens, _):
        with pytest.raises(UpstreamUnreachable, match="closed the connection"):
            await tokens.token()


async def test_an_endpoint_that_is_silent():
    async with tokens_of(grants(), patience_s=0.05) as (_, tokens, _):
        with pytest.raises(UpstreamUnreachable, match=r"gave none within 0\.05 s"):
            await tokens.token()


async def test_those_who_waited_share_the_failure():
    async with tokens_of(grants(DENIED, granted("t-2"))) as (made, tokens, _):
        came = await asyncio.gather(*(tokens.token() for _ in range(10)), return_exceptions=True)
        assert [type(one) for one in came] == [UpstreamUnreachable] * 10
        assert len(made.requests) == 1
        assert await tokens.token() == "t-2"


# ------------------------------------------------------------------------------------------------------------------------- files


def test_a_key_file():
    text = json.dumps(
        {
            "type": "service_account",
            "project_id": "p-1",
            "private_key_id": "id-7",
            "private_key": "SECRET",
            "client_email": "a@p",
            "token_uri": "https://oauth2.googleapis.com/token",
            "universe_domain": "googleapis.com",
        }
    )
    account = read_account(text)
    assert account == ServiceAccount("a@p", "SECRET", "id-7", "https://oauth2.googleapis.com/token", "p-1")
    assert "SECRET" not in repr(account)
    assert read_account(text.encode()) == account


@pytest.mark.parametrize("text", [b"", b"{}", b'{"client_email":"SECRET"}', b'"\xff"', b"[" * 100_000, b'{"private_key":7}'])
def test_what_is_no_key_file(text: bytes):
    with pytest.raises(SetupError, match="not the key file") as raised:
        read_account(text)
    assert "SECRET" not in str(raised.value)


HOSTS = [
    ("europe-west4", "https://europe-west4-aiplatform.googleapis.com"),
    ("global", "https://aiplatform.googleapis.com"),
    ("eu", "https://aiplatform.eu.rep.googleapis.com"),
    ("us", "https://aiplatform.us.rep.googleapis.com"),
]


@pytest.mark.parametrize(("location", "url"), HOSTS)
def test_where_vertex_is(location: str, url: str):
    assert vertex_url(location) == url


# --------------------------------------------------------------------------------------------------------------------- signatures

SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
"""What PKCS #1 puts before a SHA-256 (RFC 8017, 9.2)."""


def test_signatures_are_rsa_with_sha_256():
    """Verified by arithmetic alone, which needs no library."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa
    except ImportError:
        missing("cryptography is not installed: pip install 'headrace[vertex]'")
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    signature = rs256(pem)(b"a message")
    public = key.public_key().public_numbers()
    opened = pow(int.from_bytes(signature), public.e, public.n).to_bytes(256)
    assert opened == b"\x00\x01" + b"\xff" * (253 - 51) + b"\x00" + SHA256_INFO + hashlib.sha256(b"a message").digest()


@pytest.mark.parametrize("kind", ["nonsense", "elliptic", "locked"])
def test_keys_that_cannot_sign(kind: str):
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        missing("cryptography is not installed: pip install 'headrace[vertex]'")
    locks = serialization.BestAvailableEncryption(b"x") if kind == "locked" else serialization.NoEncryption()
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locks).decode()
    with pytest.raises(SetupError, match="not an RSA key"):
        rs256("SECRET" if kind == "nonsense" else pem)


def test_without_the_extra_it_says_what_to_install():
    try:
        import cryptography  # noqa: F401 -- only whether it is there
    except ImportError:
        with pytest.raises(SetupError, match=r"headrace\[vertex\]"):
            rs256("any")
