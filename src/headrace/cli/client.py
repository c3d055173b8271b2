"""A small client of our own API for the commands that talk to a running server."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

from headrace.compose import Place
from headrace.core.errors import (
    CostTooHigh,
    HeadraceError,
    InvalidApiKey,
    InvalidRequest,
    SettingsInvalid,
    SetupError,
    UpstreamFailed,
    UpstreamUnreachable,
)

TIMEOUT_S = 600
ADMIN_TIMEOUT_S = 30


class Client:
    """Speaks to one server with one key. Failures are told in the server's own words."""

    def __init__(self, url: str, key: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self.url, self._key, self._timeout_s = url.rstrip("/"), key, timeout_s
        split = urlsplit(self.url)
        if split.scheme not in ("http", "https") or not split.hostname:
            raise InvalidRequest(f"{url!r} is not the address of an API, such as http://127.0.0.1:8080/v1")
        self._tls, self._host, self._port, self._path = split.scheme == "https", split.hostname, split.port, split.path

    def get(self, path: str) -> Any:
        return self._told("GET", path, None)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._told("POST", path, body)

    def delete(self, path: str) -> Any:
        return self._told("DELETE", path, None)

    def within(self, timeout_s: float) -> "Client":
        """The same, which waits no longer than that for an answer."""
        return Client(self.url, self._key, timeout_s=timeout_s)

    def post_whole(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> tuple[bytes, http.client.HTTPMessage]:
        """The answer as it came, and what its headers say of it."""
        with self._asked("POST", path, body, headers) as answer:
            return answer.read(), answer.headers

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The chunks of a streamed answer. Raises UpstreamFailed when it breaks off."""
        with self._asked("POST", path, body) as answer:
            for line in answer:
                data = line.strip().removeprefix(b"data: ")
                if data == b"[DONE]":
                    return
                if line.startswith(b"data: "):
                    chunk = json.loads(data)
                    if "error" in chunk:
                        raise UpstreamFailed(chunk["error"]["message"])
                    yield chunk
        raise UpstreamFailed("The answer broke off: the server ended the connection.")

    def upload(self, path: str, file: Path, fields: dict[str, str]) -> Any:
        """Send a file in a form, with the other fields of it."""
        edge = uuid5(NAMESPACE_URL, str(file.resolve())).hex
        parts = [f'--{edge}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields.items()]
        head = f'--{edge}\r\ncontent-disposition: form-data; name="file"; filename="{file.name}"\r\n\r\n'.encode()
        body = b"".join((*parts, head, file.read_bytes(), f"\r\n--{edge}--\r\n".encode()))
        with self._sent("POST", path, body, f"multipart/form-data; boundary={edge}") as answer:
            return json.load(answer)

    def content(self, path: str) -> bytes:
        with self._asked("GET", path, None) as answer:
            return answer.read()

    def first_chat_model(self) -> str:
        listed = [one["id"] for one in self.get("/models")["data"]]
        if not listed:
            raise SetupError(f"{self.url} serves no model")
        return str(listed[0])

    def _told(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        with self._asked(method, path, body) as answer:
            try:
                return json.load(answer)
            except ValueError:
                raise UpstreamFailed(f"what answers at {self.url} does not speak JSON: it is no headrace") from None

    def _asked(self, method: str, path: str, body: dict[str, Any] | None, more: dict[str, str] | None = None) -> http.client.HTTPResponse:
        return self._sent(method, path, json.dumps(body).encode() if body is not None else None, "application/json", more)

    def _sent(
        self, method: str, path: str, body: bytes | None, content_type: str, more: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout_s)
        headers = {"authorization": f"Bearer {self._key}", "content-type": content_type, "connection": "close", **(more or {})}
        try:
            connection.request(method, self._path + path, body, headers)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as wrong:
            reason = "it refuses the connection" if isinstance(wrong, ConnectionRefusedError) else str(wrong) or type(wrong).__name__
            raise UpstreamUnreachable(f"no server answers at {self.url} ({reason}): start one with `headrace serve`") from None
        if answer.status == 200:
            return answer
        raise _refusal(answer.status, answer.read())


def _refusal(status: int, body: bytes) -> HeadraceError:
    try:
        error = json.loads(body)["error"]
        message, code = error["message"], error.get("code")
    except (ValueError, KeyError, TypeError, AttributeError):
        message, code = body.decode("utf-8", "replace")[:200], None
    if code == CostTooHigh.code:
        return CostTooHigh(message)
    if code == SettingsInvalid.code:
        return SettingsInvalid(message)
    return InvalidApiKey(message) if status == 401 else UpstreamFailed(f"the server answers {status}: {message}")


def client_for(place: Place, url: str | None, key: str | None) -> Client:
    """The server that the settings name, or another that was asked for; the key of the data folder, or another."""
    environ = place.environ
    address = url or environ.get("OPENAI_BASE_URL") or f"{_own(place)}/v1"
    return Client(address, _secret(place, key or environ.get("OPENAI_API_KEY")))


def admin_for(place: Place, url: str | None, key: str | None) -> Client:
    """The same for those who administer it, whose routes stand beside the API's. OPENAI_BASE_URL may name a vendor, and is not asked."""
    address = (url or _own(place)).rstrip("/").removesuffix("/v1")
    return Client(address, _secret(place, key), timeout_s=ADMIN_TIMEOUT_S)


def _own(place: Place) -> str:
    server = place.settings().server
    return f"http://{_reachable(server.host)}:{server.port}"


def _secret(place: Place, given: str | None) -> str:
    secret = given or place.development_key()
    if secret is None:
        raise SetupError("there is no development key yet: start the server once with `headrace serve`, or give --key")
    return secret


def _reachable(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- compared with, not bound to
    return f"[{host}]" if ":" in host else host
