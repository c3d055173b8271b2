"""What the store grants, and what it books."""

from headrace.metering import LeaseAccount, Said, close, correct, crossed, lend


def an_account(limit: int = 1_000, mode: str = "hard") -> LeaseAccount:
    return LeaseAccount(limit=limit, mode=mode, leases={})


def test_what_is_needed_is_granted_to_the_last():
    account = an_account(100)
    assert lend(account, 1, Said(0, 0, 0, 0, 100, 100)).granted == 100
    assert account.available == 0


def test_of_several_who_wait_those_pass_for_whom_it_is_enough():
    account = an_account(100)
    told = lend(account, 1, Said(0, 0, 0, 0, 250, 60))
    assert told.granted == 100, "all that is there, since one of them would do with 60"
    assert lend(an_account(100), 1, Said(0, 0, 0, 0, 250, 101)).granted == 0


def test_cushions_are_a_twentieth_in_all():
    account = an_account(1_000)
    assert lend(account, 1, Said(0, 0, 0, 0)).granted == 50
    assert lend(account, 2, Said(0, 0, 0, 0)).granted == 0, "the first has all of it yet"
    told = lend(account, 1, Said(0, 0, 0, 0))
    assert told.cushion == 25
    lend(account, 1, Said(0, 25, 0, 0))
    assert lend(account, 2, Said(0, 0, 0, 0)).granted == 25


def test_who_is_idle_gets_nothing_beforehand():
    told = lend(an_account(), 1, Said(0, 0, 0, 0, 0, 0, True))
    assert (told.granted, told.cushion) == (0, 0)


def test_a_late_report_changes_nothing():
    account = an_account()
    lend(account, 1, Said(0, 0, 0, 0, 500, 500))
    lend(account, 1, Said(0, 100, 200, 50))
    lend(account, 1, Said(0, 20, 100, 400))
    lease = account.leases[1]
    assert (lease.returned, lease.settled, lease.held) == (100, 200, 50)


def test_the_end_of_a_holder_gives_back_what_it_had_free():
    account = an_account(1_000)
    lend(account, 1, Said(0, 0, 0, 0, 500, 500))
    close(account, 1, 120, 30)
    close(account, 2, 0, 0)
    assert (account.spent, account.available) == (150, 850)
    correct(account, 30, 10)
    assert (account.spent_in_all, account.available) == (130, 870)


def test_soft_and_watched_accounts_lend_nothing():
    account = an_account(100, "soft")
    assert lend(account, 1, Said(0, 0, 70, 0, 40, 40)).granted == 70
    told = lend(account, 2, Said(0, 0, 50, 0))
    assert (told.granted, told.spent_by_others, told.available) == (50, 70, 0)


def test_which_parts_are_spent():
    account = an_account(200)
    account.spent = 150
    assert crossed(account, (50, 75, 80)) == (50, 75)
    assert account.held_in_all == 0
