"""The OpenVINO backend: continuous batching over a paged key-value cache, stepped by the worker.

Two traps are handled here. A prompt larger than the cache is IGNORED without a word. And `step()` may raise, after which the pipeline
is of no use: it is rebuilt, and the sequences in flight go on from the tokens that they have. What makes it raise is a schema that
xgrammar refuses although llguidance accepted it. So a schema that is neither written as a grammar by us nor was taken before is on
trial: it begins when no other sequence is bound by a schema, and those that come meanwhile wait until its first token. Then the one at
fault is known, and nobody else is harmed: a sequence without a schema can be resumed, one with a schema can't, since its grammar would
begin anew in the middle.
"""

import importlib
import re
from collections import OrderedDict, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headrace.core.stream import TokenLogprob
from headrace.engine.backend import Produced
from headrace.engine.conversion import converted
from headrace.engine.ebnf import ebnf
from headrace.engine.frames import Sampling, Setup
from headrace.engine.gguf import read_vocabulary
from headrace.engine.prefix import BLOCK, PrefixCache
from headrace.engine.vocabulary import Detokeniser, token_bytes

PROVEN_MAX = 1024  # schemas remembered as good
_BUILD_PLACE = re.compile(r"^\[[\d:]+\] \S+:\d+: ")  # where in its makers' tree: nothing for a user
REBUILDS_MAX = 3  # in a row, without a step that succeeded in between


class Running:
    """One sequence in the pipeline."""

    def __init__(self, key: int, prompt: list[int], sampling: Sampling, output_max: int, words: Detokeniser) -> None:
        self.key, self.prompt, self.sampling, self.output_max, self.words = key, prompt, sampling, output_max, words
        self.generated: list[int] = []
        self.handle: Any = None

    @property
    def bound(self) -> bool:
        """Whether it is in the pipeline and a schema binds it."""
        return bool(self.sampling.schema) and self.handle is not None


