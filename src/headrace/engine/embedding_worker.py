"""The embedding worker: WordPiece, the model, mean pooling, length one.

    python -m headrace.engine.embedding_worker FD

Requests take turns a batch at a time, so that a thousand long texts don't keep a short question waiting.
"""

import gzip
import importlib
from collections import deque
from importlib.resources import files
from typing import Any

import msgspec

from headrace.engine.embedding import CONTEXT
from headrace.engine.frames import Broken, Cancel, Embed, EmbeddingSetup, Loaded, Refused, ToEmbedding, Vectors
from headrace.engine.line import Line, run

TOKENS_A_BATCH = 1024  # padded: how long a turn may take
BEGIN, END, PAD, UNKNOWN = "[CLS]", "[SEP]", "[PAD]", "[UNK]"


class Model:
    """all-MiniLM-L6-v2 as ONNX, run by OpenVINO."""

    def __init__(self, setup: EmbeddingSetup) -> None:
        self._numpy: Any = importlib.import_module("numpy")
        openvino: Any = importlib.import_module("openvino")
        core = openvino.Core()
        self._request: Any = core.compile_model(setup.weights, "CPU", {"INFERENCE_NUM_THREADS": setup.threads}).create_infer_request()
        self._names = [name.any_name for name in self._request.model_inputs]
        self._words = _tokeniser()
        self._begin, self._end = self._words.token_to_id(BEGIN), self._words.token_to_id(END)

    def tokens(self, text: str | tuple[int, ...]) -> list[int]:
        """The text's word pieces, between the two that frame every text."""
        if isinstance(text, str):
            return list(self._words.encode(text).ids)
        inner = text[1:] if text[0] == self._begin else text
        return [self._begin, *(inner[:-1] if inner and inner[-1] == self._end else inner), self._end]

    def vectors(self, batch: list[list[int]]) -> list[bytes]:
        numpy = self._numpy
        ids = numpy.zeros((len(batch), max(map(len, batch))), dtype=numpy.int64)
        mask = numpy.zeros_like(ids)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
        self._request.infer({name: given[name] for name in self._names})
        states = self._request.get_output_tensor(0).data
        weights = mask[:, :, None].astype(numpy.float32)
        pooled = (states * weights).sum(axis=1) / weights.sum(axis=1)
        pooled /= numpy.linalg.norm(pooled, axis=1, keepdims=True)
        return [row.astype("<f4").tobytes() for row in pooled]


def _tokeniser() -> Any:
    """BERT's uncased WordPiece, from the vocabulary in this package."""
    tokenizers: Any = importlib.import_module("tokenizers")
    text = gzip.decompress(files("headrace.engine").joinpath("data/bert-base-uncased-vocab.txt.gz").read_bytes()).decode()
    words = {word: at for at, word in enumerate(text.splitlines())}
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(words, unk_token=UNKNOWN, max_input_chars_per_word=100))
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.post_processor = tokenizers.processors.BertProcessing((END, words[END]), (BEGIN, words[BEGIN]))
    made.encode_special_tokens = True  # "[SEP]" in a text is text
    return made


class Job:
    """A request, with the inputs that still lack a vector, longest last, so that a batch has texts of like length."""

    def __init__(self, id: int, tokens: list[list[int]]) -> None:
        self.id, self.tokens = id, tokens
        self.left = sorted(range(len(tokens)), key=lambda at: -len(tokens[at]))
        self.vectors: list[bytes] = [b""] * len(tokens)


def accept(model: Model, embed: Embed) -> Job | Refused:
    tokens = [model.tokens(text) for text in embed.inputs]
    for at, each in enumerate(tokens):
        if len(each) > CONTEXT:
            message = (
                f"This model's maximum context length is {CONTEXT} tokens, however you requested {len(each)} tokens "
                f"(in input[{at}]). Please reduce your prompt."
            )
            return Refused(embed.id, "context_length_exceeded", message, "input")
    return Job(embed.id, tokens)


def advance(model: Model, job: Job) -> bool:
    """One batch of the job; whether it is done."""
    batch: list[int] = []
    while job.left and (not batch or (len(batch) + 1) * max(len(job.tokens[at]) for at in [*batch, job.left[-1]]) <= TOKENS_A_BATCH):
        batch.append(job.left.pop())
    for at, vector in zip(batch, model.vectors([job.tokens[at] for at in batch]), strict=True):
        job.vectors[at] = vector
    return not job.left


def serve(line: Line[ToEmbedding]) -> None:
    """Load the model, then embed until the parent is gone."""
    setup, early = line.first()
    if not isinstance(setup, EmbeddingSetup):
        raise TypeError("the first frame is the setup")
    try:
        model = Model(setup)
        model.vectors([model.tokens("warm")])
    except (RuntimeError, OSError, ValueError, ImportError) as failure:
        line.send(Broken(str(failure)))
        return
    line.send(Loaded())
    jobs: deque[Job] = deque()  # bounded by the parent
    while True:
        for message in [*early, *line.receive(wait=not jobs and not early)]:
            if isinstance(message, Embed):
                job = accept(model, message)
                if isinstance(job, Job):
                    jobs.append(job)
                else:
                    line.send(job)
            elif isinstance(message, Cancel):
                jobs = deque(job for job in jobs if job.id != message.id)
        early = []
        if jobs:
            job = jobs.popleft()
            if advance(model, job):
                line.send(Vectors(job.id, tuple(job.vectors), tuple(map(len, job.tokens))))
            else:
                jobs.append(job)


if __name__ == "__main__":
    run(lambda connection: serve(Line(connection, msgspec.msgpack.Decoder(ToEmbedding))))
