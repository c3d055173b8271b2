"""A draft kept and given up piece by piece, and still undone as a whole."""

from pathlib import Path

import pytest

from headrace.core.errors import Conflict, InvalidRequest, SandboxRefused
from headrace.sandbox import Choice, Draft, drop, keep, review

TEN = [b"%d\n" % number for number in range(10)]


def lines(**changed: bytes) -> bytes:
    """Ten numbered lines, of which some say something else: `_3=b"three\\n"`."""
    return b"".join(changed.get(f"_{number}", line) for number, line in enumerate(TEN))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "list").write_bytes(lines())
    (folder / "moved").write_bytes(lines(_9=b"nine"))
    (folder / "dos").write_bytes(b"a\r\nb\r\n")
    (folder / "gone").write_bytes(b"gone")
    (folder / "picture").write_bytes(b"\x00\x01")
    (folder / "tool").write_text("#!/bin/sh\n")
    return folder


@pytest.fixture
def draft(project: Path, tmp_path: Path) -> Draft:
    draft = Draft.begin(project, tmp_path / "drafts" / "r1")
    work = draft.work
    (work / "src" / "list").write_bytes(lines(_0=b"zero\n", _5=b"", _9=b"nine"))
    (work / "moved").unlink()
    (work / "renamed").write_bytes(lines(_0=b"none\n", _9=b"nine\n"))
    (work / "dos").write_bytes(b"a\r\nB\r\nc")
    (work / "gone").unlink()
    (work / "picture").write_bytes(b"\x00\x02")
    (work / "tool").chmod(0o755)
    (work / "new").write_bytes(b"new")
    return draft


def held(folder: Path) -> dict[str, tuple[bytes, bool]]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), bool(path.stat().st_mode & 0o100)) for path in found}


def test_what_waits_is_told_in_pieces(draft):
    told = {one.path: (one.kind, None if one.hunks is None else len(one.hunks), one.whole.partition(",")[0]) for one in review(draft)}
    assert told == {
        "dos": ("changed", 1, ""),
        "gone": ("deleted", 1, ""),
        "new": ("added", 1, ""),
        "picture": ("changed", None, "it is no text"),
        "renamed": ("renamed", 2, ""),
        "src/list": ("changed", 3, ""),
        "tool": ("changed", None, "only whether it may be run changes"),
    }


def test_pieces_are_taken_over_one_after_the_other_until_all_is_and_all_is_undone(draft, project):
    before = held(project)
    keep(draft, [Choice("src/list", (0, 2))])
    assert (project / "src" / "list").read_bytes() == lines(_0=b"zero\n", _9=b"nine")
    assert [len(one.hunks or ()) for one in review(draft) if one.path == "src/list"] == [1]
    keep(draft, [Choice("renamed", ())])  # the new name, and none of what was changed in it
    assert not (project / "moved").exists()
    assert (project / "renamed").read_bytes() == lines(_9=b"nine")
    keep(draft, [Choice("picture"), Choice("tool"), Choice("gone", ())])
    assert held(project)["tool"][1]
    assert (project / "gone").exists()
    keep(draft, [Choice(one.path) for one in review(draft)])
    assert review(draft) == ()
    assert held(project) == held(draft.work)
    draft.undo()
    assert held(project) == before


def test_keeping_everything_is_taking_over(draft, project, tmp_path):
    draft.copy(tmp_path / "twin")
    twin = Draft.open(tmp_path / "twin")
    assert twin is not None
    keep(draft, [Choice(one.path, None if one.hunks is None else tuple(range(len(one.hunks)))) for one in review(draft)])
    by_pieces = held(project)
    draft.undo()
    twin.take_over()
    assert held(project) == by_pieces


def test_what_is_given_up_is_gone_from_the_draft(draft, project):
    drop(draft, [Choice("src/list", (1,)), Choice("renamed"), Choice("new"), Choice("picture"), Choice("gone"), Choice("tool")])
    assert (draft.work / "src" / "list").read_bytes() == lines(_0=b"zero\n", _9=b"nine")
    assert {one.path for one in review(draft)} == {"dos", "src/list"}
    drop(draft, [Choice("dos"), Choice("src/list")])
    assert review(draft) == ()
    assert held(draft.work) == held(project)


def test_what_the_task_puts_back_is_put_back_in_pieces_too(draft, project):
    before = held(project)
    keep(draft, [Choice("src/list")])
    (draft.work / "src" / "list").write_bytes(lines())
    keep(draft, [Choice("src/list", (1,))])
    assert (project / "src" / "list").read_bytes() == lines(_0=b"zero\n", _9=b"nine")
    keep(draft, [Choice("src/list")])
    assert (project / "src" / "list").read_bytes() == lines()
    draft.undo()
    assert held(project) == before


@pytest.mark.parametrize("late", [False, True])
def test_cut_off_in_the_middle_it_is_done_again(draft, project, monkeypatch, late):
    before = held(project)
    if late:
        keep(draft, [Choice("src/list", (0,))])
    apply = Draft._apply

    def dying(self, change, source):
        if late:
            raise KeyboardInterrupt
        apply(self, change, source)
        raise KeyboardInterrupt

    monkeypatch.setattr(Draft, "_apply", dying)
    with pytest.raises(KeyboardInterrupt):
        keep(draft, [Choice("src/list", (0, 1)), Choice("dos")])
    monkeypatch.setattr(Draft, "_apply", apply)
    keep(draft, [Choice(one.path) for one in review(draft)])
    assert held(project) == held(draft.work)
    draft.undo()
    assert held(project) == before


def test_a_choice_on_what_has_changed_since_is_refused_and_so_is_what_there_is_not(draft, project):
    (seen,) = [one for one in review(draft) if one.path == "src/list"]
    (draft.work / "src" / "list").write_bytes(b"other")
    with pytest.raises(Conflict, match="changed since you looked"):
        keep(draft, [Choice("src/list", (0,), seen.version)])
    with pytest.raises(Conflict, match="Nothing of src/none waits"):
        keep(draft, [Choice("src/none")])
    with pytest.raises(InvalidRequest, match="kept or left whole"):
        keep(draft, [Choice("picture", (0,))])
    with pytest.raises(InvalidRequest, match="has 1 pieces"):
        drop(draft, [Choice("dos", (3,))])
    (project / "dos").write_bytes(b"mine")
    assert [one.foreign for one in review(draft) if one.path == "dos"] == [True]
    with pytest.raises(SandboxRefused, match="changed while the task ran"):
        keep(draft, [Choice("dos")])
