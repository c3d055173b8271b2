"""The workspace's own tools: their cards, and how a model is told of them.

Files and commands are contained: they happen in an overlay of the folder, inside the sandbox, without network, and are undone as a whole.
What a file holds can have been written by anyone, also in the person's own folder: it may be a clone, or have come by mail.
"""

from typing import Final

import msgspec

from headrace.agents.cards import Card, Effect, Field
from headrace.agents.labels import Readers, Writers

_FOUND: Final = Field(writers=Writers.ANYONE, readers=Readers.PERSON)
_PAGE: Final = Field(writers=Writers.ANYONE, readers=Readers.ANYONE)
_CHANGE: Final = Effect(kind="file", contained=True)


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool as a model is told of it: `takes` says what each argument is; all are texts, and those that end with `?` may be left out.

    `schema` is the JSON Schema of the arguments, as text, of a tool that says them itself; `takes` is empty then.
    """

    card: Card
    takes: dict[str, str] = {}
    schema: str = ""


TOOLS: Final[dict[str, Tool]] = {
    tool.card.tool: tool
    for tool in (
        Tool(
            Card(tool="list_files", says="List the files of the workspace folder.", rest=_FOUND, repeatable=True),
            {"folder?": "A folder of the workspace; all of it when left out."},
        ),
        Tool(
            Card(tool="read_file", says="Read a text file of the workspace.", arguments={"path": "path"}, rest=_FOUND, repeatable=True),
            {"path": "The file, relative to the workspace."},
        ),
        Tool(
            Card(
                tool="write_file",
                says="Write a text file of the workspace, new or whole.",
                effect=_CHANGE,
                arguments={"path": "path", "text": "free"},
                fields={"": Field(writers=Writers.OWN)},
                repeatable=True,
            ),
            {"path": "The file, relative to the workspace.", "text": "All that it is to hold."},
        ),
        Tool(
            Card(
                tool="edit_file",
                says="Replace one passage of a text file of the workspace.",
                effect=_CHANGE,
                arguments={"path": "path", "old": "free", "new": "free"},
                fields={"": Field(writers=Writers.OWN)},
            ),
            {"path": "The file.", "old": "The passage, exactly as it stands, once in the file.", "new": "What is to stand there."},
        ),
        Tool(
            Card(
                tool="delete_file",
                says="Delete a file of the workspace.",
                effect=_CHANGE,
                arguments={"path": "path"},
                fields={"": Field(writers=Writers.OWN)},
            ),
            {"path": "The file."},
        ),
        Tool(
            Card(
                tool="run_command",
                says="Run a shell command in the workspace folder, inside a sandbox without network.",
                effect=Effect(kind="run", contained=True),
                arguments={"command": "free", "hosts": "hosts"},
                fields={"exit_code": Field(writers=Writers.OWN)},
                rest=_FOUND,
            ),
            {"command": "What the shell is to run.", "hosts?": "Hosts that it must reach, separated by spaces; each needs leave."},
        ),
        Tool(
            Card(
                tool="fetch",
                says="Read a page of the web as text.",
                effect=Effect(kind="fetch", audience=Readers.ANYONE),
                arguments={"url": "url"},
                rest=_PAGE,
                repeatable=True,
            ),
            {"url": "Its address, http or https."},
        ),
    )
}

CARDS: Final[dict[str, Card]] = {name: tool.card for name, tool in TOOLS.items()}
