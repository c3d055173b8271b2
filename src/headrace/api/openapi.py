"""Our own OpenAPI document, made of the routes and the values that read them, and a page to browse it.

Where a body is not one of our values (forms, lists), its members are told here. What is streamed is told in words: OpenAPI knows no events.
"""

import html
import json
from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.api.money import KeyAsk, LongerAsk
from headrace.api.openapi_administration import ADMINISTRATION, BODIES
from headrace.api.openapi_operation import METADATA, OBJECT, PAGE, TEXT, Operation
from headrace.wire.messages_request import MessagesRequest
from headrace.wire.openai_chat import ChatRequest
from headrace.wire.openai_embeddings import EmbeddingsRequest
from headrace.wire.responses_request import ResponsesRequest

SPOKEN = ("audio/mpeg", "audio/wav", "audio/ogg", "audio/flac", "audio/aac", "application/octet-stream", "text/event-stream")
WRITTEN = ("application/json", "text/plain", "text/vtt", "text/event-stream")
STREAMED = ("application/json", "text/event-stream")
OPERATIONS: tuple[Operation, ...] = (
    Operation("post", "/v1/chat/completions", "A chat completion, streamed or whole", ChatRequest, answers=STREAMED),
    Operation("post", "/v1/embeddings", "Embeddings of texts or token numbers", EmbeddingsRequest),
    Operation("post", "/v1/moderations", "Whether something is harmful", "Moderation"),
    Operation("post", "/v1/images/generations", "Images of a prompt, streamed or whole", "Image", answers=STREAMED),
    Operation("post", "/v1/images/edits", "Images made of others", "ImageForm", answers=STREAMED),
    Operation("post", "/v1/images/variations", "Variations of an image", "VariationForm"),
    Operation("post", "/v1/audio/speech", "A text, spoken", "Speech", answers=SPOKEN),
    Operation("post", "/v1/audio/transcriptions", "A recording, written down; streamed or whole", "RecordingForm", answers=WRITTEN),
    Operation("post", "/v1/audio/translations", "A recording, written down in English", "RecordingForm", answers=WRITTEN),
    Operation("post", "/v1/responses", "A response, streamed, whole or in the background", ResponsesRequest, answers=STREAMED),
    Operation("get", "/v1/responses/{id}", "A kept response, or its events", query=("stream", "starting_after"), answers=STREAMED),
    Operation("delete", "/v1/responses/{id}", "Forget a response"),
    Operation("post", "/v1/responses/{id}/cancel", "End a response that is made in the background"),
    Operation("get", "/v1/responses/{id}/input_items", "What a response was asked", query=PAGE),
    Operation("post", "/v1/responses/input_tokens", "How long a prompt likely is", ResponsesRequest),
    Operation("post", "/v1/responses/compact", "A conversation made shorter", ResponsesRequest),
    Operation("post", "/v1/conversations", "A new conversation", "Conversation"),
    Operation("get", "/v1/conversations/{id}", "A conversation"),
    Operation("post", "/v1/conversations/{id}", "Give a conversation other metadata", "Conversation"),
    Operation("delete", "/v1/conversations/{id}", "Forget a conversation"),
    Operation("get", "/v1/conversations/{id}/items", "The items of a conversation", query=PAGE),
    Operation("post", "/v1/conversations/{id}/items", "Add items to a conversation", "Conversation"),
    Operation("get", "/v1/conversations/{id}/items/{item}", "One item of a conversation"),
    Operation("delete", "/v1/conversations/{id}/items/{item}", "Take an item out of a conversation"),
    Operation("post", "/v1/messages", "A message of Anthropic's, streamed or whole", MessagesRequest, answers=STREAMED),
    Operation("post", "/v1/messages/count_tokens", "How long a prompt likely is", MessagesRequest),
    Operation("post", "/v1/messages/batches", "Have many messages made, by Anthropic's form", "MessageBatch"),
    Operation("get", "/v1/messages/batches", "The message batches of the project", query=("limit", "after_id", "before_id")),
    Operation("get", "/v1/messages/batches/{id}", "How far a message batch is"),
    Operation("delete", "/v1/messages/batches/{id}", "Forget a message batch that has ended"),
    Operation("post", "/v1/messages/batches/{id}/cancel", "End a message batch"),
    Operation(
        "get", "/v1/messages/batches/{id}/results", "What came of a message batch, a line of JSON each", answers=("application/x-jsonl",)
    ),
    Operation("post", "/v1/files", "Upload a file", "FileForm"),
    Operation("get", "/v1/files", "The files of the project", query=("purpose", *PAGE)),
    Operation("get", "/v1/files/{id}", "A file's facts"),
    Operation("delete", "/v1/files/{id}", "Delete a file"),
    Operation("get", "/v1/files/{id}/content", "A file's content", answers=("application/octet-stream",)),
    Operation("post", "/v1/uploads", "Begin a file in parts", "Upload"),
    Operation("post", "/v1/uploads/{id}/parts", "Add a part", "PartForm"),
    Operation("post", "/v1/uploads/{id}/complete", "Make a file of the parts", "UploadCompletion"),
    Operation("post", "/v1/uploads/{id}/cancel", "Give an upload up"),
    Operation("post", "/v1/batches", "Have a file of requests worked on", "Batch"),
    Operation("get", "/v1/batches", "The batches of the project", query=PAGE),
    Operation("get", "/v1/batches/{id}", "How far a batch is"),
    Operation("post", "/v1/batches/{id}/cancel", "End a batch"),
    Operation("post", "/v1/quotes", "What a request could cost at most, or a batch", "Any", query=("endpoint",)),
    Operation("post", "/v1/keys", "A key that may do less than the one that asks", KeyAsk),
    Operation("post", "/v1/keys/{key}", "Another end for a key that was minted from the one that asks", LongerAsk),
    Operation("delete", "/v1/keys/{key}", "Revoke a key that was minted from the one that asks"),
    *ADMINISTRATION,
    Operation("get", "/v1/models", "The models that can be asked"),
    Operation("get", "/v1/models/{model}", "One model"),
)
JSON = "application/json"
ANTHROPICS = ("/v1/messages", "/v1/models")
"""Where a key is taken as Anthropic's clients send it."""
BYTES: dict[str, Any] = {"type": "string", "contentMediaType": "application/octet-stream"}
IMAGES: dict[str, Any] = {"anyOf": [BYTES, {"type": "array", "items": BYTES, "minItems": 1, "maxItems": 16}]}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": 128}
FORMS: dict[str, dict[str, Any]] = {
    "ImageForm": {
        "type": "object",
        "required": ["image", "prompt"],
        "properties": {"image": IMAGES, "mask": BYTES, "prompt": TEXT, "model": TEXT, "n": COUNT, "stream": {"type": "boolean"}},
    },
    "VariationForm": {
        "type": "object",
        "required": ["image"],
        "properties": {"image": BYTES, "model": TEXT, "n": COUNT},
    },
    "RecordingForm": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": BYTES, "model": TEXT, "prompt": TEXT, "response_format": TEXT, "stream": {"type": "boolean"}},
    },
    "FileForm": {
        "type": "object",
        "required": ["file", "purpose"],
        "properties": {
            "file": {"type": "string", "contentMediaType": "application/octet-stream"},
            "purpose": TEXT,
            "expires_after[anchor]": {"const": "created_at"},
            "expires_after[seconds]": {"type": "integer"},
        },
    },
    "PartForm": {
        "type": "object",
        "required": ["data"],
        "properties": {"data": {"type": "string", "contentMediaType": "application/octet-stream"}},
    },
}
OTHERS: dict[str, dict[str, Any]] = {
    **BODIES,
    "Any": {"type": "object", "description": "A request as it would be sent to `endpoint`."},
    "Conversation": {"type": "object", "properties": {"items": {"type": "array", "items": OBJECT, "maxItems": 20}, "metadata": METADATA}},
    "Moderation": {
        "type": "object",
        "required": ["input"],
        "properties": {"model": TEXT, "input": {"anyOf": [TEXT, {"type": "array", "items": {"anyOf": [TEXT, OBJECT]}}]}},
    },
    "Image": {
        "type": "object",
        "required": ["prompt"],
        "properties": {"model": TEXT, "prompt": {"type": "string", "minLength": 1}, "n": COUNT, "stream": {"type": "boolean"}},
    },
    "Speech": {
        "type": "object",
        "required": ["input", "voice"],
        "properties": {
            "model": TEXT,
            "input": {"type": "string", "minLength": 1},
            "voice": {"anyOf": [TEXT, OBJECT]},
            "stream_format": {"enum": ["sse", "audio"]},
        },
    },
    "Upload": {
        "type": "object",
        "required": ["bytes", "filename", "purpose"],
        "properties": {
            "bytes": {"type": "integer", "minimum": 1},
            "filename": TEXT,
            "purpose": TEXT,
            "mime_type": TEXT,
            "expires_after": OBJECT,
        },
    },
    "UploadCompletion": {
        "type": "object",
        "required": ["part_ids"],
        "properties": {"part_ids": {"type": "array", "items": TEXT}, "md5": TEXT},
    },
    "Batch": {
        "type": "object",
        "required": ["input_file_id", "endpoint", "completion_window"],
        "properties": {"input_file_id": TEXT, "endpoint": TEXT, "completion_window": {"const": "24h"}, "metadata": METADATA},
    },
    "MessageBatch": {
        "type": "object",
        "required": ["requests"],
        "properties": {
            "requests": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["custom_id", "params"],
                    "properties": {
                        "custom_id": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"},
                        "params": {"$ref": "#/components/schemas/MessagesRequest"},
                    },
                },
            }
        },
    },
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type"],
                "properties": {"message": TEXT, "type": TEXT, "param": {"type": ["string", "null"]}, "code": {"type": ["string", "null"]}},
            }
        },
    },
}


