"""A worker's money: slices of accounts that it has leased, held for requests and spent, in integers, with nobody to wait for.

Of every slice, at every moment:  granted − returned = free + held + settled.

`reserve` takes a request's bound from the free part of all its slices or of none. What the request comes to cost is settled out of what
is held, and what is left of the bound is free again. A slice that has too little is not an answer yet: its owner asks for more, see
`leases`. Everything that is told to the store only grows, so that what is lost, doubled or late on the way there does no harm.
"""

import msgspec

from headrace.metering.budgets import AccountOpening, Mode


class Said(msgspec.Struct, frozen=True, array_like=True):
    """What a holder tells of one of its slices. `need`: so much more must be free for the requests that wait, and `least` is what one of
    them would do with; `idle`: it asks for nothing beforehand."""

    account: int
    returned: int
    settled: int
    held: int
    need: int = 0
    least: int = 0
    idle: bool = False


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What the store answers: all that was granted so far, how much may lie free there, what all others have spent, the amount of the
    budget, and how much nobody has. `short`: somebody lacks what others have free, who are asked to give it back."""

    account: int
    granted: int
    cushion: int
    spent_by_others: int
    limit_pico: int
    available: int
    short: bool = False


class Slice:
    """One worker's part of one account."""

    __slots__ = (
        "account",
        "available",
        "cushion",
        "free",
        "granted",
        "held",
        "limit_pico",
        "mode",
        "needs",
        "opening",
        "returned",
        "settled",
        "short",
        "spent_by_others",
        "touched",
    )

    def __init__(self, opening: AccountOpening) -> None:
        self.opening = opening
        self.account: int | None = None
        """The store's number for it; None until the store was asked."""
        self.mode: Mode = opening.mode
        self.limit_pico = opening.limit_pico
        self.free = self.held = self.settled = self.granted = self.returned = 0
        self.cushion = self.spent_by_others = self.available = 0
        self.needs: list[int] = []
        """The bounds of requests that wait for more."""
        self.short = False
        self.touched = True

    @property
    def is_whole(self) -> bool:
        return self.granted - self.returned == self.free + self.held + self.settled and self.held >= 0

    def resume(self, granted: int, returned: int, settled: int) -> None:
        """Go on where a slice of the same life stood that had nothing free or held any more, and was forgotten."""
        if not self.granted and not self.settled:
            self.granted, self.returned, self.settled = granted, returned, settled
            self.free = granted - returned - settled

    def change(self, opening: AccountOpening) -> None:
        """The budget is another now; what is held of it goes on as it began."""
        self.opening, self.mode, self.limit_pico = opening, opening.mode, opening.limit_pico
        self.account = None  # the store is told of it when it is next asked

    def say(self, *, idle: bool = False) -> Said:
        """How it stands, after giving back what lies here beyond the cushion and waits for nobody."""
        assert self.account is not None, "the store is told of slices that it knows"
        keep = 0 if idle or self.mode != "hard" else self.cushion
        if not self.needs and self.free > keep:
            excess = self.free - keep
            self.free -= excess
            self.returned += excess
        self.touched = False
        need, least = sum(self.needs) - self.free, min(self.needs, default=0) - self.free
        return Said(self.account, self.returned, self.settled, self.held, max(0, need), max(0, least), idle)

    def hear(self, told: Told) -> None:
        """What the store says. An answer that comes late, or again, grants nothing anew."""
        more = told.granted - self.granted
        if more > 0:
            self.granted += more
            self.free += more
        self.cushion, self.available, self.short = told.cushion, told.available, told.short
        self.spent_by_others, self.limit_pico = told.spent_by_others, told.limit_pico


class Hold:
    """What is held for one request, on all its slices that hold, until the request is over and none of its attempts is open. Slices of
    budgets that only count are `counted`."""

    __slots__ = ("_over", "counted", "left_pico", "open", "slices")

    def __init__(self, slices: tuple[Slice, ...], counted: tuple[Slice, ...], bound_pico: int) -> None:
        self.slices, self.counted, self.left_pico, self.open, self._over = slices, counted, bound_pico, 0, False

    def again(self, bound_pico: int) -> bool:
        """As much once more, for a second attempt beside the first: what a crash could leave open is held. False: it is not there."""
        if any(one.free < bound_pico for one in self.slices):
            return False
        for one in self.slices:
            one.free -= bound_pico
            one.held += bound_pico
        self.left_pico += bound_pico
        return True

    def pay(self, cost_pico: int) -> None:
        """An attempt came to cost so much. What goes beyond the bound, which no honest vendor bills, is spent all the same."""
        covered = min(cost_pico, self.left_pico)
        self.left_pico -= covered
        for one in self.slices:
            one.settled += cost_pico
            one.held -= covered
            one.free -= cost_pico - covered
            one.touched = True
        for one in self.counted:
            one.settled += cost_pico
            one.granted += cost_pico  # what is not held is granted as it is spent
            one.touched = True

    def end(self) -> None:
        """One attempt is at its end."""
        self.open -= 1
        if self._over and not self.open:
            self._free()

    def release(self) -> None:
        """The request is over: what is left is free again, now or when the last attempt has ended."""
        self._over = True
        if not self.open:
            self._free()

    def _free(self) -> None:
        left, self.left_pico = self.left_pico, 0
        for one in self.slices:
            one.held -= left
            one.free += left
            one.touched = True


def reserve(slices: tuple[Slice, ...], bound_pico: int, *, waited: bool = False) -> Hold | None:
    """Hold the bound on all slices, or nothing: None, and `lacking` says why. Who has not `waited` leaves what is there to those who wait,
    for whom it was leased."""
    hard = True
    for one in slices:
        if one.mode == "hard":
            if one.free < bound_pico or (one.needs and not waited and one.free - sum(one.needs) < bound_pico):
                return None
        else:
            hard = False
            if one.mode == "soft" and one.spent_by_others + one.settled >= one.limit_pico:
                return None
    counted: tuple[Slice, ...] = ()
    if not hard:
        counted = tuple([one for one in slices if one.mode != "hard"])
        slices = tuple([one for one in slices if one.mode == "hard"])
    for one in slices:
        one.free -= bound_pico
        one.held += bound_pico
    return Hold(slices, counted, bound_pico)


def lacking(slices: tuple[Slice, ...], bound_pico: int) -> tuple[Slice, ...]:
    """Those that have too little free for the bound."""
    return tuple(one for one in slices if one.mode == "hard" and one.free < bound_pico)


def overspent(slices: tuple[Slice, ...]) -> Slice | None:
    """A soft budget that is used up."""
    return next((one for one in slices if one.mode == "soft" and one.spent_by_others + one.settled >= one.limit_pico), None)
