"""Signed messages between programs, both directions: as Standard Webhooks says, and as GitHub signs.

webhook-id           the same at every try: who has heard it already can say so
webhook-timestamp    seconds of Unix time; what is older or newer than five minutes is refused
webhook-signature    v1,base64(HMAC-SHA256(key, id "." timestamp "." body)), several with spaces between while keys change
x-hub-signature-256  sha256=hex(HMAC-SHA256(secret, body)), GitHub's own; its x-github-delivery is not signed

The key is what the base64 behind `whsec_` holds, as the libraries of that specification read it; any other secret is taken as its bytes.
Source: https://www.standardwebhooks.com, docs.github.com "Validating webhook deliveries".
"""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Final

import msgspec

from headrace.core.errors import InvalidApiKey

PREFIX: Final = "whsec_"
AGE_S_MAX: Final = 300
ID_CHARS_MAX: Final = 200


class Heard(msgspec.Struct, frozen=True):
    """A message whose signature is right. `id` is its sender's name of it, `once` names it so that nobody can tell it again as another."""

    id: str
    once: str


def key_of(secret: str) -> bytes:
    """The bytes that sign."""
    if secret.startswith(PREFIX):
        try:
            return b64decode(secret.removeprefix(PREFIX), validate=True)
        except ValueError:
            pass
    return secret.encode()


def secret_from(token: bytes) -> str:
    """The secret that random bytes make, as the libraries of Standard Webhooks take it."""
    return PREFIX + b64encode(token).decode()


def signature(secret: str, id: str, timestamp_s: int, body: bytes) -> str:
    content = f"{id}.{timestamp_s}.".encode() + body
    return "v1," + b64encode(hmac.digest(key_of(secret), content, "sha256")).decode()


def headers(secret: str, id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """All that a message of ours says beside its body."""
    return {
        "content-type": "application/json",
        "user-agent": "headrace",
        "webhook-id": id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": signature(secret, id, timestamp_s, body),
    }


def heard(said: Mapping[str, str], body: bytes, secret: str, now_s: int) -> Heard:
    """The message, if who sent it holds the secret. `said` are its headers, by names in small letters. Raises InvalidApiKey."""
    if "webhook-signature" in said:
        return _standard(said, body, secret, now_s)
    if "x-hub-signature-256" in said:
        return _github(said, body, secret)
    raise InvalidApiKey("The message is not signed: send webhook-id, webhook-timestamp and webhook-signature, or X-Hub-Signature-256.")


def _standard(said: Mapping[str, str], body: bytes, secret: str, now_s: int) -> Heard:
    id, timestamp = said.get("webhook-id", ""), said.get("webhook-timestamp", "")
    if not id or len(id) > ID_CHARS_MAX or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 16):
        raise InvalidApiKey("A signed message has a webhook-id, and a webhook-timestamp in seconds.")
    if abs(now_s - int(timestamp)) > AGE_S_MAX:
        raise InvalidApiKey(f"The message is signed for another time than now: webhook-timestamp may differ by {AGE_S_MAX} seconds.")
    wanted = signature(secret, id, int(timestamp), body).encode()
    if not any(hmac.compare_digest(one.encode(), wanted) for one in said["webhook-signature"].split(" ")):
        raise InvalidApiKey("The signature of the message does not fit its secret.")
    return Heard(id, f"id {id}")


def _github(said: Mapping[str, str], body: bytes, secret: str) -> Heard:
    """Of this only the body is signed: so what was heard once is known by its signature, whatever it calls itself."""
    wanted = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(said["x-hub-signature-256"].encode(), f"sha256={wanted}".encode()):
        raise InvalidApiKey("The signature of the message does not fit its secret.")
    return Heard(said.get("x-github-delivery", wanted)[:ID_CHARS_MAX], f"signed {wanted}")
