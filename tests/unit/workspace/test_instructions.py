"""What a folder brings along is context, labelled by whether the person trusts the folder."""

from pathlib import Path

import pytest

from headrace.agents import Writers
from headrace.sandbox import Draft
from headrace.workspace import brought_along


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "project" / "skills" / "tidy").mkdir(parents=True)
    (tmp_path / "project" / "skills" / "tidy" / "SKILL.md").write_text("---\nname: tidy\ndescription: Tidies up.\n---\nSweep.\n")
    (tmp_path / "project" / "skills" / "SKILL.md").write_text("no front matter")
    (tmp_path / "project" / "AGENTS.md").write_text("Use tabs.")
    return tmp_path


@pytest.mark.parametrize(("trusted", "writers"), [(True, Writers.INSIDE), (False, Writers.ANYONE)])
def test_instructions_and_skills(folder, trusted, writers):
    rules, skills = brought_along(Draft.begin(folder / "project", folder / "draft"), trusted=trusted)
    assert (rules.text, rules.writers) == ("Use tabs.", writers)
    assert (skills.text, skills.writers) == ("tidy: Tidies up. (skills/tidy/SKILL.md)", writers)


def test_a_folder_that_brings_nothing(tmp_path):
    (tmp_path / "project").mkdir()
    assert brought_along(Draft.begin(tmp_path / "project", tmp_path / "draft"), trusted=True) == ()


def test_a_link_is_not_read(folder):
    (folder / "project" / "AGENTS.md").unlink()
    (folder / "project" / "AGENTS.md").symlink_to("/etc/passwd")
    (named,) = brought_along(Draft.begin(folder / "project", folder / "draft"), trusted=True)
    assert named.name == "skills of this folder"
