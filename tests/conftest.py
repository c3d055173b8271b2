"""How the suite runs: the profiles of hypothesis, the event loop of async tests, and which tests share a process."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from tests.needs import need_sandbox

# dev: fast enough to be run after each change. ci: the same examples at every run, so that a red build is red for its change, and no
# deadline, since a shared machine may stall. soak: new examples for as long as it lasts; what fails is kept in .hypothesis/.
settings.register_profile("dev", max_examples=100, deadline=None, print_blob=True)
settings.register_profile(
    "ci", max_examples=150, deadline=None, print_blob=True, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
EXAMPLES = int(os.environ.get("HEADRACE_SOAK_EXAMPLES", "20000"))
settings.register_profile("soak", max_examples=EXAMPLES, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
# The suite starts the program some thousand times: where nobody keeps its compiled modules, each start would compile all of them again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(tempfile.gettempdir()) / f"headrace-tests-{os.getuid()}"))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Callable[[], object]]]:
    """Async tests run on the loop that serves."""
    return "asyncio", {"loop_factory": uvloop.new_event_loop}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests that are marked `sandbox` run where commands can be confined so far."""
    if (mark := item.get_closest_marker("sandbox")) is not None:
        need_sandbox(*mark.args)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests that are marked `engine` go to one test process, which loads the model once; and those of a module that has servers of its
    own to one, too, so that each server is started once."""
    for item in items:
        if item.get_closest_marker("engine") is not None:
            item.add_marker(pytest.mark.xdist_group("engine"))
        elif item.path.parent.name in {"contract", "e2e"} and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
