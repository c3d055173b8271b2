"""A browser without eyes: it keeps cookies, and comes from where it says it comes."""

import http.client
import json
import urllib.parse
from typing import Any

from tests.server import Running

OURS = "http://127.0.0.1:8080"
"""Where the settings say that we are; the browser of these tests knows better."""


class Browser:
    """Keeps cookies, follows no redirect by itself, and says where a request comes from, as browsers do."""

    def __init__(self, running: Running) -> None:
        self.running, self.cookies, self.set = running, dict[str, str](), dict[str, str]()

    def ask(self, method: str, address: str, body: Any = None, site: str = "same-origin") -> tuple[int, str, bytes]:
        """Status, where to go, body."""
        parts = urllib.parse.urlsplit(address.replace(OURS, self.running.url))
        line = http.client.HTTPConnection("127.0.0.1", parts.port or self.running.port, timeout=20)
        headers = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()), "sec-fetch-site": site}
        content = body if isinstance(body, str) else None if body is None else json.dumps(body)
        line.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), content, headers)
        answer = line.getresponse()
        said = answer.read()
        for cookie in answer.headers.get_all("set-cookie") or ():
            name, _, rest = cookie.partition("=")
            value, _, terms = rest.partition(";")
            self.set[name] = terms.lower()
            if "max-age=0" in terms.lower():
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        answer.close()
        line.close()
        return answer.status, answer.headers.get("location") or "", said

    def sign_in(self, to: str = "/docs") -> tuple[int, str, bytes]:
        """To the provider and back; the last answer."""
        status, there, said = self.ask("GET", f"/auth/login?next={to}")
        assert status == 303, said
        _, back, _ = self.ask("GET", there, site="cross-site")
        return self.ask("GET", back, site="cross-site")

    def me(self) -> dict[str, Any]:
        status, _, said = self.ask("GET", "/auth/me")
        return json.loads(said) if status == 200 else {"status": status}
