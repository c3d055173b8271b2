"""What a worker tells the bank of its slices."""

from pathlib import Path

from headrace.metering import AccountOpening, Slice
from headrace.storage import BankLink
from headrace.storage.banklink import QUIET_LOOKS_MAX


async def test_a_slice_that_somebody_waits_for_is_not_idle(tmp_path: Path) -> None:
    """After a rest the first request is leased a reserve at once, for those that come behind it."""
    one = Slice(AccountOpening("acme", "acme", "", "", 1 << 62, 1_000, "hard", ()))
    one.account, one.touched = 1, False
    link = BankLink(
        tmp_path / "bank",
        slices=lambda: {"acme": one},
        place=lambda: ("process_1", 0),
        pid=1,
        new_process=lambda: "process_1",
        moment=lambda: 0,
        forget=lambda gone: None,
        fenced=lambda: None,
        rules=lambda contents: None,
        hosts=lambda count: None,
    )
    link._quiet["acme"] = QUIET_LOOKS_MAX + 1
    one.touched = True
    link._looked_at = 1 << 62
    assert [said.idle for said in link._beat([]).saids] == [True]
    one.needs.append(10)
    assert [(said.need, said.idle) for said in link._beat([one]).saids] == [(10, False)]
