"""Whether a call may be made: rules about where it goes and what it carries, on labels, without a model.

Each argument of an effect plays a role, and each role has one rule, which gives a reason to ask or none:

    recipient, account, object, url, when, fact   the person chose it, or it belongs to a record of their own that their words name
    amount                                         no more than the person wrote, or was booked with that account before
    title                                          the words come from the person, or from fields that no stranger writes
    asked                                          never
    content                                        no new link, address or code; and nothing leaves that its audience may not read

Before them: the kind of the effect was asked for, and the same effect was not made before. Any reason means: ask. Asking shows the exact
values; leave is bound to them. A rule only ever looks at labels of values, so making a value less trusted never turns an ask into an allow.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from headrace.agents.capabilities import WORDS
from headrace.agents.cards import ArgumentRole, Card, Effect
from headrace.agents.knowledge import Knowledge, Record
from headrace.agents.labels import Readers, Writers
from headrace.agents.leave import Grant
from headrace.agents.values import Value, leaves, said
from headrace.agents.words import FUNCTION_WORDS, codes, days, emails, holds, host_of, plain_url, urls, words
from headrace.core.clock import Moment

EFFECTS_A_KIND_MAX: Final = 20
URL_EXTRA_CHARS_MAX: Final = 120
SMALL_NUMBER_DIGITS: Final = 2


class Reason(msgspec.Struct, frozen=True):
    """Why leave is needed: which rule, about which argument and value."""

    rule: str
    argument: str
    value: str
    says: str


class Allow(msgspec.Struct, frozen=True, tag=True):
    """It may be made. `standing` names the standing leave that is used up by it, if one is."""

    standing: str | None = None


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Only with a person's leave to exactly this."""

    reasons: tuple[Reason, ...]


class Deny(msgspec.Struct, frozen=True, tag=True):
    """Never: no leave helps."""

    says: str


Verdict: TypeAlias = Allow | Ask | Deny


def judge(card: Card, arguments: dict[str, Value], known: Knowledge, grant: Grant, now: Moment) -> Verdict:
    """May this call be made in a run that has seen what is `known`?"""
    denied = _never(card, arguments)
    if denied is not None:
        return denied
    effect = card.effect
    if effect is None:
        return Allow()
    for leave in grant.standing:
        if leave.covers(card.tool, arguments, known.done.get(f"leave {leave.id}", 0), now):
            return Allow(leave.id)
    reasons = list(_kind_reasons(card, effect, arguments, known, grant))
    reaches = _audience(effect, arguments)
    for name, value in arguments.items():
        if value is None or value == "" or value == []:
            continue
        rule = RULES[card.role(name)]
        says = rule(Sight(card, effect, reaches, arguments, known, grant), value)
        if says is not None:
            reasons.append(Reason(card.role(name), name, said(value), says))
    return Ask(tuple(reasons)) if reasons else Allow()


def deed(card: Card, arguments: dict[str, Value]) -> str:
    """What an effect does to whom: two calls with one deed do the same thing twice."""
    every = card.effect is not None and card.effect.varied
    aims = sorted((name, said(value)) for name, value in arguments.items() if (every or card.role(name) in AIMS) and value)
    return f"{card.tool} {aims}".casefold()


AIMS: Final[frozenset[ArgumentRole]] = frozenset(("recipient", "url", "account", "object", "when", "path"))


class Sight(msgspec.Struct, frozen=True):
    """What a rule may look at."""

    card: Card
    effect: Effect
    audience: Readers
    arguments: dict[str, Value]
    known: Knowledge
    grant: Grant

    @property
    def clean(self) -> bool:
        """Whether nothing that a stranger can have written has been read yet."""
        return self.known.context.writers > Writers.ANYONE


def _never(card: Card, arguments: dict[str, Value]) -> Deny | None:
    for name, value in arguments.items():
        role = card.role(name)
        if role == "path" and any(_escapes(path) for path in leaves(value)):
            return Deny(f"{said(value)} is outside of the workspace.")
        scheme, given, _ = said(value).partition("://")
        if role == "url" and given and scheme.casefold() not in ("http", "https"):
            return Deny(f"Only http and https are fetched, not {scheme}.")
    return None


def _escapes(path: str) -> bool:
    return path.startswith(("/", "~")) or "\\" in path or "\0" in path or ".." in path.split("/")


def _audience(effect: Effect, arguments: dict[str, Value]) -> Readers:
    """Who will read what is passed on: of several audiences, the widest."""
    return min([effect.audience, *(audience for name, audience in effect.audience_with.items() if arguments.get(name))])


