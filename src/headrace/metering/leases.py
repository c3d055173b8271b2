"""What the store decides: how much of an account each holder may have.

Of every account, at every moment:  limit = available + what is leased + what was spent by holders that are gone.

A lease is what was granted to a holder and it has not returned; spending does not end it, only the holder's own end does. Holders tell
numbers that only grow, so that a report that comes twice, late or out of order changes nothing. A holder is one life of one process, by
its epoch: after its end was booked, whatever is said in its name is refused. It ends by saying so, or by what its usage log shows after
its death, with what had no end held at its bound.

A request that waits gets what it lacks to the last pico-dollar there is. Beyond that a holder may keep a cushion, so that the next ones
need not wait; all cushions together are no more than one twentieth of what is neither spent nor held. While somebody lacks what others
have in their cushions, those are called in.
"""

import msgspec

from headrace.metering.purse import Said, Told

CUSHION_PERMILLE = 50


class Lease(msgspec.Struct):
    """One holder's part, as far as the store has heard."""

    granted: int = 0
    returned: int = 0
    settled: int = 0
    held: int = 0

    @property
    def outstanding(self) -> int:
        return self.granted - self.returned

    @property
    def free(self) -> int:
        return self.outstanding - self.settled - self.held


class Account(msgspec.Struct):
    """`spent` is what holders that are gone have spent, and corrections. `short`: somebody waits for what others have free."""

    limit: int
    mode: str = "hard"
    spent: int = 0
    short: bool = False
    leases: dict[int, Lease] = {}

    @property
    def leased(self) -> int:
        return sum(lease.outstanding for lease in self.leases.values())

    @property
    def available(self) -> int:
        """What nobody has; below zero where the limit was lowered under what is leased and spent, or a vendor billed beyond a bound."""
        return self.limit - self.spent - self.leased

    @property
    def spent_in_all(self) -> int:
        return self.spent + sum(lease.settled for lease in self.leases.values())

    @property
    def held_in_all(self) -> int:
        return sum(lease.held for lease in self.leases.values())


def lend(account: Account, holder: int, said: Said) -> Told:
    """Take in what a holder says of its slice, and answer with what it may have."""
    lease = account.leases.setdefault(holder, Lease())
    lease.returned = max(lease.returned, said.returned)
    if said.settled >= lease.settled:  # a late report does not know better what is held
        lease.settled, lease.held = said.settled, said.held
    if account.mode != "hard":
        lease.granted = lease.settled + lease.returned
        return _told(account, holder, lease, 0)
    keepers = max(1, len(account.leases))
    available = account.available
    others_free = sum(max(0, one.free) for number, one in account.leases.items() if number != holder)
    given = 0
    if said.need > 0:
        given = said.need if said.need <= available else available if said.least <= available else 0
        account.short = not given and said.least <= available + others_free
        lease.granted += given
        available -= given
    unspent = max(0, account.limit - account.spent_in_all - account.held_in_all - given)
    cushions = unspent * CUSHION_PERMILLE // 1_000
    cushion = 0 if account.short or said.idle else cushions // keepers
    room = min(available, cushion - max(0, lease.free - given), cushions - others_free - max(0, lease.free - given))
    if room > 0 and not said.need > given:
        lease.granted += room
    return _told(account, holder, lease, cushion)


def close(account: Account, holder: int, settled: int, held: int) -> None:
    """A holder is gone: what it had spent, and what it held and nobody knows the end of, is spent; the rest is there again."""
    account.leases.pop(holder, None)
    account.spent += settled + held


def correct(account: Account, before: int, after: int) -> None:
    """Something that was booked at `before` turns out to cost `after`."""
    account.spent += after - before


def _told(account: Account, holder: int, lease: Lease, cushion: int) -> Told:
    spent_by_others = account.spent_in_all - lease.settled
    return Told(0, lease.granted, cushion, spent_by_others, account.limit, max(0, account.available), account.short)


def crossed(account: Account, alerts_percent: tuple[int, ...]) -> tuple[int, ...]:
    """Which of these parts of the budget are spent."""
    spent = account.spent_in_all
    return tuple(percent for percent in alerts_percent if spent * 100 >= account.limit * percent)
