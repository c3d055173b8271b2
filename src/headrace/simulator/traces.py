"""Loaders: published traces and one's own, as calls. Each takes the lines of a file, so that who opens it decides from where.

azure       AzureLLMInferenceTrace_*.csv of 2023 and 2024: TIMESTAMP, ContextTokens, GeneratedTokens
mooncake    FAST '25 traces: timestamp, input_length, output_length, hash_ids of blocks of 512 tokens
burstgpt    BurstGPT_*.csv: Timestamp, Session ID, Request tokens, Response tokens (conversations), failures left out
servegen    windows of clients: rate, coefficient of variation, mean lengths; arrivals are drawn from them
sessions    coding agents: per request the tokens in and out, how long was thought before it, and what of its prompt came before
usage       headrace's own usage as CSV: moment, model, class, tokens in and out, cached
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from random import Random

import msgspec

from headrace.core.identity import TrafficClass
from headrace.simulator.calls import Call, Replay, Workload

MOONCAKE_BLOCK = 512
SESSIONS_BLOCK = 64


class As(msgspec.Struct, frozen=True, kw_only=True):
    """What a trace does not say: the model and the class its calls are taken to be of."""

    model: str
    traffic_class: TrafficClass = "enterprise"
    geography: int = 0
    seed: int = 1
    speed: float = 1.0
    """So many times as fast as it was recorded."""


def azure(lines: Iterable[str], as_: As) -> Workload:
    calls, first = [], None
    for row in csv.DictReader(lines):
        at = datetime.fromisoformat(row["TIMESTAMP"].strip()[:26]).timestamp()
        first = at if first is None else first
        calls.append(_call((at - first) * 1_000, int(row["ContextTokens"]), int(row["GeneratedTokens"]), as_))
    return Replay(calls)


def mooncake(lines: Iterable[str], as_: As) -> Workload:
    decode = msgspec.json.Decoder(_Mooncake)
    return Replay([_of_blocks(decode.decode(line), as_) for line in lines if line.strip()])


class _Mooncake(msgspec.Struct):
    timestamp: float
    input_length: int
    output_length: int
    hash_ids: list[int]


def _of_blocks(row: _Mooncake, as_: As) -> Call:
    whole, last = divmod(row.input_length, MOONCAKE_BLOCK)
    sizes = [MOONCAKE_BLOCK] * whole + ([last] if last else [])
    segments = tuple((number + 1, size) for number, size in zip(row.hash_ids, sizes, strict=False))
    call = _call(row.timestamp, row.input_length, row.output_length, as_)
    return msgspec.structs.replace(call, segments=segments, affinity=row.hash_ids[min(1, len(row.hash_ids) - 1)] + 1 if segments else 0)


def burstgpt(lines: Iterable[str], as_: As) -> Workload:
    calls, lengths = [], dict[str, int]()
    for row in csv.DictReader(lines):
        tokens_in, tokens_out = int(row["Request tokens"]), int(row["Response tokens"])
        if tokens_out < 1:
            continue  # it failed
        call = _call(float(row["Timestamp"]) * 1_000, tokens_in, tokens_out, as_)
        session = (row.get("Session ID") or "").strip()
        if session:
            lengths.setdefault(session, len(lengths) + 1)
            key = 1 << 41 | lengths[session]
            call = msgspec.structs.replace(call, segments=((key, call.tokens_in),), affinity=key, grows=True)
        calls.append(call)
    return Replay(_from_zero(calls))


def servegen(lines: Iterable[str], as_: As, *, category: str = "language", model: str = "m-large", window_s: float = 600.0) -> Workload:
    """Arrivals drawn from each client's windows, gamma with the window's coefficient of variation; lengths exponential around its means."""
    calls: list[Call] = []
    for number, row in enumerate(csv.DictReader(lines)):
        if row["category"] != category or row["model"] != model or not row["mean_in"] or not row["mean_out"]:
            continue
        rng = Random(as_.seed * 1_000_003 + number)
        rate, cv, begins = float(row["rate"]), max(0.2, float(row["cv"] or 1)), float(row["t"])
        shape, at = 1 / cv**2, 0.0
        while True:
            at += rng.gammavariate(shape, 1 / shape) / rate
            if at >= window_s:
                break
            tokens_in = max(1, round(rng.expovariate(1 / float(row["mean_in"]))))
            tokens_out = max(1, round(rng.expovariate(1 / float(row["mean_out"]))))
            call = _call((begins + at) * 1_000, tokens_in, tokens_out, as_)
            calls.append(msgspec.structs.replace(call, tenant=int(row["client"])))
    return Replay(_from_zero(calls))


def sessions(lines: Iterable[str], as_: As, *, apart_s: float = 10.0) -> Workload:
    """Sessions whose next request comes when the last is answered and its thinking or tool is done; they begin `apart_s` from each other.

    What of a prompt was in the one before it is its prefix; where a session begins anew (a summary, another agent), so does its cache.
    Sessions with the same lengths in their first ten requests are one, recorded twice.
    """
    held: dict[tuple[str, str], list[_Request]] = {}
    for row in csv.DictReader(lines):
        request = _Request(
            int(row["in"]), int(row["out"]), float(row["think_time"] or 0), int(row["lcp_prev_blocks"] or 0) * SESSIONS_BLOCK
        )
        if request.tokens_in > 0 and request.tokens_out > 0:
            held.setdefault((row["trace"], row["agent"]), []).append(request)
    seen, distinct = set(), []
    for requests in held.values():
        begins = tuple((one.tokens_in, one.tokens_out) for one in requests[:10])
        if begins not in seen:
            seen.add(begins)
            distinct.append(requests)
    return Sessions(distinct, as_, apart_s=apart_s)


class _Request(msgspec.Struct, frozen=True):
    tokens_in: int
    tokens_out: int
    think_s: float
    shared: int


class Sessions:
    """Sessions replayed: each asks again when it has its answer."""

    def __init__(self, held: list[list[_Request]], as_: As, *, apart_s: float) -> None:
        self._held, self._as, self._apart_s = held, as_, apart_s
        self._at: dict[int, int] = {}
        self._branch: dict[int, int] = {}

    @property
    def closed(self) -> bool:
        return True

    @property
    def expected(self) -> int:
        return sum(map(len, self._held))

    def calls(self) -> Iterator[Call]:
        for number in range(len(self._held)):
            self._at[number] = self._branch[number] = 0
            yield self._make(number, number * self._apart_s * 1_000 / self._as.speed)

    def after(self, call: Call, ended_ms: float, *, answered: bool) -> Call | None:
        number = call.session
        self._at[number] += 1
        requests = self._held[number]
        if self._at[number] >= len(requests):
            return None
        request = requests[self._at[number]]
        if request.shared < SESSIONS_BLOCK:
            self._branch[number] += 1
        return self._make(number, ended_ms + request.think_s * 1_000 / self._as.speed)

    def _make(self, number: int, at_ms: float) -> Call:
        request = self._held[number][self._at[number]]
        key = 1 << 42 | number << 12 | self._branch[number] & 0xFFF
        call = _call(at_ms, request.tokens_in, request.tokens_out, self._as)
        return msgspec.structs.replace(
            call, at_ms=at_ms, segments=((key, request.tokens_in),), affinity=number + 1, grows=True, session=number, tenant=number % 50
        )


def usage(lines: Iterable[str], as_: As) -> Workload:
    """One's own usage: `at` (ISO), `model`, `class`, `tokens_in`, `tokens_out`; a column that is missing is taken from `as_`."""
    calls = []
    for row in csv.DictReader(lines):
        at = datetime.fromisoformat(row["at"]).timestamp()
        call = _call(at * 1_000, int(row["tokens_in"]), int(row["tokens_out"] or 1), as_)
        named: TrafficClass = msgspec.convert(row.get("class") or as_.traffic_class, TrafficClass)
        calls.append(msgspec.structs.replace(call, model=row.get("model") or as_.model, traffic_class=named))
    return Replay(_from_zero(calls))


LOADERS: Mapping[str, Callable[[Iterable[str], As], Workload]] = {
    "azure": azure,
    "mooncake": mooncake,
    "burstgpt": burstgpt,
    "servegen": servegen,
    "sessions": sessions,
    "usage": usage,
}


def _call(at_ms: float, tokens_in: int, tokens_out: int, as_: As) -> Call:
    return Call(at_ms / as_.speed, as_.traffic_class, as_.model, 0, as_.geography, max(1, tokens_in), max(1, tokens_out))


def _from_zero(calls: list[Call]) -> list[Call]:
    first = min((call.at_ms for call in calls), default=0.0)
    return [msgspec.structs.replace(call, at_ms=call.at_ms - first) for call in calls]
