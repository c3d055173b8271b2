"""Keys that are minted from others: what they may is what both may, and who could not keep to that is refused at once."""

import secrets
from typing import get_args

from headrace.api import Minting
from headrace.compose.acts import key_act
from headrace.compose.clock import MachineClock, Names
from headrace.core.clock import Moment
from headrace.core.errors import InvalidRequest, NotAllowed, NotFound
from headrace.core.identity import Principal, TrafficClass
from headrace.core.money import pico_of
from headrace.metering import KeyRow
from headrace.storage import LINEAGE_MAX, Act, KeyStore, SharedState, SqliteBudgets

NOBODYS = Principal(organization="", project="", key="")
"""The parent of a key that is minted from none."""
CLASSES: tuple[TrafficClass, ...] = get_args(TrafficClass)


def minting(
    name: str,
    *,
    budget_usd: str | None,
    models: tuple[str, ...] | None,
    classes: tuple[str, ...] | None,
    expires: Moment | None,
    requests_per_minute: int | None,
    tokens_per_minute: int | None,
) -> Minting:
    """What is wished for at the command line. Raises InvalidRequest where a word of it is wrong."""
    if unknown := set(classes or ()) - set(CLASSES):
        raise InvalidRequest(f"there is no class {min(unknown)!r}: they are {', '.join(CLASSES)}")
    try:
        budget_pico = None if budget_usd is None else pico_of(budget_usd)
    except ValueError as wrong:
        raise InvalidRequest(f"the key's budget: {wrong}") from None
    return Minting(
        name=name,
        budget_pico=budget_pico,
        models=models,
        classes=None if classes is None else tuple(one for one in CLASSES if one in classes),
        expires=expires,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
    )


def mint_key(state: SharedState, clock: MachineClock, parent: Principal, asked: Minting, act: Act | None = None) -> tuple[KeyRow, str]:
    """A key with less than its parent has, for the parent's owner; by who holds the parent, where no `act` says otherwise.

    Raises InvalidRequest or NotAllowed. It may be called in any thread."""
    now = clock.moment()
    check_attenuation(parent, asked, now)
    if asked.budget_pico is not None:
        SqliteBudgets(state.layout.budgets).close()  # a server sees by its file that there are budgets now
    classes = asked.classes or ()
    with state.opened() as database:
        return KeyStore(database, state.layout).create(
            id=Names(clock)("key_"),
            name=asked.name,
            organization=parent.organization,
            project=parent.project,
            token=secrets.token_bytes(30),
            created=now,
            traffic_class=classes[0] if classes and parent.traffic_class not in classes else parent.traffic_class,
            requests_per_minute=asked.requests_per_minute,
            tokens_per_minute=asked.tokens_per_minute,
            parent=parent.key or None,
            budget_pico=asked.budget_pico,
            models=asked.models,
            classes=asked.classes,
            expires=asked.expires,
            owner=parent.owner or None,
            act=act or key_act(parent),
        )


def revoke_minted(state: SharedState, clock: MachineClock, parent: Principal, id: str) -> None:
    """End a key that was minted from the parent's, with all below it; it may have ended before. Raises NotFound for any other."""
    with state.opened() as database:
        _minted(store := KeyStore(database, state.layout), parent, id)
        store.revoke(id, clock.moment(), key_act(parent))


def prolong_minted(state: SharedState, clock: MachineClock, parent: Principal, id: str, expires: Moment) -> KeyRow:
    """Have a key that was minted from the parent's end then. Raises NotFound for any other and for a revoked one, InvalidRequest for an end
    after the parent's."""
    if parent.expires is not None and expires > parent.expires:
        raise InvalidRequest("The key would end after the one that it is minted from.", param="expires_in_s")
    with state.opened() as database:
        _minted(store := KeyStore(database, state.layout), parent, id)
        row = store.expire(id, expires)
    if row is None:
        raise NotFound("Key", id)
    return row


def _minted(store: KeyStore, parent: Principal, id: str) -> None:
    if not parent.key or not store.minted_from(parent.key, id):
        raise NotFound("Key", id)


def check_attenuation(parent: Principal, asked: Minting, now: Moment) -> None:
    """Raises InvalidRequest where more is asked for than the parent has, NotAllowed where it may ask for nothing itself."""
    if parent.role is not None:
        raise NotAllowed("A key that administers does nothing else, so none is minted from it: make a key of a project instead.")
    if len(parent.parents) + 2 > LINEAGE_MAX:
        raise InvalidRequest(f"This key is the {LINEAGE_MAX}th of its line already: mint from one further up.")
    if parent.models is not None and asked.models is not None and not set(asked.models) <= parent.models:
        raise InvalidRequest(f"This key may ask for {', '.join(sorted(parent.models))} only.", param="models")
    if parent.classes is not None and asked.classes is not None and not set(asked.classes) <= parent.classes:
        raise InvalidRequest(f"This key may ask in the classes {', '.join(sorted(parent.classes))} only.", param="classes")
    own = dict(parent.allowances).get(parent.key)
    if own is not None and asked.budget_pico is not None and asked.budget_pico > own:
        raise InvalidRequest("A key can't mint one with a larger budget than its own.", param="budget_usd")
    if asked.expires is not None and (asked.expires <= now or (parent.expires is not None and asked.expires > parent.expires)):
        raise InvalidRequest("The key would end before now, or after the one that it is minted from.", param="expires_in_s")
