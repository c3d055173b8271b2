"""Where data lies that is not ours to ship: beside the repository, in ../shared/data."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def shared(*parts: str) -> Path:
    """A file of the shared data, whether or not it is there: looked for beside the repository, and beside its main checkout."""
    for base in (ROOT.parent, ROOT.parent.parent, *_main_checkout()):
        path = base.joinpath("shared", "data", *parts)
        if path.exists():
            return path
    return ROOT.parent.joinpath("shared", "data", *parts)


def _main_checkout() -> tuple[Path, ...]:
    """Of a linked worktree, the folder in which the repository it belongs to lies."""
    link = ROOT / ".git"
    if not link.is_file():
        return ()
    common = Path(link.read_text(encoding="utf-8").partition("gitdir:")[2].strip()).parents[2]
    return (common, common.parent)
