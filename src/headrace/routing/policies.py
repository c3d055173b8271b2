"""Policies: small functions that score the choices, lower is better. Add one to the table, or name yours in the settings.

    def night_shift(ask, choices, scene):
        return [marginal_pico(ask, choice, scene) * (0.5 if choice.pool.region == "us-west-2" else 1.0) for choice in choices]

A policy only ranks: who may and can serve was settled before it is asked, so that no policy can break a rule or a limit.
"""

from collections.abc import Callable, Mapping, Sequence
from math import log
from random import Random
from typing import TypeAlias

from headrace.core.ask import Ask
from headrace.core.clock import Instant
from headrace.routing.board import Choice
from headrace.routing.classes import ClassTerms

TOKENS_OUT_LIKELY = 300
"""What an answer is taken to have when the client names more: the mean of chats in public traces is 211 to 343."""
BYTES_PER_TOKEN = 4
CROWDED = 1.25
"""A pool that holds a prefix is preferred until it has this much more than its share of the work (bounded-load consistent hashing)."""
ROOMY = 0.25
"""A pool with less than this part of its room in use is not crowded, however little the others have to do."""
PICO_PER_MS_AT_USD_PER_HOUR = 10**12 / 3_600_000


class Scene:
    """What a policy may know beside the choices: the moment, chance, what the class is promised, and where a prefix is at home."""

    __slots__ = ("_home", "_sought", "ask", "choices", "now", "rng", "terms", "tokens_in", "tokens_out")

    def __init__(self, ask: Ask, choices: Sequence[Choice], terms: ClassTerms, now: Instant, rng: Random) -> None:
        self.ask, self.choices, self.terms, self.now, self.rng = ask, choices, terms, now, rng
        self.tokens_in = ask.tokens_in_max / BYTES_PER_TOKEN
        asked = ask.tokens_out_max
        self.tokens_out = TOKENS_OUT_LIKELY if asked is None or asked > TOKENS_OUT_LIKELY else asked
        self._sought, self._home = False, -1

    @property
    def home(self) -> int:
        """Which choice holds the ask's prefix, by rendezvous hashing among those that are not crowded; -1: none, or no prefix."""
        if not self._sought:
            self._sought = True
            if self.ask.affinity:
                self._home = _home(self.ask.affinity, self.choices)
        return self._home


def _home(affinity: int, choices: Sequence[Choice]) -> int:
    number = affinity & _MASK
    ranks = [(number ^ choice.seed) * _MIX & _MASK for choice in choices]
    while True:  # who has no more than the mean is not crowded, so it ends
        home = ranks.index(max(ranks))
        load = choices[home].load
        if load.share < ROOMY or load._inflight < CROWDED * (1 + sum([choice.load._inflight for choice in choices])) / len(choices):
            return home
        ranks[home] = -1


_MIX, _MASK = 0x2545F491, (1 << 30) - 1  # within 30 bits: what Python multiplies in one step


Policy: TypeAlias = Callable[[Ask, Sequence[Choice], Scene], Sequence[float]]


def marginal_pico(ask: Ask, choice: Choice, scene: Scene) -> float:
    """What serving `ask` there costs us more than not serving it, in pico-USD.

    Vendors charge by the token. Owned capacity is paid anyhow: while it idles a request is nearly free, and as it fills each takes room
    that another will soon have to be paid for elsewhere; so its full cost counts by the square of the share in use.
    """
    cost = choice.input_pico * scene.tokens_in + choice.output_pico * scene.tokens_out
    if not choice.owned:
        return cost
    return cost * choice.load.filled


def latency_ms(ask: Ask, choice: Choice, scene: Scene) -> float:
    """How long the whole answer is expected to take there."""
    return choice.load.ttft_ms + choice.load.tpot_ms * scene.tokens_out


def cheapest(ask: Ask, choices: Sequence[Choice], scene: Scene) -> Sequence[float]:
    """The least marginal cost."""
    return [marginal_pico(ask, choice, scene) for choice in choices]


def fastest(ask: Ask, choices: Sequence[Choice], scene: Scene) -> Sequence[float]:
    """The shortest expected time to the end of the answer, longer where much is going on."""
    return [latency_ms(ask, choice, scene) * (1 + choice.load.share) for choice in choices]


def balanced(ask: Ask, choices: Sequence[Choice], scene: Scene) -> Sequence[float]:
    """Marginal cost plus what the wait is worth to this class, both in pico-USD; less what a cached prefix saves in both."""
    pico_per_ms = scene.terms.usd_per_hour * PICO_PER_MS_AT_USD_PER_HOUR
    tokens_in, tokens_out = scene.tokens_in, scene.tokens_out
    scores = [
        ((load := choice.load).first_ms + load.each_ms * tokens_out) * pico_per_ms
        + (choice.input_pico * tokens_in + choice.output_pico * tokens_out) * (load.filled if choice.owned else 1.0)
        for choice in choices
    ]
    home = scene.home
    if home >= 0:
        choice = choices[home]
        spared_pico = (choice.input_pico - choice.cached_pico) * tokens_in
        scores[home] -= (0.0 if choice.owned else spared_pico) + tokens_in / choice.prefill_per_ms * pico_per_ms
    return scores


def affinity(ask: Ask, choices: Sequence[Choice], scene: Scene) -> Sequence[float]:
    """Where the prefix is cached, then as `balanced`: to move a session with a long prompt costs more than any difference in price."""
    scores = list(balanced(ask, choices, scene))
    if scene.home >= 0:
        scores[scene.home] = min(scores) - 1.0
    return scores


def least_loaded(ask: Ask, choices: Sequence[Choice], scene: Scene) -> Sequence[float]:
    """The smallest share of its room in use."""
    return [choice.load.share for choice in choices]


def weighted(ask: Ask, choices: Sequence[Choice], scene: Scene) -> Sequence[float]:
    """By chance, in proportion to the pools' weights (Efraimidis and Spirakis, 2006)."""
    draw = scene.rng.random
    return [-log(1.0 - draw()) / choice.weight if choice.weight > 0 else float("inf") for choice in choices]


def power_of_two(ask: Ask, choices: Sequence[Choice], scene: Scene) -> Sequence[float]:
    """Two by chance, and of them the less loaded; the others after them (Mitzenmacher, 2001)."""
    scores = [2.0 + choice.load.share for choice in choices]
    for index in scene.rng.sample(range(len(choices)), min(2, len(choices))):
        scores[index] -= 2.0
    return scores


POLICIES: Mapping[str, Policy] = {
    "balanced": balanced,
    "cheapest": cheapest,
    "fastest": fastest,
    "affinity": affinity,
    "weighted": weighted,
    "least_loaded": least_loaded,
    "power_of_two": power_of_two,
}
