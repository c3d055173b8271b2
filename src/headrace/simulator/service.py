"""How long silicon takes: the step of an engine that batches continuously, and what a replica can give within a service level.

    step = a + b · sequences + c · tokens held + d · tokens of prompt read in it

`a` is what a step costs whatever it holds (the weights are read once), `b` each sequence, `c` each token of context that attention looks
at, `d` each token of a prompt. The coefficients of a row are fitted on measured points of one model on one silicon in one engine and
precision; `error_percent` is how far predictions of points that were left out were off on average. What was not measured is scaled from
what was, and graded so. Beyond `tokens_in_max`, the longest prompt that was measured, all is extrapolation.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from math import ceil, log, sqrt
from typing import Literal, TypeAlias

import msgspec

from headrace.portfolio.serving import plain_name
from headrace.portfolio.tables import Table, read_tables, rows

Grade: TypeAlias = Literal["measured", "vendor-claimed", "estimated"]
LONG_P99 = 3.0
"""How many times the mean the longest prompt of a hundred is: of a log-normal whose logarithm spreads by 0.5."""
USE_MOST = 0.995


class Service(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One replica: a model on some accelerators that serve together.

    `step_ms` is `a`, `sequence_ms` `b`, `held_ms` `c`, `prompt_ms` `d`; `first_ms` is what a first token takes beside its steps.
    The first `spare_tokens` of prompt in a step cost nothing: they are computed while the weights are read (0 for fitted rows).
    It holds `kv_tokens` of context, runs `batch_max` sequences at most (no more were measured), and reads `chunk_tokens` of prompts a step.
    """

    model: str
    silicon: str
    engine: str
    precision: str
    tensor: int = 1
    expert: int = 1
    accelerators: int = 1
    step_ms: float
    sequence_ms: float = 0.0
    held_ms: float = 0.0
    prompt_ms: float = 0.0
    first_ms: float = 0.0
    batch_max: int = 256
    spare_tokens: int = 0
    chunk_tokens: int = 8_192
    kv_tokens: int
    tokens_in_max: int = 8_192
    error_percent: float | None = None
    points: int = 0
    grade: Grade
    source: str
    as_of: date | None = None

    def __post_init__(self) -> None:
        if min(self.step_ms, self.sequence_ms, self.held_ms, self.prompt_ms, self.first_ms) < 0 or self.step_ms + self.sequence_ms <= 0:
            raise ValueError(f"{self.name}: no time of a step is below zero, and a step takes some")
        if min(self.accelerators, self.batch_max, self.chunk_tokens, self.kv_tokens) < 1:
            raise ValueError(f"{self.name}: accelerators, batch_max, chunk_tokens and kv_tokens are at least 1")

    @property
    def name(self) -> str:
        """For people: what, on what, how."""
        return f"{self.model} on {self.accelerators} × {self.silicon} ({self.engine}, {self.precision})"

    def step(self, sequences: int, held_tokens: float, prompt_tokens: float) -> float:
        """How long one step takes, in milliseconds."""
        read = max(0.0, prompt_tokens - self.spare_tokens)
        return self.step_ms + self.sequence_ms * sequences + self.held_ms * held_tokens + self.prompt_ms * read

    def slowed(self, factor: float) -> "Service":
        """The same where all takes `factor` times as long."""
        return msgspec.structs.replace(
            self,
            step_ms=self.step_ms * factor,
            sequence_ms=self.sequence_ms * factor,
            held_ms=self.held_ms * factor,
            prompt_ms=self.prompt_ms * factor,
        )


