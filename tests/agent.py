"""Another agent, that speaks A2A 1.0 as HTTP says it, without a library."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from tests.server import Installation, Running, pool, priced
from tests.talker import Talker
from tests.visitor import Visitor


def house(folder: Path, talker: Talker, agents: str) -> Installation:
    """Where other agents give tasks, with a pool for each model that they ask for; `agents` are settings of `[agents]`."""
    pools = "".join(pool(model, talker.url, model) + priced(model) for model in ("coder", "visitor", "slow"))
    return Installation(folder, f"[agents]\nbrowser = ''\n{agents}\n{pools}")


class Agent:
    """Another agent, with a key that may ask for one model alone."""

    def __init__(self, server: Running, place: Installation, model: str) -> None:
        self.key = place.run("keys", "create", f"agent-{model}", "--models", model).stdout.strip()
        self._visitor, self._count, self.url = Visitor(server), 0, server.url

    def post(self, path: str, body: object, version: str = "1.0", key: str | None = None) -> tuple[int, Any]:
        return self._visitor.call("POST", path, body, a2a_version=version, authorization=f"Bearer {key or self.key}")

    def get(self, path: str) -> tuple[int, Any]:
        return self._visitor.call("GET", path, a2a_version="1.0", authorization=f"Bearer {self.key}")

    def delete(self, path: str) -> tuple[int, Any]:
        return self._visitor.call("DELETE", path, a2a_version="1.0", authorization=f"Bearer {self.key}")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """What is answered: `result` or `error`."""
        status, told = self.post("/a2a", {"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
        assert (status, told["id"], told["jsonrpc"]) == (200, 7, "2.0")
        answer: dict[str, Any] = told
        return answer

    def message(self, text: str, **more: Any) -> dict[str, Any]:
        self._count += 1
        return {"messageId": f"{self.key[-6:]}-{self._count}", "role": "ROLE_USER", "parts": [{"text": text}], **more}

    def send(self, text: str, *, wait: bool = True, **more: Any) -> dict[str, Any]:
        sent = self.call("SendMessage", message=self.message(text, **more), configuration={"returnImmediately": not wait})
        task: dict[str, Any] = sent["result"]["task"]
        return task

    def stream(self, method: str, **params: Any) -> list[dict[str, Any]]:
        body = json.dumps({"jsonrpc": "2.0", "id": 8, "method": method, "params": params}).encode()
        headers = {"authorization": f"Bearer {self.key}", "a2a-version": "1.0", "content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/a2a", body, headers), timeout=30) as answer:
            return [json.loads(line[6:])["result"] for line in answer if line.startswith(b"data: ")]


def state(task: dict[str, Any]) -> str:
    return str(task["status"]["state"]).removeprefix("TASK_STATE_")
