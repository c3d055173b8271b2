"""An identity provider that speaks OpenID Connect over a real socket, with real keys: strict about what it is asked, and able to lie.

Whoever comes to it is signed in at once, as `user`. What it says in an id_token can be bent by `bend`, and it forgets no code it gave.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from tests.browser import OURS

CLIENT, SECRET = "headrace", "a secret: of the client"
SECRETS = {"OIDC_SECRET": SECRET}
"""What the environment of a server holds whose settings are `oidc`."""


def oidc(issuer: str, **more: object) -> str:
    """The TOML by which people sign in there; `more` are fields of it, as TOML writes them."""
    fields = {"issuer": f'"{issuer}"', "client_id": f'"{CLIENT}"', "client_secret_env": '"OIDC_SECRET"', "url": f'"{OURS}"', **more}
    return "\n".join(("[oidc]", *(f"{name} = {value}" for name, value in fields.items()), ""))


Claims = dict[str, Any]


class IdentityServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Door)
        self.key: RSAKey | ECKey = RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})
        self.published: list[RSAKey | ECKey] = [self.key]
        self.user: Claims = {}
        self.bend: Callable[[Claims], Claims] = lambda claims: claims
        self.codes: dict[str, dict[str, str]] = {}
        self.userinfo: Claims = {}

    @classmethod
    @contextmanager
    def open(cls) -> "Iterator[IdentityServer]":
        server = cls()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
        server.server_close()

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def change_keys(self, key: RSAKey | ECKey) -> None:
        """Sign with another key from now on, and publish it alone."""
        self.key, self.published = key, [key]

    def signed(self, claims: Claims, key: RSAKey | ECKey | None = None) -> str:
        signer = key or self.key
        algorithm = "ES256" if isinstance(signer, ECKey) else "RS256"
        return jwt.encode({"alg": algorithm, "kid": signer.kid}, claims, signer)

    def logout_token(self, **more: Any) -> str:
        now = int(time.time())
        events: Claims = {"http://schemas.openid.net/event/backchannel-logout": {}}
        return self.signed({"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 60, "jti": "1", "events": events, **more})


class _Door(BaseHTTPRequestHandler):
    server: IdentityServer

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        asked = dict(urllib.parse.parse_qsl(query))
        issuer = self.server.issuer
        if path == "/.well-known/openid-configuration":
            names = ("authorization", "token", "userinfo", "end_session")
            found = {f"{name}_endpoint": f"{issuer}/{name}" for name in names}
            self._json({"issuer": issuer, "jwks_uri": f"{issuer}/jwks", **found})
        elif path == "/jwks":
            self._json(dict(KeySet(list(self.server.published)).as_dict(private=False)))
        elif path == "/authorization":
            assert asked["client_id"] == CLIENT
            assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
            code = secrets.token_urlsafe()
            self.server.codes[code] = asked
            back = urllib.parse.urlencode({"code": code, "state": asked["state"], "iss": issuer})
            self._redirect(f"{asked['redirect_uri']}?{back}")
        elif path == "/userinfo":
            self._json(self.server.userinfo)
        else:
            self._json({"error": "not found"}, 404)

    def do_POST(self) -> None:
        asked = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode()))
        name, secret = base64.b64decode(self.headers["authorization"].removeprefix("Basic ")).decode().split(":")
        known = (urllib.parse.unquote(name), urllib.parse.unquote(secret)) == (CLIENT, SECRET)
        begun = self.server.codes.pop(asked.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(asked.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
        if not known or begun is None or (begun["code_challenge"], begun["redirect_uri"]) != (challenge, asked["redirect_uri"]):
            self._json({"error": "invalid_grant"}, 400)
            return
        now = int(time.time())
        claims = {"iss": self.server.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": begun["nonce"], **self.server.user}
        told = self.server.signed(self.server.bend(claims))
        self._json({"access_token": "opaque", "token_type": "Bearer", "id_token": told})

    def _json(self, value: Claims, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _redirect(self, address: str) -> None:
        self.send_response(303)
        self.send_header("location", address)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""
