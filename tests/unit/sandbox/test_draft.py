"""Drafts: taken over as a whole, thrown away, undone; and never a way out of the workspace."""

import os
import shutil
from pathlib import Path

import pytest

from headrace.core.errors import SandboxRefused
from headrace.sandbox import Draft
from headrace.sandbox import draft as drafts
from headrace.sandbox.draft import delete_beneath, open_beneath, readable


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "keep").write_text("keep")
    (folder / "src" / "a").write_text("one")
    (folder / "gone").write_text("gone")
    (folder / "node_modules").mkdir()
    (folder / "node_modules" / "big").write_text("x")
    return folder


@pytest.fixture
def draft(project: Path, tmp_path: Path) -> Draft:
    return Draft.begin(project, tmp_path / "drafts" / "r1")


def held(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def work(draft: Draft) -> None:
    (draft.work / "src" / "a").write_text("two")
    (draft.work / "new").mkdir()
    (draft.work / "new" / "b").write_text("b")
    (draft.work / "new" / "b").chmod(0o700)
    (draft.work / "gone").unlink()


def test_taking_over_and_undoing_leave_what_was_there(draft, project):
    before = held(project)
    work(draft)
    assert [(change.path, change.kind) for change in draft.changes()] == [("gone", "deleted"), ("new/b", "added"), ("src/a", "changed")]
    draft.take_over()
    assert held(project) == {"keep": "keep", "src/a": "two", "new/b": "b", "node_modules/big": "x"}
    assert (project / "new" / "b").stat().st_mode & 0o777 == 0o755
    again = Draft.open(draft.place)
    assert again is not None
    again.undo()
    assert held(project) == before


def test_undoing_leaves_no_folder_that_was_made_for_it(draft, project):
    work(draft)
    (project / "empty").mkdir()
    draft.take_over()
    draft.undo()
    assert not (project / "new").exists()
    assert (project / "empty").is_dir()


def folders(path: Path) -> Draft:
    found = Draft.open(path)
    assert found is not None
    return found


@pytest.mark.parametrize("cut", range(1, 4))
@pytest.mark.parametrize("what", ["take_over", "undo"])
def test_cut_off_in_the_middle_it_is_finished_by_doing_it_again(draft, project, monkeypatch, cut, what):
    before = held(project)
    work(draft)
    if what == "undo":
        draft.take_over()
    left, apply = cut, Draft._apply

    def dying(self, change, source):
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        apply(self, change, source)

    monkeypatch.setattr(Draft, "_apply", dying)
    with pytest.raises(KeyboardInterrupt):
        getattr(draft, what)()
    monkeypatch.setattr(Draft, "_apply", apply)
    getattr(folders(draft.place), what)()
    if what == "take_over":
        assert held(project) == {"keep": "keep", "src/a": "two", "new/b": "b", "node_modules/big": "x"}
        folders(draft.place).undo()
    assert held(project) == before


def test_more_work_after_taking_over_is_taken_over_too_and_undone_with_it(draft, project):
    before = held(project)
    work(draft)
    draft.take_over()
    (draft.work / "src" / "a").write_text("three")
    (draft.work / "new" / "b").unlink()
    (draft.work / "late").write_text("late")
    draft.take_over()
    assert held(project) == {"keep": "keep", "late": "late", "src/a": "three", "node_modules/big": "x"}
    draft.undo()
    assert held(project) == before


def test_the_difference_is_that_of_the_texts(draft):
    work(draft)
    (draft.work / "picture").write_bytes(b"\0\1")
    (draft.work / "door").symlink_to("keep")
    for _ in range(2):
        said = "".join(draft.difference())
        for part in (
            "--- a/src/a\n+++ b/src/a\n@@ -1 +1 @@\n-one\n\\ No newline",
            "+two\n",
            "--- a/gone\n+++ /dev/null\n",
            "+++ b/new/b\n",
            "Binary file picture added\n",
            "+link to keep\n",
        ):
            assert part in said
        draft.take_over()


def test_throwing_away_leaves_nothing(draft, project):
    before = held(project)
    work(draft)
    draft.discard()
    assert held(project) == before
    assert not draft.place.exists()
    assert Draft.open(draft.place) is None


def test_what_the_person_changed_meanwhile_stops_it_whole(draft, project):
    work(draft)
    (project / "src" / "a").write_text("mine")
    with pytest.raises(SandboxRefused, match="src/a was changed while the task ran"):
        draft.take_over()
    assert (project / "gone").exists()


def test_what_was_changed_since_stops_undoing(draft, project):
    work(draft)
    draft.take_over()
    (project / "new" / "b").write_text("mine")
    with pytest.raises(SandboxRefused, match="new/b was changed since"):
        draft.undo()
    assert (project / "src" / "a").read_text() == "two"


def test_nothing_taken_is_nothing_to_undo(draft):
    with pytest.raises(SandboxRefused, match="nothing to undo"):
        draft.undo()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside"])
def test_a_link_that_leads_out_is_not_taken_over(draft, project, target):
    (draft.work / "link").symlink_to(target)
    with pytest.raises(SandboxRefused, match="link that leads out"):
        draft.take_over()
    assert not (project / "link").is_symlink()


def unreadable(folder: Path, leads_to: bytes | None) -> None:
    """A file whose name is no text, or a link of a good name that leads to one."""
    there = os.fsencode(folder)
    if leads_to is None:
        with open(there + b"/no-\xff", "w") as file:
            file.write("x")
    else:
        os.symlink(leads_to, there + b"/link")


@pytest.mark.parametrize(("leads_to", "shown"), [(None, "no-\ufffd"), (b"to-\xff", "link")])
def test_a_name_that_is_no_text_is_shown_and_not_taken_over(draft, project, leads_to, shown):
    unreadable(draft.work, leads_to)
    before = held(project)
    with pytest.raises(SandboxRefused, match=f"^{shown} has a name, or leads to one, that is no text"):
        draft.take_over()
    assert held(project) == before
    (draft.work / "keep").write_text("kept")
    assert [change.path for change in draft.take_over({"keep": None})] == ["keep"]
    assert {readable(change.path) for change in draft.changes()} == {"keep", shown}


@pytest.mark.parametrize("leads_to", [None, b"to-\xff"])
def test_a_folder_with_a_name_that_is_no_text_is_refused(project, tmp_path, leads_to):
    unreadable(project, leads_to)
    with pytest.raises(SandboxRefused, match="that is no text: rename it first"):
        Draft.begin(project, tmp_path / "drafts" / "r2")


def test_a_link_inside_is_taken_over_as_a_link(draft, project):
    (draft.work / "src" / "link").symlink_to("../keep")
    draft.take_over()
    assert os.readlink(project / "src" / "link") == "../keep"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_files_stay_their_owners(draft, project):
    os.chown(project / "src" / "a", 1234, 1234)
    os.chown(project, 4321, 4321)
    work(draft)
    (draft.work / "plain").write_text("x")
    draft.take_over()
    assert [(project / name).stat().st_uid for name in ("src/a", "plain")] == [1234, 4321]


@pytest.mark.parametrize("path", [".git/hooks/pre-commit", ".git/config", "sub/.git/config"])
def test_what_git_would_run_is_never_taken_over(draft, project, path):
    (draft.work / path).parent.mkdir(parents=True, exist_ok=True)
    (draft.work / path).write_text("evil")
    assert draft.changes() == ()
    draft.take_over()
    assert not (project / path).exists()


def test_nothing_is_written_through_a_link(draft, project, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (draft.work / "door").mkdir()
    (draft.work / "door" / "x").write_text("x")
    (project / "door").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SandboxRefused, match="nothing is written through it"):
        draft.take_over()
    assert not (tmp_path / "elsewhere" / "x").exists()


def test_a_folder_too_large_is_refused(project, tmp_path, monkeypatch):
    monkeypatch.setattr(drafts, "FILES_MAX", 2)
    with pytest.raises(SandboxRefused, match="choose a smaller one"):
        Draft.begin(project, tmp_path / "d")


def test_no_folder_is_refused(tmp_path):
    with pytest.raises(SandboxRefused, match="no folder"):
        Draft.begin(tmp_path / "none", tmp_path / "d")


@pytest.mark.parametrize("path", ["", "..", "../x", "/etc/passwd", "a/../../x"])
def test_a_path_out_of_the_workspace_is_not_opened(draft, path):
    with pytest.raises(SandboxRefused, match="outside of the workspace"):
        open_beneath(draft.work, path, os.O_RDONLY)


def test_links_are_not_followed(draft, tmp_path):
    (draft.work / "link").symlink_to(tmp_path)
    (draft.work / "file").symlink_to("/etc/passwd")
    for path in ("link/x", "file"):
        with pytest.raises(SandboxRefused, match="can't be opened"):
            open_beneath(draft.work, path, os.O_RDONLY)


def test_a_pipe_is_no_file_and_nobody_waits_for_it(draft):
    os.mkfifo(draft.work / "pipe")
    with pytest.raises(SandboxRefused, match="no plain file"):
        open_beneath(draft.work, "pipe", os.O_RDONLY)
    assert draft.changes() == ()


def test_a_file_is_made_with_its_folders(draft):
    os.close(open_beneath(draft.work, "x/y/z", os.O_WRONLY | os.O_CREAT))
    assert (draft.work / "x" / "y" / "z").is_file()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A folder of this machine, with a file that no task may see."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "x").write_text("secret")
    return folder


def turn_into_link(folder: Path, to: Path) -> None:
    """As a task may do it while we look."""
    shutil.rmtree(folder)
    folder.symlink_to(to)


def test_a_folder_that_becomes_a_link_leads_nowhere(draft, project, secret, monkeypatch):
    (draft.work / "d").mkdir()
    (draft.work / "d" / "x").write_text("plain")
    found = draft.changes()
    turn_into_link(draft.work / "d", secret)
    monkeypatch.setattr(Draft, "changes", lambda self: found)
    assert "secret" not in "".join(draft.difference())
    with pytest.raises(SandboxRefused, match="changed while it was taken over"):
        draft.take_over()
    assert not (project / "d" / "x").exists()
    with pytest.raises(SandboxRefused, match="can't be deleted"):
        delete_beneath(draft.work, "d/x")
    assert (secret / "x").exists()


def test_a_draft_is_copied_without_what_becomes_a_link(draft, secret, tmp_path, monkeypatch):
    (draft.work / "d").mkdir()
    (draft.work / "d" / "x").write_text("plain")
    (draft.work / "node_modules").mkdir()
    (draft.work / "node_modules" / "y").write_text("y")
    os.mkfifo(draft.place / "pipe")
    draft.copy(tmp_path / "before")
    assert held(tmp_path / "before" / "work") == held(draft.work)
    copy = drafts._copy_found

    def late(entry: drafts.Found, target: Path) -> None:
        copy(entry, target)
        if entry.path == "d":
            turn_into_link(draft.work / "d", secret)

    monkeypatch.setattr(drafts, "_copy_found", late)
    draft.copy(tmp_path / "after")
    assert not (tmp_path / "after" / "work" / "d" / "x").exists()


def test_what_goes_while_it_is_weighed_weighs_nothing(draft, monkeypatch):
    weight, listed = draft.weight().bytes, os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: [*listed(folder), "gone-by-now"])
    assert draft.weight().bytes == weight > 0