def _kind_reasons(card: Card, effect: Effect, arguments: dict[str, Value], known: Knowledge, grant: Grant) -> list[Reason]:
    if effect.contained:
        return []
    reasons = []
    tainted = known.context.writers <= Writers.ANYONE
    asked_for = effect.kind in known.request.effects or not effect.words.isdisjoint(known.request.words)
    if tainted and not asked_for and effect.kind not in grant.kinds:
        reasons.append(Reason("kind", "", effect.kind, f"You did not ask for an effect of the kind {effect.kind!r}."))
    if known.done.get(deed(card, arguments), 0) and effect.kind != "fetch":
        reasons.append(Reason("again", "", card.tool, "This was done already in this run."))
    if known.done.get(f"kind {effect.kind}", 0) >= EFFECTS_A_KIND_MAX:
        reasons.append(Reason("count", "", effect.kind, f"This run has made {EFFECTS_A_KIND_MAX} effects of the kind {effect.kind!r}."))
    return reasons


def _recipient(sight: Sight, value: Value) -> str | None:
    strangers = [each for each in leaves(value) if not sight.known.chosen(each) and each.casefold() not in sight.known.named.addresses]
    if sight.audience >= Readers.INSIDE:
        strangers = [each for each in strangers if each.casefold() not in sight.known.handles or not _contents_given(sight)]
    return f"You did not name {_list(strangers)} as a recipient." if strangers else None


def _contents_given(sight: Sight) -> bool:
    """Whether what is said comes from the person: then whom of their own people it goes to may be looked up."""
    contents = [said(value) for name, value in sight.arguments.items() if sight.card.role(name) == "content"]
    return all(_given(sight, text) for text in contents)


def _account(sight: Sight, value: Value) -> str | None:
    account = said(value)
    if sight.known.chosen(account) or account.casefold() in sight.known.named.addresses:
        return None
    return f"You did not name {account} as who is to be paid."


def _amount(sight: Sight, value: Value) -> str | None:
    if not isinstance(value, int | float):
        return "It is no number."
    number, known = float(value), sight.known
    if number in known.request.numbers or said(value) in known.endorsed:
        return None
    accounts = {said(given).casefold() for name, given in sight.arguments.items() if sight.card.role(name) in ("account", "object")}
    booked = [
        leaf.number
        for record in known.booked
        if _is_with(record, accounts) or record in known.named.records
        for leaf in record.of("amount")
        if leaf.number is not None and leaf.writers >= Writers.OWN
    ]
    if booked and 0 <= number <= max(booked):
        return None
    return f"The amount {said(value)} is neither yours nor within what was booked there before."


def _is_with(record: Record, accounts: set[str]) -> bool:
    """Whether it was booked with one of these accounts, or the person's own words in it name one."""
    if any(leaf.value.casefold() in accounts for leaf in record.leaves if leaf.role in ("address", "handle")):
        return True
    names = [leaf.value.casefold() for leaf in record.of("name") if leaf.writers >= Writers.OWN]
    return any(holds(name, account) for name in names for account in accounts)


def _object(sight: Sight, value: Value) -> str | None:
    unknown = [each for each in leaves(value) if not _is_own_object(sight, each)]
    return f"You did not name {_list(unknown)}." if unknown else None


def _is_own_object(sight: Sight, value: str) -> bool:
    known, low = sight.known, value.casefold()
    if known.chosen(value) or low in known.made or low in known.named.handles:
        return True
    binding = sight.effect.final or sight.audience < Readers.INSIDE
    return not binding and (low in known.handles or known.said_inside(value))


def _when(sight: Sight, value: Value) -> str | None:
    meant = days(said(value))
    known = sight.known
    typed = [*known.request.days, *(day for record in known.records for leaf in record.of("today") for day in days(leaf.value))]
    if said(value).casefold() in known.endorsed or (meant and all(any(day.fits(other) for other in typed) for day in meant)):
        return None
    return f"You did not name the day {said(value)}."


def _title(sight: Sight, value: Value) -> str | None:
    text, request = said(value), sight.known.request
    if sight.clean or text.casefold() in sight.known.endorsed:
        return None
    if request.templates:
        fits = text in request.quoted or any(template.fullmatch(text) for template in request.templates)
        return None if fits and _given(sight, text) else f"You did not word the title {text!r}."
    return None if _given(sight, text) else f"The words of {text!r} are neither yours nor your own records'."


