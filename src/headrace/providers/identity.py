"""An identity provider that speaks OpenID Connect: it is found by its issuer, and tells who somebody is.

The authorization code flow with PKCE (OpenID Connect Core 1.0, RFC 7636), and its back-channel logout. Signatures and claims are checked
by joserfc, with the provider's published keys; a key that we have not seen is looked for once more, since providers change theirs.
"""

import hashlib
import json
import urllib.error
import urllib.request
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from headrace.core.errors import NotAllowed, UpstreamFailed, UpstreamUnreachable

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
"""Signatures only the provider can make: none that a shared secret could."""
PATIENCE_S = 10.0
ANSWER_BYTES_MAX = 1024 * 1024
KEYS_AGAIN_S = 5
"""No more often are the provider's keys asked for: whoever sends us nonsense makes us ask nobody else."""
LEEWAY_S = 60
"""How far the provider's clock may be from ours."""
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who somebody is, as the provider says. `sid` is its own session; `claims` is all that it said."""

    issuer: str
    subject: str
    email: str
    verified: bool
    name: str
    sid: str | None
    id_token: str
    claims: Mapping[str, Any]


class IdentityProvider:
    """Asks one provider. Its methods wait for the network: call them in a thread."""

    def __init__(self, *, issuer: str, client_id: str, client_secret: str | None, redirect_uri: str, scopes: tuple[str, ...]) -> None:
        self.issuer = issuer
        self._client_id, self._client_secret, self._redirect_uri, self._scopes = client_id, client_secret, redirect_uri, scopes
        self._found: dict[str, Any] | None = None
        self._keys: dict[str, Any] | None = None
        self._keys_at = 0

    def sign_in_url(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where the browser is sent. Raises UpstreamUnreachable or UpstreamFailed, as all of them do."""
        challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(self._scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return _with(self._address("authorization_endpoint"), asked)

    def identify(self, *, code: str, verifier: str, nonce: str, now_s: int) -> Identity:
        """Who came back with that code. Raises NotAllowed where what the provider says does not hold."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._redirect_uri, "code_verifier": verifier}
        headers = {}
        if self._client_secret is None:
            form["client_id"] = self._client_id
        else:
            pair = f"{quote(self._client_id, safe='')}:{quote(self._client_secret, safe='')}"
            headers["authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        granted = self._fetch(self._address("token_endpoint"), form=form, headers=headers)
        token = granted.get("id_token")
        if not isinstance(token, str):
            raise UpstreamFailed(f"{self.issuer} gave no id_token: its scope must hold openid")
        claims = self._checked(token, now_s, sub={"essential": True}, exp={"essential": True}, nonce={"essential": True, "value": nonce})
        if claims.get("azp", self._client_id) != self._client_id:
            raise NotAllowed("The id_token was made for another client.")
        if "email" not in claims and isinstance(granted.get("access_token"), str) and "userinfo_endpoint" in self._discovered():
            told = self._fetch(self._address("userinfo_endpoint"), headers={"authorization": f"Bearer {granted['access_token']}"})
            if told.get("sub") != claims["sub"]:
                raise NotAllowed("The provider tells of somebody else than who signed in.")
            claims = {**told, **claims}
        return Identity(
            issuer=self.issuer,
            subject=str(claims["sub"]),
            email=str(claims.get("email") or ""),
            verified=claims.get("email_verified") in (True, "true"),
            name=str(claims.get("name") or claims.get("preferred_username") or ""),
            sid=str(claims["sid"]) if "sid" in claims else None,
            id_token=token,
            claims=claims,
        )

    def signed_out(self, logout_token: str, now_s: int) -> tuple[str | None, str | None]:
        """The session and the subject that the provider has signed out. Raises NotAllowed for what is no logout token of its."""
        claims = self._checked(logout_token, now_s, iat={"essential": True})
        events = claims.get("events")
        if not isinstance(events, dict) or LOGOUT_EVENT not in events or "nonce" in claims:
            raise NotAllowed("This is no logout token.")
        sid, subject = claims.get("sid"), claims.get("sub")
        if sid is None and subject is None:
            raise NotAllowed("The logout token names neither a session nor a subject.")
        return (None if sid is None else str(sid)), (None if subject is None else str(subject))

    def sign_out_url(self, *, id_token: str, back_to: str) -> str | None:
        """Where the browser is sent to sign out there, too; None: the provider has no such place."""
        if "end_session_endpoint" not in self._discovered():
            return None
        asked = {"id_token_hint": id_token, "post_logout_redirect_uri": back_to, "client_id": self._client_id}
        return _with(self._address("end_session_endpoint"), asked)

    def _checked(self, token: str, now_s: int, **wanted: Any) -> dict[str, Any]:
        """The claims of a token that the provider has signed for us. Raises NotAllowed."""
        from joserfc import errors, jwt  # an optional dependency, needed where people sign in

        try:
            try:
                found = jwt.decode(token, self._key_set(now_s, again=False), algorithms=ALGORITHMS)
            except (errors.InvalidKeyIdError, errors.BadSignatureError):
                found = jwt.decode(token, self._key_set(now_s, again=True), algorithms=ALGORITHMS)
            wanted = {"iss": {"essential": True, "value": self.issuer}, "aud": {"essential": True, "value": self._client_id}, **wanted}
            jwt.JWTClaimsRegistry(now=now_s, leeway=LEEWAY_S, **wanted).validate(found.claims)
        except (errors.JoseError, ValueError) as wrong:
            raise NotAllowed(f"What {self.issuer} says does not hold: {wrong}.") from None
        return dict(found.claims)

    def _key_set(self, now_s: int, *, again: bool) -> Any:
        from joserfc.jwk import KeySet  # an optional dependency, needed where people sign in

        if self._keys is None or (again and now_s - self._keys_at >= KEYS_AGAIN_S):
            self._keys_at = now_s
            self._keys = self._fetch(self._address("jwks_uri"))
        return KeySet.import_key_set(self._keys)  # type: ignore[arg-type]  # what is no key set is refused there

    def _address(self, name: str) -> str:
        address = self._discovered().get(name)
        if not isinstance(address, str):
            raise UpstreamFailed(f"{self.issuer} does not say where its {name} is")
        return address

    def _discovered(self) -> dict[str, Any]:
        if self._found is None:
            found = self._fetch(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self.issuer:
                raise UpstreamFailed(f"{self.issuer} calls itself {found.get('issuer')!r}: write [oidc] issuer as it does")
            self._found = found
        return self._found

    def _fetch(self, url: str, *, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        if not secure(url):
            raise UpstreamFailed(f"{url} is not https")
        body = None if form is None else urlencode(form).encode()
        request = urllib.request.Request(url, body, {"accept": "application/json", **(headers or {})})  # noqa: S310 -- it is https, or here
        try:
            with _opener.open(request, timeout=PATIENCE_S) as answer:
                found = json.loads(answer.read(ANSWER_BYTES_MAX))
        except urllib.error.HTTPError as wrong:
            with wrong:
                said = wrong.read(2_000).decode("utf-8", "replace")
            raise UpstreamFailed(f"{url} answers {wrong.code}: {said}") from None
        except (OSError, ValueError) as wrong:
            raise UpstreamUnreachable(f"{url} can't be asked: {wrong}") from None
        if not isinstance(found, dict):
            raise UpstreamFailed(f"{url} answers with no object")
        return found


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A code or a token is shown to whom the provider's own document names, and to nobody that he points to."""

    def redirect_request(self, *_: object) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)


def secure(url: str) -> bool:
    """Whether what is said to that address is heard by nobody else: by TLS, or since it is this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost"))


def _with(address: str, asked: Mapping[str, str]) -> str:
    return f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}"
