"""OpenAI's chat requests as requests to Amazon Bedrock's ConverseStream.

Every field of the request is in exactly one of three tables: `TRANSLATED`, `DROPPED` (no equal here, and the answer is of use without it:
reported) and `REFUSED` (no equal here, and an answer without it would be wrong: NotTranslatable). A field that says nothing, by being
absent or neutral, is in order everywhere. The reading direction is `wire/bedrock_stream.py`.
"""

from typing import assert_never

import msgspec

from headrace.core.errors import InvalidRequest, NotTranslatable
from headrace.core.translation import Change, Changed
from headrace.wire.bedrock_content import Block, Conversation, bears_mark, conversation_of
from headrace.wire.bedrock_models import Traits, traits_of
from headrace.wire.openai_chat import ChatRequest, JsonObjectFormat, JsonSchema, JsonSchemaFormat, NamedTool, TextFormat, Tool
from headrace.wire.openai_marks import Kept, Mark, mark_of, settled
from headrace.wire.sigv4 import uri_encoded

TRANSLATED = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_completion_tokens",
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stop",
        "response_format",
        "tools",
        "tool_choice",
        "reasoning_effort",
        "service_tier",
        "prompt_cache_options",
    }
)
DROPPED: dict[str, tuple[tuple[object, ...], str]] = {
    "frequency_penalty": ((0,), "Bedrock has no penalties"),
    "presence_penalty": ((0,), "Bedrock has no penalties"),
    "repetition_penalty": ((1,), "Bedrock has no penalties"),
    "seed": ((), "Bedrock has no seed"),
    "logit_bias": (({},), "Bedrock can't bias tokens"),
    "min_p": ((0,), "Bedrock has no min_p"),
    "min_tokens": ((0,), "Bedrock has no least length"),
    "ignore_eos": ((False,), "Bedrock models always stop at their end"),
    "parallel_tool_calls": ((True,), "Bedrock can't be told to call one tool at a time"),
    "verbosity": ((), "Bedrock has no verbosity"),
    "prediction": ((), "Bedrock takes no predicted output"),
    "store": ((False,), "Bedrock keeps no answers"),
    "metadata": (({},), "Bedrock keeps no answers to mark"),
    "user": ((), "Bedrock takes no end user's name"),
    "safety_identifier": ((), "Bedrock takes no end user's name"),
    "prompt_cache_key": ((), "Bedrock's prompt cache has no keys"),
    "prompt_cache_retention": ((), "Bedrock's prompt cache is marked, with prompt_cache_options or at a part"),
}
"""By field: the values that say nothing, and why others are dropped."""
REFUSED: dict[str, tuple[tuple[object, ...], str]] = {
    "n": ((1,), "Bedrock gives one choice an answer."),
    "logprobs": ((False,), "Bedrock tells no logprobs."),
    "top_logprobs": ((0,), "Bedrock tells no logprobs."),
    "modalities": ((["text"], []), "Bedrock answers in text only."),
    "audio": ((), "Bedrock answers in text only."),
    "functions": (([],), "Bedrock knows no functions: use tools."),
    "function_call": (("none", "auto"), "Bedrock knows no functions: use tools."),
    "web_search_options": ((), "Bedrock does not search the web."),
    "moderation": ((), "Bedrock moderates by guardrails, which a request can't bring along."),
}
"""By field: the values that say nothing, and why others are refused."""

BUDGET_TOKENS_MIN = 1_024
BUDGET_PERCENT = {"minimal": 20, "low": 20, "medium": 50, "high": 80, "xhigh": 80, "max": 80}
"""How much of its output Claude may think, where it is told in tokens."""
TOP_P_THINKING_MIN = 0.95
EFFORTS = ("none", *BUDGET_PERCENT)
SERVICE_TIERS = {"default": "default", "flex": "flex", "priority": "priority"}
BINDING: Block = {"block_binding": {"prefix_mismatch_behavior": "drop_block"}}
BINDING_BETA = "thinking-binding-controls-2026-08-01"
"""Claude's thoughts that don't hold any more are left out of the prompt; else the request would be refused, and a conversation once
edited, by its client or on its way through another dialect, could never go on."""


DOMAINS = {"cn-": "amazonaws.com.cn", "eusc-": "amazonaws.eu"}
"""By the start of a region's name: where its services are, outside of AWS's commercial partition."""


