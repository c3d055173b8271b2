"""The truth about an attempt that was booked at its bound because nobody knew its end.

It is one more record in the usage log, from which the ledger corrects itself by new rows, and the difference goes back into the budgets
that were charged.
"""

from pathlib import Path

from headrace.compose.banking import open_budgets
from headrace.compose.clock import MachineClock, Names, process_id
from headrace.compose.place import Place
from headrace.core.errors import InvalidRequest, RequestNotFound
from headrace.core.usage import Usage
from headrace.metering import Settle, admitted, standing
from headrace.storage import UsageLog, make_folder, records_of


def correct(place: Place, request: str, attempt: int, usage: Usage, cost_pico: int) -> tuple[int, int]:
    """Book what the attempt used and cost. Returns what it was booked at before, and now. Doing it again changes nothing.

    Raises RequestNotFound, or InvalidRequest where its end is known already or not there yet.
    """
    settings = place.settings()
    layout, clock = make_folder(Path(settings.storage.path)), MachineClock()
    found = [standing(record) for record in records_of(layout.usage, request) if admitted(record).attempt == attempt]
    if not found:
        raise RequestNotFound(request)
    stands = max(found, key=lambda one: one.precedence)
    admit, booked = stands.admitted, stands.cost_pico or 0
    if stands.state in ("held", "void"):
        raise InvalidRequest(
            f"attempt {attempt} of {request} is {'running' if stands.state == 'held' else 'void'}: nothing is unknown about it"
        )
    if stands.state == "confirmed" and (stands.usage, booked) != (usage, cost_pico):
        raise InvalidRequest(f"what attempt {attempt} of {request} used is confirmed: a correction of it is a credit")
    if stands.state != "confirmed":
        log = UsageLog(layout.usage, clock=clock, pid=process_id(), process=Names(clock)("process_"), settings=settings.storage)
        try:
            log.append(admit)  # an end belongs to an admission in its own log; said again it changes nothing
            log.append(Settle(admit, clock.moment(), usage, cost_pico, "confirmed", "completed", None, 0))
        finally:
            log.close()
    if admit.accounts:
        before = max((one.cost_pico or 0) for one in found if one.state in ("lost", "estimated"))
        with open_budgets(place) as treasury:
            treasury.correct(request, attempt, cost_pico, clock.moment(), accounts=admit.accounts, booked_pico=before)
    return booked, cost_pico