class OpenVino:
    """A model in OpenVINO GenAI's continuous batching pipeline."""

    def __init__(self, setup: Setup) -> None:
        self._genai: Any = importlib.import_module("openvino_genai")
        self._openvino: Any = importlib.import_module("openvino")
        self._numpy: Any = importlib.import_module("numpy")
        self._setup = setup
        self._folder = converted(Path(setup.weights), Path(setup.converted))
        vocabulary = read_vocabulary(Path(setup.weights))
        self._pieces, self._ends = token_bytes(vocabulary), set(vocabulary.ends)
        self._running: dict[int, Running] = {}
        self._held: deque[Running] = deque()  # bound by a schema and not begun yet; at most sequences_max, as all that is begun
        self._proven: OrderedDict[str, None] = OrderedDict()
        self._serial = 0
        self._rebuilds = 0
        self._notes: list[str] = []
        self._build()

    def tokenize(self, pieces: Sequence[str]) -> list[int]:
        tokens: list[int] = []
        for piece in pieces:
            encoded = self._tokenizer.encode(piece, add_special_tokens=False)  # the template writes them
            tokens += encoded.input_ids.data[0].tolist()
        return tokens

    def begin(self, key: int, prompt: Sequence[int], sampling: Sampling, output_max: int) -> int:
        running = Running(key, list(prompt), sampling, output_max, Detokeniser(self._pieces))
        self._running[key] = running
        if sampling.schema and (self._held or not self._is_proven(sampling.schema)):
            self._held.append(running)
        else:
            self._add(running)
        return self._prefix.cached(running.prompt)

    def cancel(self, key: int) -> None:
        running = self._running.pop(key, None)
        if running is None:
            return
        if running in self._held:
            self._held.remove(running)
        if running.handle is not None:
            running.handle.cancel()

    def step(self) -> list[Produced]:
        self._release()
        try:
            self._pipeline.step()
        except Exception as failure:  # noqa: BLE001 -- whatever it is, the pipeline is lost, and each sequence gets its answer
            return self._recover(str(failure))
        self._rebuilds = 0
        return [produced for running in [*self._running.values()] if (produced := self._collect(running))]

    def eager(self) -> bool:
        return bool(self._running) or bool(self._pipeline.has_non_finished_requests())

    def wake(self) -> int | None:
        return None

    def kv_use(self) -> float:
        return float(self._pipeline.get_metrics().cache_usage) / 100 if self._running else 0.0

    def notes(self) -> list[str]:
        told, self._notes = self._notes, []
        return told

    def _build(self) -> None:
        scheduler = self._genai.SchedulerConfig()
        scheduler.num_kv_blocks = self._setup.kv_tokens // BLOCK
        scheduler.enable_prefix_caching = True
        scheduler.dynamic_split_fuse = True
        scheduler.max_num_seqs = self._setup.sequences_max
        scheduler.max_num_batched_tokens = self._setup.prefill_tokens_max
        properties = {"INFERENCE_NUM_THREADS": self._setup.threads}
        self._pipeline: Any = self._genai.ContinuousBatchingPipeline(str(self._folder), scheduler, "CPU", properties)
        self._tokenizer: Any = self._pipeline.get_tokenizer()
        self._prefix = PrefixCache(self._setup.kv_tokens // BLOCK)

    def _add(self, running: Running) -> None:
        """Hand the sequence to the pipeline: all of it, or after a rebuild what there is of it by now."""
        tokens = self._numpy.array([running.prompt + running.generated], dtype=self._numpy.int64)
        self._serial += 1
        running.handle = self._pipeline.add_request(self._serial, self._openvino.Tensor(tokens), self._config(running))

    def _config(self, running: Running) -> Any:
        chosen, done = running.sampling, len(running.generated)
        config = self._genai.GenerationConfig()
        config.max_new_tokens = running.output_max - done
        config.min_new_tokens = max(0, chosen.output_min - done)
        config.eos_token_id = min(self._ends, default=-1)
        config.stop_token_ids = self._ends
        config.ignore_eos = chosen.ignore_end
        config.do_sample = chosen.temperature > 0
        if config.do_sample:
            config.temperature, config.top_p, config.rng_seed = chosen.temperature, chosen.top_p, chosen.seed
            config.min_p = chosen.min_p
            if chosen.top_k:
                config.top_k = chosen.top_k
        config.frequency_penalty, config.presence_penalty = chosen.frequency_penalty, chosen.presence_penalty
        config.repetition_penalty = chosen.repetition_penalty
        config.logprobs = 0 if chosen.logprobs is None else 1
        if chosen.schema:
            grammar = ebnf(chosen.schema)
            form = {"grammar": grammar} if grammar else {"json_schema": chosen.schema}
            config.structured_output_config = self._genai.StructuredOutputConfig(**form)
        return config

    def _is_proven(self, schema: str) -> bool:
        return schema in self._proven or ebnf(schema) is not None

    def _release(self) -> None:
        """Begin with those held back, in their order, as far as none can be harmed."""
        while self._held:
            bound = [running for running in self._running.values() if running.bound]
            proven = self._is_proven(self._held[0].sampling.schema)
            if bound and (not proven or any(not self._is_proven(running.sampling.schema) for running in bound)):
                return
            self._add(self._held.popleft())

    def _collect(self, running: Running) -> Produced | None:
        handle = running.handle
        if handle is None:
            return None
        if handle.get_status() == self._genai.GenerationStatus.IGNORED:
            del self._running[running.key]
            return Produced(running.key, 0, "", failure="The prompt does not fit into the engine's key-value cache.", blame="request")
        if not handle.can_read():
            return None
        (output,) = handle.read().values()
        return self._said(running, list(output.generated_ids), output)

    def _said(self, running: Running, tokens: list[int], output: Any) -> Produced:
        reasons = self._genai.GenerationFinishReason
        finish = {int(reasons.STOP): "stop", int(reasons.LENGTH): "length"}.get(int(output.finish_reason))
        if not running.generated:
            self._first(running)
        running.generated += tokens
        text = running.words.feed(tokens)
        if finish:
            text += running.words.end()
            del self._running[running.key]
            self._prefix.computed((running.prompt + running.generated)[:-1])  # the last token was said, not read
        logprobs: tuple[TokenLogprob, ...] = ()
        if running.sampling.logprobs is not None:
            pairs = zip(tokens, output.generated_log_probs, strict=False)
            logprobs = tuple(TokenLogprob(self._word(token), value) for token, value in pairs if token not in self._ends)
        return Produced(running.key, len(tokens), text, logprobs, finish)  # type: ignore[arg-type]  # the table's values

    def _word(self, token: int) -> str:
        return self._pieces[token].decode("utf-8", "replace")

    def _first(self, running: Running) -> None:
        """The prompt was read to its end: its blocks can be reused, and its schema compiles."""
        self._prefix.computed(running.prompt)
        if schema := running.sampling.schema:
            self._proven[schema] = None
            if len(self._proven) > PROVEN_MAX:
                self._proven.popitem(last=False)

    def _recover(self, failure: str) -> list[Produced]:
        """Rebuild the pipeline. The schema on trial takes the blame, and the others go on where they were, with other random numbers
        where there is chance. Sequences that a schema binds fail, which happens only when something else than a schema was the cause."""
        self._rebuilds += 1
        reason = _BUILD_PLACE.sub("", failure.strip())[:300] or "unknown"
        self._notes.append(f"a step failed, the pipeline is rebuilt: {reason}")
        bound = [running for running in self._running.values() if running.bound]
        on_trial = [running for running in bound if not self._is_proven(running.sampling.schema)]
        if not on_trial and self._rebuilds > REBUILDS_MAX:
            raise RuntimeError(f"the pipeline fails again and again: {reason}")
        over = [Produced(each.key, 0, "", failure=_refusal(reason), blame="request") for each in on_trial]
        lost = [each for each in bound if each not in on_trial and (each.generated or each.sampling.schema not in self._proven)]
        over += [Produced(each.key, 0, "", failure="The engine had to begin anew within this answer.") for each in lost]
        for each in [*on_trial, *lost]:
            del self._running[each.key]
        self._pipeline = self._tokenizer = None  # two at once would need twice the memory
        self._build()
        for running in self._running.values():
            if running not in self._held:
                self._add(running)
        return over


def _refusal(reason: str) -> str:
    return f"Invalid schema for response_format or tools: the grammar compiler refuses it: {reason}"