class Translation(msgspec.Struct, frozen=True):
    """The body to send, and what of the request it does not say as it was asked."""

    body: bytes
    changes: tuple[Change, ...]


def url_for(region: str) -> str:
    """Where Bedrock answers in a region."""
    domain = next((domain for start, domain in DOMAINS.items() if region.startswith(start)), "amazonaws.com")
    return f"https://bedrock-runtime.{region}.{domain}"


def path_for(model: str) -> str:
    """Where a model is asked, encoded for the wire: ids have colons, and ARNs slashes."""
    return f"/model/{uri_encoded(model)}/converse-stream"


def request_for(asked: ChatRequest, *, model: str, tokens_out_max: int) -> Translation:
    """`asked` for `model`, Bedrock's own id. Raises NotTranslatable, or InvalidRequest for what is wrong in any dialect."""
    for name, (neutral, why) in REFUSED.items():
        if _says(asked, name, neutral):
            raise NotTranslatable(why, param=name)
    traits = traits_of(model, asked.model)
    writer = _Writer(asked, traits, tokens_out_max, conversation_of(asked.messages, traits.format))
    return Translation(msgspec.json.encode(writer.body()), tuple(writer.changes))


def _says(asked: ChatRequest, name: str, neutral: tuple[object, ...]) -> bool:
    value = getattr(asked, name)
    return value is not None and value not in neutral


