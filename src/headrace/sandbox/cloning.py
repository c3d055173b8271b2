"""A repository of git brought into a folder: fetched in the sandbox, which reaches its one host, and nothing of it is run.

Git gets no settings but ours: no hooks, no filters (so files of Git LFS stay pointers), no submodules, no other protocol, and nobody it
could ask for a password. A token goes to it as a header by its environment, and is written nowhere. What comes is bounded in commits, bytes
and time.
"""

import asyncio
import re
import shutil
from base64 import b64encode
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from headrace.core.errors import InvalidRequest, SandboxRefused, SetupError, UpstreamFailed
from headrace.sandbox.command import confined, run_line
from headrace.sandbox.draft import Draft, copy_beneath
from headrace.sandbox.egress import PORTS, Egress, Reach
from headrace.sandbox.level import Level
from headrace.sandbox.limits import Limits, Outcome

LIMITS: Final = Limits(seconds_max=300, draft_bytes_max=1 << 30)
DEPTH: Final = 50
DEPTH_MAX: Final = 10_000
_BRANCH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@-]{0,200}")
_COMMAND: Final = (
    'git clone --quiet --template= --no-recurse-submodules --single-branch --no-tags --depth "$DEPTH" ${BRANCH:+--branch "$BRANCH"} '
    '-- "$SOURCE" out && git -C out remote set-url origin "$ORIGIN"'
)
_SAID: Final = (
    (r"could not read (?:Username|Password)|Authentication failed|terminal prompts disabled", "it needs signing in: give a token"),
    (r"Remote branch \S+ not found", "it has no such branch"),
    (r"repository \S+ not found|does not exist|not appear to be a git repo", "there is no repository there, or it needs signing in"),
    (r"Could not resolve|Failed to connect|Connection (?:refused|reset|timed out)|unable to access", "it can't be reached"),
)
_CLOSED: Final = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "credential.helper": "",
    "filter.lfs.smudge": "",
    "filter.lfs.process": "",
    "filter.lfs.required": "false",
    "submodule.recurse": "false",
    "safe.directory": "*",
    "http.followRedirects": "false",
    "init.defaultBranch": "main",
}


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which repository: an https address, or where it is allowed a folder of this machine. `token` is shown to its host, as the password of
    `user`; `depth` is how many commits back are brought."""

    url: str
    token: str = ""
    user: str = "x-access-token"
    branch: str = ""
    depth: int = DEPTH

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= DEPTH_MAX:
            raise ValueError(f"depth is 1 to {DEPTH_MAX:,}")
        if self.branch and not _BRANCH.fullmatch(self.branch):
            raise ValueError(f"{self.branch!r} is no name of a branch")


async def clone(
    source: Source,
    target: Path,
    place: Path,
    level: Level,
    *,
    local: bool = False,
    ports: frozenset[int] = PORTS,
    private: bool = False,
    limits: Limits = LIMITS,
) -> None:
    """Bring it into `target`, which is not there yet or empty; `place` is a folder of ours that is gone afterwards. `local` allows folders
    of this machine. Raises HeadraceError with a sentence for the person."""
    if await asyncio.to_thread(_is_taken, target):
        raise InvalidRequest(f"{target} holds something already: a repository is brought into a folder of its own.")
    source, place = _without_user(source), await asyncio.to_thread(place.absolute)
    try:
        if "://" in source.url:
            outcome = await _from_host(source, place, level, limits, ports=ports, private=private)
        elif local:
            outcome = await _from_folder(source, place, level, limits)
        else:
            raise InvalidRequest(f"{source.url!r} is no https address of a repository.", param="clone")
        if outcome.exit_code != 0:
            raise failure(source, outcome)
        await asyncio.to_thread(copy_beneath, place / "work" / "out", target)
    finally:
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)


def _is_taken(target: Path) -> bool:
    return target.exists() and (not target.is_dir() or any(target.iterdir()))


def _without_user(source: Source) -> Source:
    """A name and a token that stand in the address are taken out of it, so that they are shown nowhere."""
    parts = urlsplit(source.url)
    if "://" not in source.url or parts.username is None:
        return source
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    token = parts.password or parts.username
    return msgspec.structs.replace(source, url=bare, token=token, user=parts.username if parts.password else source.user)


async def _from_host(source: Source, place: Path, level: Level, limits: Limits, *, ports: frozenset[int], private: bool) -> Outcome:
    parts = urlsplit(source.url)
    if parts.scheme not in ("https", *(("http",) if private else ())) or not parts.hostname:
        raise InvalidRequest(f"Only https addresses are cloned, not {parts.scheme}.", param="clone")
    draft, proxy = Draft.blank(place), place / "proxy.sock"
    egress = Egress(Reach(frozenset((parts.hostname.casefold(),)), ports, private))
    await egress.start(proxy)
    try:
        environment = _environment(source, source.url, parts.scheme)
        outcome = await run_line(confined(_COMMAND, draft, level, limits, proxy=proxy, environment=environment), draft, limits)
    finally:
        await egress.stop()
    if egress.refused and outcome.exit_code != 0:
        raise SandboxRefused(f"{source.url} can't be cloned: {egress.refused[-1]}")
    return outcome


async def _from_folder(source: Source, place: Path, level: Level, limits: Limits) -> Outcome:
    """A copy of the repository is what the sandbox sees."""
    draft = await asyncio.to_thread(_copied, source.url, place)
    shown = "/work" if level.rung == 3 else str(draft.work)
    environment = _environment(source, f"file://{shown}", "file")
    return await run_line(confined(_COMMAND, draft, level, limits, environment=environment), draft, limits)


def _copied(url: str, place: Path) -> Draft:
    folder = Path(url).expanduser()
    repository = folder / ".git" if (folder / ".git").is_dir() else folder
    if not (repository / "objects").is_dir():
        raise InvalidRequest(f"{folder} is no repository of git.", param="clone")
    draft = Draft.begin(repository, place)
    (draft.work / "objects" / "info" / "alternates").unlink(missing_ok=True)  # it leads out
    return draft


def _environment(source: Source, shown: str, protocol: str) -> dict[str, str]:
    settings = dict(_CLOSED)
    if source.token:
        settings[f"http.{source.url}.extraHeader"] = f"Authorization: Basic {b64encode(f'{source.user}:{source.token}'.encode()).decode()}"
    named: dict[str, str] = {}
    for number, (name, value) in enumerate(settings.items()):
        named |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return {
        "SOURCE": shown,
        "ORIGIN": source.url,
        "BRANCH": source.branch,
        "DEPTH": str(source.depth),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ALLOW_PROTOCOL": protocol,
        "GIT_CONFIG_COUNT": str(len(settings)),
        **named,
    }


def failure(source: Source, outcome: Outcome) -> InvalidRequest | UpstreamFailed | SetupError:
    """Why git did not do it, as a sentence for the person, without the token."""
    if outcome.exit_code == 127:
        return SetupError("git is not installed here (Debian, Ubuntu: apt install git).")
    said = outcome.stderr.replace(source.token, "[token]") if source.token else outcome.stderr
    if outcome.says:
        return UpstreamFailed(f"{source.url} was not cloned. {outcome.says}")
    why = next((means for pattern, means in _SAID if re.search(pattern, said, re.IGNORECASE)), "")
    lines = [line for line in said.splitlines() if line.strip()]
    return InvalidRequest(f"{source.url} can't be cloned: {why or (lines[-1] if lines else 'git failed')[:300]}.", param="clone")


def name_of(url: str) -> str:
    """How the folder of a repository is called."""
    name = re.sub(r"\.git$", "", url.rstrip("/").rpartition("/")[2].rpartition(":")[2])
    return re.sub(r"[^A-Za-z0-9._-]", "-", name).strip(".-") or "repository"