def document(version: str) -> dict[str, Any]:
    """The whole document, of OpenAPI 3.1."""
    values = [one.body for one in OPERATIONS if isinstance(one.body, type)]
    _, components = msgspec.json.schema_components(list(dict.fromkeys(values)), ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _told(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "headrace", "version": version, "description": "One API in front of every model you run or rent."},
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, **FORMS, **OTHERS},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "anthropic": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _told(operation: Operation) -> dict[str, Any]:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    parameters: list[dict[str, Any]] = [{"name": name, "in": "path", "required": True, "schema": TEXT} for name in names]
    parameters += [{"name": name, "in": "query", "schema": TEXT} for name in operation.query]
    if operation.method == "post":
        parameters.append({"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 255}})
    told: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{operation.method}{operation.path.replace('/', '_').replace('{', '').replace('}', '')}",
        "tags": [operation.path.split("/")[2]],
        "parameters": parameters,
        "responses": {
            "200": {"description": "Done.", "content": {kind: {"schema": OBJECT} if kind == JSON else {} for kind in operation.answers}},
            "default": {
                "description": "Refused, or failed.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if operation.path.startswith(ANTHROPICS):
        told["security"] = [{"key": []}, {"anthropic": []}]
    return told | _body(operation.body)


def _body(body: type | str | None) -> dict[str, Any]:
    if body is None:
        return {}
    name = body if isinstance(body, str) else body.__name__
    kind = "multipart/form-data" if name in FORMS else "application/json"
    return {"requestBody": {"required": True, "content": {kind: {"schema": {"$ref": f"#/components/schemas/{name}"}}}}}


def page(told: dict[str, Any]) -> str:
    """The document to read: no script, nothing fetched from anywhere."""
    rows = [_row(method, path, one) for path, methods in told["paths"].items() for method, one in methods.items()]
    schemas = [_folded(name, schema) for name, schema in sorted(told["components"]["schemas"].items())]
    return PAGE_HEAD + "".join(rows) + "<h2>Values</h2>" + "".join(schemas)


PAGE_HEAD = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>headrace: the API</title><meta name=viewport content='width=device-width'>"
    "<style>body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}code{font-size:.95em}"
    "pre{overflow:auto;background:#f4f4f4;padding:1rem}summary{cursor:pointer;padding:.3rem 0}</style>"
    "<h1>headrace: the API</h1><p>The same for programs: <a href=/openapi.json>openapi.json</a>.</p>"
)


def _row(method: str, path: str, one: dict[str, Any]) -> str:
    title = f"<code>{method.upper()} {html.escape(path)}</code> {html.escape(one['summary'])}"
    return (
        f"<details><summary>{title}</summary>{_pre({name: one[name] for name in ('parameters', 'requestBody') if name in one})}</details>"
    )


def _folded(name: str, schema: dict[str, Any]) -> str:
    return f"<details id='{html.escape(name)}'><summary><code>{html.escape(name)}</code></summary>{_pre(schema)}</details>"


def _pre(value: object) -> str:
    return f"<pre>{html.escape(json.dumps(value, indent=2))}</pre>"


def paths_of(operations: Sequence[Operation] = OPERATIONS) -> frozenset[tuple[str, str]]:
    """Every method and path that the document tells."""
    return frozenset((one.method.upper(), one.path) for one in operations)
