"""Write web/src/lib/types.ts: what goes between the page and its server, as TypeScript. `--check` says whether it is up to date."""

import sys
from pathlib import Path
from typing import Any

import msgspec

from headrace.agents.events import Event
from headrace.core.shown import Shown
from headrace.workspace.console import NewKey
from headrace.workspace.door import Answered, Changes, Forking, Message, NewThread
from headrace.workspace.files import Doing
from headrace.workspace.live import Happening
from headrace.workspace.making import Making, NewReport, Offered
from headrace.workspace.schedules import NewSchedule
from headrace.workspace.triggers import NewTrigger
from headrace.workspace.webhooks import NewWebhook
from headrace.workspace.window import Act, Seen

PATH = Path(__file__).resolve().parents[1] / "web" / "src" / "lib" / "types.ts"
HEAD = "// Made by scripts/page_types.py from the server's own values: don't edit.\n"
PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def written() -> str:
    """The file as it should be."""
    asked = [NewThread, Changes, Message, Answered, Forking, NewKey, Doing, NewSchedule, NewTrigger, NewWebhook, NewReport]
    kinds: list[Any] = [Event, Happening, Seen, Act, *asked, Making, Offered, Shown]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="{name}")
    parts = [HEAD, *(_interface(name, schema) for name, schema in sorted(components.items()))]
    parts += [f"export type Event = {_type(schemas[0])};\n", f"export type Happening = {_type(schemas[1])};\n"]
    parts += [f"export type Seen = {_type(schemas[2])};\n", f"export type Act = {_type(schemas[3])};\n"]
    return "\n".join(parts)


def _interface(name: str, schema: dict[str, Any]) -> str:
    if "properties" not in schema:
        return f"export type {name} = {_type(schema)};\n"
    needed = schema.get("required", ())
    answered = any("enum" in one or "const" in one for one in schema["properties"].values())  # what we send leaves nothing out
    fields = [f"  {field}{'' if answered or field in needed else '?'}: {_type(one)};\n" for field, one in schema["properties"].items()]
    says = schema.get("description", "").split("\n")[0]
    return f"{f'/** {says} */' + chr(10) if says else ''}export interface {name} {{\n{''.join(fields)}}}\n"


def _type(schema: dict[str, Any]) -> str:
    match schema:
        case {"$ref": name}:
            return str(name)
        case {"const": value}:
            return f'"{value}"'
        case {"enum": values}:
            return " | ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in values)
        case {"anyOf": many}:
            return " | ".join(_type(one) for one in many)
        case {"type": "array", "items": items} if items:
            inner = _type(items)
            return f"({inner})[]" if " " in inner else f"{inner}[]"
        case {"type": "array"}:
            return "unknown[]"
        case {"type": "object", "additionalProperties": dict() as values}:
            return f"Record<string, {_type(values)}>"
        case {"type": "object"}:
            return "Record<string, unknown>"
        case {"type": str() as kind}:
            return PLAIN[kind]
        case _:
            return "unknown"


def main() -> int:
    if "--check" in sys.argv:
        return 0 if PATH.read_text() == written() else 1
    PATH.write_text(written())
    return 0


if __name__ == "__main__":
    sys.exit(main())