class Mix(msgspec.Struct, frozen=True, kw_only=True):
    """What requests are like on average. `tokens_cached` of `tokens_in` are in the prefix cache; `tokens_held` is the context that a
    running request has on average over its answer."""

    tokens_in: float
    tokens_out: float
    tokens_cached: float = 0.0
    tokens_held: float


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A replica at a batch. `extrapolated`: its prompts are longer than any that was measured."""

    batch: int
    tpot_ms: float
    ttft_ms: float
    ttft_ms_p99: float
    requests_per_s: float
    tokens_per_s: float
    tokens_out_per_s: float
    extrapolated: bool


def mix_of(shapes: Iterable[tuple[float, float, float, float]]) -> Mix:
    """The mix of shapes, each a weight by requests, tokens in, tokens of them cached, and tokens out. Raises ValueError for none."""
    held = [(weight, tokens_in, cached, max(1.0, tokens_out)) for weight, tokens_in, cached, tokens_out in shapes if weight > 0]
    total = sum(weight for weight, _, _, _ in held)
    if not total:
        raise ValueError("a mix has at least one shape of a weight above zero")
    answers = sum(weight * out for weight, _, _, out in held)
    return Mix(
        tokens_in=sum(weight * tokens_in for weight, tokens_in, _, _ in held) / total,
        tokens_cached=sum(weight * cached for weight, _, cached, _ in held) / total,
        tokens_out=answers / total,
        tokens_held=sum(weight * out * (tokens_in + out / 2) for weight, tokens_in, _, out in held) / answers,
    )


def standing(service: Service, mix: Mix, batch: int) -> Standing:
    """What a replica gives while requests of `mix` come by chance and `batch` of them are running on average.

    In the time of an answer one prompt is read a sequence, so a step reads `batch · uncached / tokens out` of prompts on average. A new
    request waits for a place among the sequences (a queue with as many servers as fit; Sakasegawa, 1977), for the step that runs, behind
    other prompts (a queue with one server), and for the chunks of its own prompt. The longest of a hundred waits come from whichever of
    the two queues is worse, and from prompts that are longer than the mean.
    """
    unread = max(1.0, mix.tokens_in - mix.tokens_cached)
    read = batch * unread / mix.tokens_out
    tpot = service.step(batch, batch * mix.tokens_held, read)
    requests = batch / (mix.tokens_out * tpot) * 1_000
    alone = service.step(batch, batch * mix.tokens_held, 0)
    reading = ceil(unread / service.chunk_tokens) * alone + service.prompt_ms * unread
    chunk = service.step(batch, batch * mix.tokens_held, service.chunk_tokens)
    behind, behind_p99 = queue_ms(requests / 1_000 * unread * chunk / service.chunk_tokens, 1, reading)
    seats, seats_p99 = queue_ms(batch / places(service, mix), places(service, mix), mix.tokens_out * tpot)
    usual = service.first_ms + tpot / 2 + reading
    return Standing(
        batch=batch,
        tpot_ms=tpot,
        ttft_ms=usual + behind + seats,
        ttft_ms_p99=usual + max(behind_p99, seats_p99, reading * (LONG_P99 - 1)),
        requests_per_s=requests,
        tokens_per_s=requests * (mix.tokens_in + mix.tokens_out),
        tokens_out_per_s=requests * mix.tokens_out,
        extrapolated=mix.tokens_in > service.tokens_in_max,
    )


def places(service: Service, mix: Mix) -> int:
    """How many sequences of `mix` a replica holds at once."""
    return max(1, min(service.batch_max, int(service.kv_tokens // max(1.0, mix.tokens_held))))


def queue_ms(use: float, servers: int, service_ms: float) -> tuple[float, float]:
    """The mean wait and the 99th percentile in a queue where arrivals and services vary as by chance."""
    use = min(use, USE_MOST)
    waits = use ** (sqrt(2 * (servers + 1)) - 1)  # the share that waits at all
    pace = service_ms / (servers * (1 - use))
    return waits * pace, pace * log(max(1.0, 100 * waits))


def feasible(service: Service, mix: Mix, *, ttft_ms_max: float, tpot_ms_max: float) -> Standing | None:
    """The most that a replica can give while the mean TPOT and the 99th percentile of TTFT keep to their limits and the context fits.

    More requests never make anything faster, so the largest batch that keeps to the limits is found by halving. None: not even one does.
    """
    fits = service.kv_tokens >= mix.tokens_held
    low, high = 0, places(service, mix) if fits else 0
    while low < high:
        middle = (low + high + 1) // 2
        found = standing(service, mix, middle)
        kept = found.tpot_ms <= tpot_ms_max and found.ttft_ms_p99 <= ttft_ms_max and _reads_in_time(service, mix, middle)
        low, high = (middle, high) if kept else (low, middle - 1)
    return standing(service, mix, low) if low else None


def _reads_in_time(service: Service, mix: Mix, batch: int) -> bool:
    """Whether prompts are read as fast as answers end: a step has room for so many tokens only."""
    return batch * max(1.0, mix.tokens_in - mix.tokens_cached) / mix.tokens_out <= service.chunk_tokens


class Services(msgspec.Struct, frozen=True):
    """All that is known, asked by model and silicon. Models of other names that are served alike are found by the catalog's aliases."""

    rows: tuple[Service, ...]
    aliases: Mapping[str, str] = {}

    def of(self, model: str, silicon: str) -> tuple[Service, ...]:
        """All ways in which `model` is served on `silicon`."""
        plain = plain_name(model)
        known = self.aliases.get(plain, plain)
        return tuple(row for row in self.rows if row.silicon == silicon and row.model == known)

    def best(
        self, model: str, silicon: str, mix: Mix, *, ttft_ms_max: float, tpot_ms_max: float, grades: Iterable[Grade] | None = None
    ) -> tuple[Service, Standing] | None:
        """The way that gives the most tokens an accelerator within the limits, and how it stands then; None: none does."""
        kept = None if grades is None else frozenset(grades)
        ways = [
            (row, found)
            for row in self.of(model, silicon)
            if (kept is None or row.grade in kept)
            and (found := feasible(row, mix, ttft_ms_max=ttft_ms_max, tpot_ms_max=tpot_ms_max)) is not None
        ]
        return max(ways, key=lambda way: way[1].tokens_per_s / way[0].accelerators, default=None)

    def with_own(self, own: Iterable[Service]) -> "Services":
        """These and an operator's own, which come before others of the same model and silicon."""
        mine = tuple(own)
        taken = {(row.model, row.silicon) for row in mine}
        return Services((*mine, *(row for row in self.rows if (row.model, row.silicon) not in taken)), self.aliases)


class _Rows(msgspec.Struct, frozen=True):
    rows: tuple[dict[str, object], ...]


def parse_services(text: str, aliases: Mapping[str, str] | None = None) -> Services:
    """The rows of a TOML text, such as the shipped `services.toml`. Raises ValueError that says what is wrong, and in which row."""
    tables = read_tables(text, "services", frozenset({"services"}))["services"]
    flat: list[Table] = []
    for table in tables:
        shared = {name: value for name, value in table.items() if name != "rows"}
        flat += [shared | row for row in rows((table,), "services", _Rows)[0].rows]
    return Services(rows(flat, "services", Service), aliases or {})
