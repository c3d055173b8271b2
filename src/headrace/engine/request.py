"""A chat request as the engine is to carry it out, or why it won't. Pure."""

from collections.abc import Sequence

import msgspec

from headrace.core.errors import InvalidRequest, UnsupportedParameter
from headrace.engine.frames import Sampling
from headrace.engine.grammar import answer_schema, call_schema, check_tools
from headrace.engine.settings import BackendName, EngineSettings
from headrace.wire.openai_chat import ChatRequest, Function

STOPS_MAX = 4
STOP_CHARACTERS_MAX = 1024
TOP_LOGPROBS_MAX = 20


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to generate, and how to read it. `tools` are those that the model may call; `must_call`: it answers with a call, no text."""

    sampling: Sampling
    choices: int
    stops: tuple[str, ...]
    output_max: int | None
    tools: tuple[Function, ...]
    must_call: bool
    schema_param: str
    calls_max: int | None


def order_of(request: ChatRequest, settings: EngineSettings, backend: BackendName, seed: int) -> Order:
    """The order that `request` means. `seed` is for a request that names none. Raises InvalidRequest or UnsupportedParameter."""
    _refuse_unsupported(request, backend)
    _check_ranges(request, settings)
    output_max = request.max_completion_tokens if request.max_completion_tokens is not None else request.max_tokens
    tools = tuple(tool.function for tool in request.tools or []) if request.tool_choice != "none" else ()
    check_tools(tools)
    call = call_schema(request, backend)
    return Order(
        sampling=_sampling(request, settings, backend, seed, output_max, call or answer_schema(request, backend)),
        choices=request.n or 1,
        stops=_stops(request.stop),
        output_max=output_max,
        tools=tools,
        must_call=bool(call),
        schema_param="tools" if call else "response_format.json_schema.schema",
        calls_max=1 if request.parallel_tool_calls is False else None,
    )


def _sampling(
    request: ChatRequest, settings: EngineSettings, backend: BackendName, seed: int, output_max: int | None, schema: str
) -> Sampling:
    output_min = request.min_tokens or 0
    ignore_end = bool(request.ignore_eos) or (output_max is not None and output_min >= output_max > 0)
    if output_min and not ignore_end and backend == "llamacpp":
        raise _unsupported("min_tokens", "The llama.cpp backend knows it only as large as max_completion_tokens; OpenVINO knows all of it.")
    temperature = settings.temperature if request.temperature is None else request.temperature
    top_p = settings.top_p if request.top_p is None else request.top_p
    return Sampling(
        temperature=temperature if top_p else 0.0,  # the smallest set of likeliest tokens is the likeliest one
        top_p=top_p or 1.0,
        top_k=max(0, request.top_k or 0),
        min_p=request.min_p or 0.0,
        frequency_penalty=request.frequency_penalty or 0.0,
        presence_penalty=request.presence_penalty or 0.0,
        repetition_penalty=request.repetition_penalty or (1.0 if schema or request.tools else settings.repetition_penalty),
        seed=(seed if request.seed is None else request.seed) % (1 << 32),
        output_min=output_min,
        ignore_end=ignore_end,
        logprobs=(request.top_logprobs or 0) if request.logprobs else None,
        schema=schema,
    )


def _refuse_unsupported(request: ChatRequest, backend: BackendName) -> None:
    if request.functions is not None or request.function_call is not None:
        raise _unsupported("functions" if request.functions is not None else "function_call", "Use 'tools' and 'tool_choice' instead.")
    for name in ("logit_bias", "audio", "prediction", "web_search_options"):
        if getattr(request, name):
            raise _unsupported(name, "The embedded engine does not know it.")
    if request.modalities not in (None, ["text"]):
        raise _unsupported("modalities", "This model writes text only.")
    if request.top_logprobs and not request.logprobs:
        raise InvalidRequest("'top_logprobs' is only allowed when 'logprobs' is true.", param="top_logprobs")
    if request.top_logprobs and backend == "openvino":
        raise _unsupported("top_logprobs", 'OpenVINO tells the chosen token\'s only; the engine with backend = "llamacpp" tells them.')


def _unsupported(param: str, hint: str) -> UnsupportedParameter:
    return UnsupportedParameter(f"Unsupported parameter: '{param}' is not supported with this model. {hint}", param=param)


def _check_ranges(request: ChatRequest, settings: EngineSettings) -> None:
    ranges: Sequence[tuple[str, float, float | None]] = (
        ("temperature", 0, 2),
        ("top_p", 0, 1),
        ("min_p", 0, 1),
        ("top_k", -1, None),
        ("frequency_penalty", -2, 2),
        ("presence_penalty", -2, 2),
        ("top_logprobs", 0, TOP_LOGPROBS_MAX),
        ("max_completion_tokens", 1, None),
        ("max_tokens", 1, None),
        ("min_tokens", 0, None),
        ("n", 1, min(128, settings.sequences_max)),
    )
    for name, low, high in ranges:
        value = getattr(request, name)
        if value is not None and not (low <= value and (high is None or value <= high)):  # NaN is in no range
            said = f"at least {low}" if high is None else f"between {low} and {high}"
            raise InvalidRequest(f"Invalid '{name}': expected a value {said}, but got {value} instead.", param=name)
    if request.repetition_penalty is not None and not 0 < request.repetition_penalty <= 10:
        raise InvalidRequest("Invalid 'repetition_penalty': expected a value above 0, at most 10.", param="repetition_penalty")
    output_max = request.max_completion_tokens or request.max_tokens
    if output_max and (request.min_tokens or 0) > output_max:
        raise InvalidRequest("Invalid 'min_tokens': larger than the maximum of tokens.", param="min_tokens")


def _stops(stop: str | list[str] | None) -> tuple[str, ...]:
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if len(stops) > STOPS_MAX:
        raise InvalidRequest(f"Invalid 'stop': at most {STOPS_MAX} texts, got {len(stops)}.", param="stop")
    for text in stops:
        if not 0 < len(text) <= STOP_CHARACTERS_MAX:
            raise InvalidRequest(f"Invalid 'stop': a text of 1 to {STOP_CHARACTERS_MAX} characters is expected.", param="stop")
    return stops
