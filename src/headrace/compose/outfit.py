"""What agents are equipped with, from the settings; secrets are read from the environment here."""

import shutil
from collections.abc import Mapping
from importlib.util import find_spec

from headrace.compose.clock import MachineClock, Names
from headrace.compose.place import secret_of
from headrace.compose.settings import Settings
from headrace.workspace import Outfit, ServerSecrets


def outfit_of(settings: Settings, environ: Mapping[str, str]) -> Outfit:
    """The servers and other agents that agents may use, with what they need. Raises SettingsInvalid when a secret is not set."""
    secrets = {
        terms.name: ServerSecrets(
            token=None if terms.token_env is None else secret_of(environ, terms.token_env, f"mcp {terms.name!r}"),
            environment={name: secret_of(environ, held, f"mcp {terms.name!r}") for name, held in terms.environment.items()},
        )
        for terms in settings.mcp
    }
    browser = browser_of(settings, environ)
    tokens = {
        terms.name: secret_of(environ, terms.token_env, f"a2a {terms.name!r}") for terms in settings.a2a if terms.token_env is not None
    }
    return Outfit(
        servers=settings.mcp,
        secrets=secrets,
        private=settings.agents.private_networks,
        ports=frozenset(settings.agents.ports),
        browser=browser,
        agents=settings.a2a,
        tokens=tokens,
        new_id=Names(MachineClock()),
    )


def browser_of(settings: Settings, environ: Mapping[str, str]) -> str | None:
    """The browser's program, where it and what drives it are installed."""
    if not settings.agents.browser or find_spec("playwright") is None:
        return None
    return shutil.which(settings.agents.browser, path=environ.get("PATH"))
