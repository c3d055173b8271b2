"""Which kinds of effect a person asks for, by the words with which people ask for them. Plain English, and plain to read.

It opens nothing by itself: an effect whose kind was asked for is still held to where it goes and what it carries. A request in other words
costs a question, never a breach; the person's answer widens the run.
"""

from typing import Final

from headrace.agents.cards import EffectKind

_SAID: Final[dict[EffectKind, str]] = {
    "message": "send sent email e-mail mail mails message messages dm write reply respond tell forward post notify answer text ping",
    "publish": "post publish upload put submit share",
    "invite": "invite add onboard",
    "membership": "add invite join remove",
    "event": "event events calendar appointment meeting schedule reschedule remind reminder invite participants book move",
    "file": "file files document create write add append save note notes list edit change fix update rename make refactor implement",
    "delete": "delete remove erase cancel clear discard drop clean",
    "share": "share grant send",
    "reserve": "book reserve reservation booking rent",
    "pay": "pay payment send transfer refund wire buy transaction bill rent order orders",
    "profile": "profile account address update change moved information details",
    "password": "password passphrase",
    "fetch": "read visit open fetch browse look check search find get summarize summarise summary website webpage page site article link",
    "app": "use call app application connector tool server",
    "remember": "remember memorise memorize memory forget preference preferences",
    "run": "run execute test tests build compile install start script command check fix debug",
}

WORDS: Final[dict[EffectKind, frozenset[str]]] = {kind: frozenset(words.split()) for kind, words in _SAID.items()}


def asked_for(words: frozenset[str]) -> frozenset[EffectKind]:
    """The kinds of effect that a request of these words can mean."""
    return frozenset(kind for kind, said in WORDS.items() if not said.isdisjoint(words))
