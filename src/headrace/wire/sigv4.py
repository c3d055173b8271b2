"""AWS Signature Version 4: what a request says, made into one canonical text, and signed with a key that holds for one day, region and
service.

    canonical request -> string to sign -> authorization

The theory is AWS's own ("Create a signed AWS API request", IAM User Guide). A path is given as it goes over the wire, already encoded,
and is encoded once more for the canonical request, as every service but S3 wants it: `anthropic.claude:0` is `%3A` on the wire and
`%253A` in what is signed. Paths with `.` or `..` segments or doubled slashes are not normalised; no caller has one.
"""

import hashlib
import hmac
from datetime import UTC, datetime

import msgspec

from headrace.core.clock import SECOND, Moment

ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_IN_PATH = _UNRESERVED | {ord("/")}


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Who signs. `session_token` comes with credentials that were lent for a time."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return f"Credentials(access_key_id={self.access_key_id!r})"  # never the secret, which would end up in a log


class Unsigned(msgspec.Struct, frozen=True, kw_only=True):
    """A request to sign: the headers that take part (`host` must), the query's pairs unencoded, and the body's SHA-256 in hex."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body_sha256: str
    query: tuple[tuple[str, str], ...] = ()


def signed(request: Unsigned, credentials: Credentials, *, region: str, service: str, at: Moment) -> tuple[tuple[str, str], ...]:
    """All headers to send: those of `request`, the date, the body's hash, the session's token where there is one, and the signature."""
    stamp = timestamp(at)
    headers = [*request.headers, ("x-amz-date", stamp), ("x-amz-content-sha256", request.body_sha256)]
    if credentials.session_token is not None:
        headers.append(("x-amz-security-token", credentials.session_token))
    whole = msgspec.structs.replace(request, headers=tuple(headers))
    return *headers, ("authorization", authorization(whole, credentials, region=region, service=service, stamp=stamp))


def authorization(request: Unsigned, credentials: Credentials, *, region: str, service: str, stamp: str) -> str:
    """The `authorization` header for a request whose headers are complete: `stamp` is its `x-amz-date`."""
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = string_to_sign(canonical_request(request), scope, stamp)
    key = signing_key(credentials.secret_access_key, stamp[:8], region, service)
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    names = ";".join(name for name, _ in _canonical_headers(request))
    return f"{ALGORITHM} Credential={credentials.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"


def canonical_request(request: Unsigned) -> str:
    """Method, path, query, headers and body, in the one form in which both sides compute the signature."""
    headers = _canonical_headers(request)
    pairs = sorted((uri_encoded(name), uri_encoded(value)) for name, value in request.query)
    return "\n".join(
        [
            request.method,
            "".join(chr(byte) if byte in _IN_PATH else f"%{byte:02X}" for byte in request.path.encode()),
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{value}" for name, value in headers),
            "",
            ";".join(name for name, _ in headers),
            request.body_sha256,
        ]
    )


def string_to_sign(canonical: str, scope: str, stamp: str) -> str:
    return "\n".join([ALGORITHM, stamp, scope, sha256_hex(canonical.encode())])


def signing_key(secret_access_key: str, day: str, region: str, service: str) -> bytes:
    """The key for one day (`20150830`), region and service."""
    key = b"AWS4" + secret_access_key.encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def timestamp(at: Moment) -> str:
    """A moment as AWS writes it: `20150830T123600Z`."""
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y%m%dT%H%M%SZ")


def uri_encoded(text: str) -> str:
    """Every byte but RFC 3986's unreserved ones as `%XX`, `/` too: a name as one segment of a path, or one side of a query's pair."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode())


def _canonical_headers(request: Unsigned) -> list[tuple[str, str]]:
    """Names in lower case and sorted, values trimmed and without runs of spaces, those of one name joined in the order they came."""
    joined: dict[str, str] = {}
    for name, value in request.headers:
        name, value = name.lower(), " ".join(value.split())
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return sorted(joined.items())