def _content(sight: Sight, value: Value) -> str | None:
    known = sight.known
    for text in leaves(value):
        if sight.clean and known.context.may_reach(sight.audience):
            continue
        if text.casefold() in known.endorsed:
            continue
        new = _new_marks(sight, text)
        if new:
            return f"It carries {_list(new)}, which you did not name."
        if not known.context.may_reach(sight.audience) and not _given(sight, text):
            return "What this run has read is not meant for those who would get it, and these words may hold some of it."
    return None


def _new_marks(sight: Sight, text: str) -> list[str]:
    """Links, addresses and, where they leave, codes, that neither the person nor their own people wrote."""
    known = sight.known
    least = Writers.INSIDE
    new = [
        link
        for link in (*urls(text), *emails(text))
        if not known.chosen(link) and link not in known.request.urls and known.links.get(link, Writers.ANYONE) < least
    ]
    if sight.audience < Readers.INSIDE:
        new += [code for code in codes(text) if not known.chosen(code) and not _is_phrase(sight, code)]
    return new


def _is_phrase(sight: Sight, code: str) -> bool:
    return any(
        code.casefold() in phrase and readers <= sight.audience
        for phrases in sight.known.phrases.values()
        for phrase, readers in phrases.items()
    )


def _given(sight: Sight, text: str) -> bool:
    """Whether every word comes from the person, names the effect, or stands in a field that no stranger writes and they may read."""
    all_words, at, known = words(text), 0, sight.known
    own = known.request.words | WORDS[sight.effect.kind]
    while at < len(all_words):
        word = all_words[at]
        span = max(
            (
                len(phrase)
                for phrase, readers in known.phrases.get(word, {}).items()
                if readers <= sight.audience and tuple(all_words[at : at + len(phrase)]) == phrase
            ),
            default=0,
        )
        if not span and (word in own or word in FUNCTION_WORDS or (word.isdigit() and len(word) <= SMALL_NUMBER_DIGITS)):
            span = 1
        if not span:
            return False
        at += span
    return True


def _url(sight: Sight, value: Value) -> str | None:
    url = plain_url(said(value))
    known, host = sight.known, host_of(said(value))
    if url in known.request.urls or url in known.endorsed or known.links.get(url, Writers.ANYONE) >= Writers.INSIDE:
        return None
    if sight.effect.kind == "fetch" and (host in sight.grant.hosts or host in {host_of(typed) for typed in known.request.urls}):
        if known.context.may_reach(Readers.ANYONE) and len(url) - len(host) <= URL_EXTRA_CHARS_MAX:
            return None
        return f"The address {url} may carry out what this run has read."
    return f"You did not name {host}."


def _hosts(sight: Sight, value: Value) -> str | None:
    """A command with a network can carry anything anywhere, so a stranger's words must not have been read before it."""
    typed = {host_of(url) for url in sight.known.request.urls}
    wanted = [host for each in leaves(value) for host in each.split()]
    new = [host for host in wanted if host.casefold() not in typed | sight.grant.hosts]
    if new:
        return f"You did not name the host {_list(new)}."
    if not sight.clean and wanted:
        return f"This run has read what others wrote, and the command could carry your files to {_list(wanted)}."
    return None


def _fact(sight: Sight, value: Value) -> str | None:
    if sight.effect.kind == "remember":
        whole = all(sight.known.stated(each) for each in leaves(value))
        return None if whole else f"You did not say the sentence {said(value)!r}."
    return None if all(sight.known.chosen(each) for each in leaves(value)) else f"You did not say {said(value)!r}."


def _asked(sight: Sight, value: Value) -> str | None:
    """Whatever the person is to do themselves they are asked, each time."""
    return "It asks you to do this yourself, in the browser beside. Take it there; say yes when it is done."


def _free(sight: Sight, value: Value) -> str | None:
    return None


def _list(values: list[str]) -> str:
    shown = ", ".join(repr(value) for value in values[:3])
    return f"{shown} and {len(values) - 3} more" if len(values) > 3 else shown


Rule: TypeAlias = Callable[[Sight, Value], str | None]

RULES: Final[dict[ArgumentRole, Rule]] = {
    "recipient": _recipient,
    "account": _account,
    "amount": _amount,
    "object": _object,
    "when": _when,
    "title": _title,
    "content": _content,
    "fact": _fact,
    "url": _url,
    "hosts": _hosts,
    "path": _free,
    "asked": _asked,
    "free": _free,
}
