"""Reports of plans and simulations that are kept: one file each, in a folder of the data folder, the latest so many of them."""

from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from headrace.core.clock import Moment
from headrace.core.errors import NotFound
from headrace.core.shown import Shown

KEPT_MAX: Final = 200
ReportKind: TypeAlias = Literal["plan", "simulation"]


class KeptHead(msgspec.Struct, frozen=True, kw_only=True):
    """What a list tells. `line` is the command that made it, to be given again."""

    id: str
    kind: ReportKind
    made: Moment
    line: str
    title: str
    good: bool | None


class KeptReport(msgspec.Struct, frozen=True, kw_only=True):
    """`shown` is what is looked at, and `whole` all figures, as the command's `--json` or `--format json` writes them."""

    id: str
    kind: ReportKind
    made: Moment
    line: str
    shown: Shown
    whole: msgspec.Raw

    @property
    def head(self) -> KeptHead:
        return KeptHead(id=self.id, kind=self.kind, made=self.made, line=self.line, title=self.shown.title, good=self.shown.good)


class Reports:
    """The folder. It need not exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, report: KeptReport) -> None:
        """Write it, and let the oldest go that are too many."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._folder / f".{report.id}"
        fresh.write_bytes(msgspec.json.encode(report))
        fresh.replace(self._folder / f"{report.id}.json")
        for path in self._paths()[KEPT_MAX:]:
            path.unlink(missing_ok=True)

    def heads(self) -> list[KeptHead]:
        """The latest first. A file that is none of ours is passed over."""
        found = []
        for path in self._paths():
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=KeptReport).head)
            except (OSError, msgspec.MsgspecError):
                continue
        return sorted(found, key=lambda head: -head.made)

    def get(self, id: str) -> KeptReport:
        """Raises NotFound."""
        path = self._folder / f"{id}.json"
        if not id.replace("_", "").isalnum() or not path.exists():
            raise NotFound("Report", id)
        try:
            return msgspec.json.decode(path.read_bytes(), type=KeptReport)
        except msgspec.MsgspecError:
            raise NotFound("Report", id) from None

    def drop(self, id: str) -> None:
        """Raises NotFound."""
        self.get(id)
        (self._folder / f"{id}.json").unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        """The latest first: ids sort by time."""
        return sorted(self._folder.glob("[!.]*.json"), reverse=True) if self._folder.exists() else []
