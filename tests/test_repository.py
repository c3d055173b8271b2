"""The repository keeps its own promises: what a newcomer reads is there, and nothing in it belongs to one machine."""

import ast
import configparser
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from scripts.page_types import PATH, written

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "headrace"
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
TEXT = {".cfg", ".css", ".html", ".ini", ".js", ".json", ".md", ".py", ".sh", ".toml", ".ts", ".txt", ".yml", ""}

# The heads of the house: rooms that only decide. A new one belongs in .importlinter's contract too.
HEADS = {"core", "wire", "portfolio", "routing", "metering", "agents"}


def rooms() -> list[Path]:
    return [folder for folder in sorted(PACKAGE.iterdir()) if folder.is_dir() and any(folder.glob("*.py"))]


def published() -> list[Path]:
    """Every text file that a clone holds, or would."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).suffix in TEXT and path.is_file()]


def test_lock_files_name_no_host() -> None:
    assert [lock.name for lock in LOCKS] == ["clients.txt", "dev.txt", "injection.txt", "routers.txt", "serve.txt"]
    for lock in LOCKS:
        text = lock.read_text()
        assert "://" not in text, f"{lock.name} names a host"
        assert not re.search(r"^\s*(-i|-f|--(extra-)?index-url|--find-links|--trusted-host)\b", text, re.MULTILINE)


def test_the_pages_packages_are_named_by_hash_and_at_no_host() -> None:
    packages = json.loads((ROOT / "web" / "package-lock.json").read_text())["packages"]
    assert len(packages) > 20
    for name, one in packages.items():
        assert "resolved" not in one, name
        assert not name or one["integrity"].startswith("sha512-"), name


def test_the_page_knows_the_servers_values_as_they_are() -> None:
    assert PATH.read_text() == written(), "python -m scripts.page_types"


def test_every_locked_package_is_pinned_and_hashed() -> None:
    for lock in LOCKS:
        for block in re.split(r"\n(?=[a-z0-9])", lock.read_text()):
            first, *rest = block.splitlines()
            assert "==" in first, f"{lock.name}: {first} is not pinned"
            assert any("--hash=sha256:" in line for line in rest), f"{lock.name}: {first} has no hash"


def test_what_serves_is_also_what_is_tested() -> None:
    pins = [set(re.findall(r"^([a-z0-9._-]+==\S+)", lock.read_text(), re.MULTILINE)) for lock in LOCKS]
    _clients, development, _injection, _routers, serving = pins
    assert serving <= development


def test_no_path_of_a_machine() -> None:
    # Spelt in two pieces, so that this file may be read as well.
    machine = re.compile("|".join(["/" + "root/", "/" + "work/", "/" + r"home/[a-z]+/", "/" + r"Users/[A-Za-z]+/"]))
    found = {
        str(path.relative_to(ROOT)): hit.group()
        for path in published()
        if (hit := machine.search(path.read_text(encoding="utf-8", errors="replace")))
    }
    assert found == {}


def test_readme_shows_the_two_commands_and_fits_a_screen() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "make serve" in readme
    assert "make test" in readme
    assert len(readme.splitlines()) <= 90


@pytest.mark.parametrize("name", ["LICENSE", "NOTICE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs/start.md"])
def test_what_a_stranger_looks_for_is_there(name: str) -> None:
    assert (ROOT / name).read_text().strip()


def test_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "APPENDIX" in text


@pytest.mark.parametrize("room", rooms(), ids=lambda room: room.name)
def test_a_room_says_what_is_public(room: Path) -> None:
    door = room / "__init__.py"
    assert door.is_file(), f"{room.name} has no __init__.py"
    assert ast.get_docstring(ast.parse(door.read_text())), f"{room.name}/__init__.py does not say what the room is for"
    assert re.search(r"^__all__\b", door.read_text(), re.MULTILINE), f"{room.name}/__init__.py has no __all__"


def test_every_head_is_held_to_decide_only() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    held = set(contracts["importlinter:contract:heads"]["source_modules"].split())
    assert held == {f"headrace.{room.name}" for room in rooms() if room.name in HEADS}


def test_the_makefile_has_the_words() -> None:
    words = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert words >= {"serve", "test", "check", "fix", "bench", "soak", "lock", "system", "clean"}


def test_version_has_its_changelog_entry() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert "## Unreleased" in changes or f"## {version}" in changes


def test_no_module_is_called_after_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    assert [str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*.py") if path.stem in vague] == []
