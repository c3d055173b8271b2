"""The injection benchmark can fail: with one label flipped, attacks succeed. Needs AgentDojo:
`sh scripts/environment.sh injection`."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-injection" / "bin" / "python"
pytestmark = [
    pytest.mark.skipif(not PYTHON.exists(), reason="AgentDojo is not installed: sh scripts/environment.sh injection"),
    pytest.mark.timeout(300),
]


def replayed(*options: str) -> tuple[int, dict[str, Any]]:
    ended = subprocess.run(
        [PYTHON, "-m", "bench.injection", "--suite", "slack", "--quick", *options],
        cwd=ROOT,
        env={"PYTHONPATH": "src:."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout, ended.stderr
    figures: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return ended.returncode, figures


def test_no_attack_succeeds_under_the_rules():
    status, figures = replayed()
    assert status == 0
    assert (figures["attacks_run"], figures["attacks_exposed"], figures["attacks_succeeded"]) == (105, 105, 0)
    assert figures["benign_tasks_done"] == 21


@pytest.mark.parametrize("field", ["get_webpage.", "get_channels."])
def test_one_flipped_label_lets_attacks_through(field):
    status, figures = replayed("--sabotage", field)
    assert status != 0
    assert figures["attacks_succeeded"] > 0