class _Writer:
    """One request while it is written: its parts decide together, since thinking excludes some of the others."""

    def __init__(self, asked: ChatRequest, traits: Traits, tokens_out_max: int, conversation: Conversation) -> None:
        self._asked, self._traits, self._tokens_out_max, self._conversation = asked, traits, tokens_out_max, conversation
        self._inference: Block = {"maxTokens": tokens_out_max}
        self._output: Block = {}
        self._beside: Block = {}
        self._thinking: Block = {}
        self._thinks = False
        self.changes = list(conversation.changes)

    def body(self) -> Block:
        self._think()
        self._bind()
        self._sample()
        tools = self._tools()
        self._format()
        tier = self._tier()
        self._mark_cache(tools)
        for name, (neutral, why) in DROPPED.items():
            if _says(self._asked, name, neutral):
                self._changed("dropped", name, why)
        said: Block = {
            "messages": self._conversation.turns,
            "system": self._conversation.system,
            "inferenceConfig": self._inference,
            "toolConfig": tools,
            "outputConfig": self._output,
            "additionalModelRequestFields": self._beside,
            "serviceTier": tier,
        }
        return {name: part for name, part in said.items() if part}

    def _changed(self, what: Changed, param: str, why: str) -> None:
        self.changes.append(Change(what, param, why))

    # How much to think.

    def _think(self) -> None:
        effort = self._asked.reasoning_effort
        if effort is None:
            return
        if effort not in EFFORTS:
            named = ", ".join(EFFORTS)
            raise InvalidRequest(f"Invalid value for 'reasoning_effort': one of {named} is expected.", param="reasoning_effort")
        match self._traits.thinking:
            case "unsaid":
                if effort != "none":
                    self._changed("dropped", "reasoning_effort", "this model can't be told how much to think")
            case "effort":
                self._beside["reasoning_effort"] = self._level(effort, least="none")
            case "nova":
                self._think_as_nova(effort)
            case "budget" | "adaptive" as kind:
                if effort != "none" and self._forces_a_tool():
                    self._changed("dropped", "reasoning_effort", "this model does not think before a call that is forced")
                elif kind == "budget":
                    self._think_within_budget(effort)
                else:
                    self._think_adaptively(effort)
            case never:
                assert_never(never)

    def _bind(self) -> None:
        """A model that binds its thoughts always thinks, and so takes this where no effort is asked for as well."""
        if self._traits.binds and self._conversation.thinks:
            self._thinking = {"type": "adaptive"} | self._thinking | BINDING
            self._beside["anthropic_beta"] = [BINDING_BETA]
        if self._thinking:
            self._beside["thinking"] = self._thinking

    def _level(self, effort: str, *, least: str) -> str:
        """The nearest of the levels that the model knows, and a report where it is another."""
        known = ("none", "low", "medium", "high", *self._traits.efforts)
        known = known[known.index(least) :]
        level = effort
        if effort not in known:
            level = "high" if effort in ("xhigh", "max") else "low"
            self._changed("changed", "reasoning_effort", f"the nearest that this model knows is {level}")
        return level

    def _think_within_budget(self, effort: str) -> None:
        """Between a call and its answer this model only goes on thinking; OpenAI's own clients don't give its thoughts back."""
        if effort == "none":
            return
        if self._conversation.calls_unthought:
            self._changed("dropped", "reasoning_effort", "the thoughts before the last tool call were not given back")
            return
        budget = max(BUDGET_TOKENS_MIN, self._tokens_out_max * BUDGET_PERCENT[effort] // 100)
        if budget >= self._tokens_out_max:
            why = f"this model thinks in {BUDGET_TOKENS_MIN} tokens or more, which the answer's {self._tokens_out_max} do not hold"
            self._changed("dropped", "reasoning_effort", why)
            return
        self._thinking = {"type": "enabled", "budget_tokens": budget}
        self._thinks = True

    def _think_adaptively(self, effort: str) -> None:
        if effort != "none":
            self._thinking = {"type": "adaptive"}
            self._output["effort"] = self._level(effort, least="low")
            self._thinks = True
        elif self._traits.unthinking == "disabled":
            self._thinking = {"type": "disabled"}
        elif self._traits.unthinking == "impossible":
            self._output["effort"] = self._level(effort, least="low")

    def _think_as_nova(self, effort: str) -> None:
        """Nova's `high` excludes a bound of the output, and what is not bounded can't be admitted: so `medium` is its most."""
        if effort == "none":
            return
        level = effort if effort in ("low", "medium") else "low" if effort == "minimal" else "medium"
        if level != effort:
            self._changed("changed", "reasoning_effort", f"the nearest that this model knows within a bound of tokens is {level}")
        self._beside["reasoningConfig"] = {"type": "enabled", "maxReasoningEffort": level}

    def _forces_a_tool(self) -> bool:
        return self._asked.tool_choice == "required" or isinstance(self._asked.tool_choice, NamedTool)

    # How to choose words.

    def _sample(self) -> None:
        asked, traits = self._asked, self._traits
        stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
        if any(stops):
            self._inference["stopSequences"] = [stop for stop in stops if stop]
        temperature = self._sampled("temperature", asked.temperature, excluded=self._thinks)
        if temperature is not None:
            if temperature > 1:
                self._changed("changed", "temperature", "1 is the most here")
            self._inference["temperature"] = min(temperature, 1.0)
        top_p = self._sampled("top_p", asked.top_p, excluded=self._thinks and (asked.top_p or 0) < TOP_P_THINKING_MIN)
        if top_p is not None and temperature is not None and traits.samples_one:
            if top_p != 1:
                self._changed("dropped", "top_p", "this model takes either a temperature or top_p")
        elif top_p is not None:
            self._inference["topP"] = top_p
        top_k = asked.top_k if asked.top_k is not None and asked.top_k > 0 else None  # 0 and -1 are how others say all of them
        if self._sampled("top_k", top_k, excluded=self._thinks or traits.top_k == "untaken") is None:
            return
        if traits.top_k == "nova":
            self._beside["inferenceConfig"] = {"topK": top_k}
        else:
            self._beside["top_k"] = top_k

    def _sampled(self, name: str, value: float | None, *, excluded: bool) -> float | None:
        """`value` where the model takes it; where it does not, None, and a report if that changes something."""
        if value is None or (self._traits.samples and not excluded):
            return value
        if value != 1 or name == "top_k":
            why = "this model does not take it while it thinks" if self._thinks and self._traits.samples else "this model does not take it"
            self._changed("dropped", name, why)
        return None

    # What to answer with.

    def _tools(self) -> Block:
        tools, choice = self._asked.tools or [], self._asked.tool_choice
        if self._forces_a_tool() and not tools:
            raise InvalidRequest("Invalid value for 'tool_choice': it calls for a tool, and there are no tools.", param="tool_choice")
        if not tools or choice == "none":
            if self._conversation.calls_tools:
                param = "tool_choice" if tools else "tools"
                said = "A conversation in which tools were called must offer tools to Bedrock, which then may call them."
                raise NotTranslatable(said, param=param)
            return {}
        if self._forces_a_tool() and not self._traits.forces_tools:
            raise NotTranslatable("This model on Bedrock can't be made to call a tool.", param="tool_choice")
        config: Block = {"tools": [block for at, tool in enumerate(tools) for block in self._tool(tool, at)]}
        if isinstance(choice, NamedTool):
            config["toolChoice"] = {"tool": {"name": choice.function.name}}
        elif choice == "required":
            config["toolChoice"] = {"any": {}}
        return config

    def _tool(self, tool: Tool, at: int) -> list[Block]:
        """The tool, and behind it the mark that ends a cached prompt, if it has one."""
        function = tool.function
        spec: Block = {"name": function.name, "inputSchema": {"json": function.parameters or {"type": "object", "properties": {}}}}
        if function.description:
            spec["description"] = function.description
        if function.strict and self._traits.holds_schemas:
            spec["strict"] = True
        elif function.strict:
            self._changed("dropped", f"tools[{at}].function.strict", "this model can't be held to a schema")
        mark = mark_of(tool, f"tools[{at}]")
        if mark is not None and self._traits.caches_on_mark and not self._traits.marks_tools:
            self._changed("dropped", mark.param, "this model's cache takes no marks at tools")
            mark = None
        blocks: list[Block] = [{"toolSpec": spec}, {"cachePoint": mark}]
        return blocks if mark is not None else blocks[:1]

    def _format(self) -> None:
        match self._asked.response_format:
            case None | TextFormat():
                return
            case JsonObjectFormat():
                raise NotTranslatable("Bedrock answers in JSON only by a schema: use json_schema.", param="response_format")
            case JsonSchemaFormat(json_schema=wanted):
                self._output["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": self._schema(wanted)}}
            case never:
                assert_never(never)

    def _schema(self, wanted: JsonSchema) -> Block:
        if not self._traits.holds_schemas:
            raise NotTranslatable("This model on Bedrock can't be held to a JSON schema.", param="response_format")
        if wanted.schema is None:
            raise NotTranslatable("Bedrock answers in JSON only by a schema.", param="response_format.json_schema.schema")
        said: Block = {"name": wanted.name, "schema": msgspec.json.encode(wanted.schema).decode()}
        if wanted.description:
            said["description"] = wanted.description
        return said

    # How to serve it.

    def _tier(self) -> Block:
        tier = self._asked.service_tier
        if tier in SERVICE_TIERS:
            return {"type": SERVICE_TIERS[tier]}
        if tier not in (None, "auto"):
            self._changed("dropped", "service_tier", "Bedrock's tiers are default, flex and priority")
        return {}

    def _mark_cache(self, tools: Block) -> None:
        """Where the client marks that a cached prompt may end, and at the end of the newest message where the prompt as a whole is to be
        kept (OpenAI's implicit breakpoint)."""
        options = self._asked.prompt_cache_options
        usual = None
        if options is not None:
            usual = Mark("prompt_cache_options", None if options.get("ttl") is None else str(options["ttl"]))
            if options.get("mode") != "explicit":
                self._mark_end(usual)
        lists = [tools.get("tools"), self._conversation.system, *(turn.content for turn in self._conversation.turns)]
        places = [blocks for blocks in lists if isinstance(blocks, list)]
        marks = [block["cachePoint"] for blocks in places for block in blocks if "cachePoint" in block]
        times: list[Kept | None]
        if self._traits.caches_on_mark:
            times, changes = settled(marks, usual, hour=self._traits.keeps_an_hour)
        else:
            times = [None] * len(marks)
            changes = [Change("dropped", mark.param, "this model's cache takes no marks") for mark in marks]
        self.changes += changes
        left = iter(times)
        for blocks in places:
            pointed = [_point(next(left)) if "cachePoint" in block else block for block in blocks]
            blocks[:] = [block for block in pointed if block is not None]

    def _mark_end(self, mark: Mark) -> None:
        content = self._conversation.turns[-1].content
        at = len(content)
        while at and not bears_mark(content[at - 1]):
            at -= 1
        if not at:
            self._changed("dropped", mark.param, "Bedrock takes no mark behind thoughts, or behind a file that is no PDF")
        elif "cachePoint" not in content[at - 1]:
            content.insert(at, {"cachePoint": mark})


def _point(kept: Kept | None) -> Block | None:
    """The block that Converse is told; five minutes go without saying, since not every model is known to take the word."""
    if kept is None:
        return None
    return {"cachePoint": {"type": "default"} | ({"ttl": kept} if kept == "1h" else {})}
