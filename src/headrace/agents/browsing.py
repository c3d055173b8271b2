"""The tools of the browser: what a page says is anyone's; what goes into a page leaves; what a page would send needs leave of its own.

Looking, reading and following links only ask for pages (GET), at hosts that were opened with leave. Typing is where something leaves, since
a page can pass on each letter. A form is sent by `browser_submit` alone: everything else that is no plain request for a page is held back.
"""

from typing import Final

from headrace.agents.cards import Card, Effect, Field
from headrace.agents.labels import Readers, Writers
from headrace.agents.tools import Tool

OWN: Final = "own_"
"""So begin the fields that a browser tells of pages once the person has had it: they may be what is shown to them alone."""
_PAGE: Final = Field(writers=Writers.ANYONE, readers=Readers.ANYONE)
_OWN_PAGE: Final = Field(writers=Writers.ANYONE, readers=Readers.PERSON)
_OWN_FIELDS: Final = dict.fromkeys(
    (f"{OWN}{name}" for name in ("url", "title", "page", "text", "path", "bytes", "error", "not_reached", "held_back")), _OWN_PAGE
)
_VISIT: Final = Effect(kind="fetch", audience=Readers.ANYONE)
_HOST: Final = "The host of the page that is open, such as www.example.org."

BROWSER: Final[tuple[Tool, ...]] = (
    Tool(
        Card(
            tool="browser_open",
            says="Open a page in a browser, and see it as a tree whose elements have references such as e7.",
            effect=_VISIT,
            arguments={"url": "url"},
            rest=_PAGE,
            fields=_OWN_FIELDS,
            repeatable=True,
        ),
        {"url": "Its address, http or https."},
    ),
    Tool(
        Card(tool="browser_look", says="See the page that is open again.", rest=_PAGE, fields=_OWN_FIELDS, repeatable=True),
        {"ref?": "Only this element and what is in it.", "find?": "Only lines that hold this, and those around them."},
    ),
    Tool(
        Card(tool="browser_read", says="Read the words of the page that is open.", rest=_PAGE, fields=_OWN_FIELDS, repeatable=True),
        {"ref?": "Only those of this element."},
    ),
    Tool(
        Card(
            tool="browser_click",
            says="Click on an element: follow a link, open a menu. It sends no form.",
            effect=_VISIT,
            arguments={"ref": "free"},
            rest=_PAGE,
            fields=_OWN_FIELDS,
            repeatable=True,
        ),
        {"ref": "The element, such as e7."},
    ),
    Tool(
        Card(
            tool="browser_type",
            says="Type into a field of the page, or choose in a list. It sends no form, but for a search that only asks for a page.",
            effect=_VISIT,
            arguments={"ref": "free", "text": "content", "host": "url", "enter": "free"},
            rest=_PAGE,
            fields=_OWN_FIELDS,
            repeatable=True,
        ),
        {"ref": "The field.", "text": "What is to stand in it.", "host": _HOST, "enter?": "yes: press Enter afterwards."},
    ),
    Tool(
        Card(
            tool="browser_submit",
            says="Click on what sends a form: order, post, log in. It is asked about unless the person named the address.",
            effect=Effect(kind="publish", audience=Readers.ANYONE, final=True, varied=True),
            arguments={"ref": "free", "what": "free", "host": "url"},
            rest=_PAGE,
            fields=_OWN_FIELDS,
        ),
        {"ref": "The element.", "what": "Its words, exactly as the page shows them.", "host": _HOST},
    ),
    Tool(
        Card(
            tool="browser_download",
            says="Click on a link that leads to a file, and put the file into the folder downloads of the workspace.",
            effect=_VISIT,
            arguments={"ref": "free"},
            rest=_PAGE,
            fields=_OWN_FIELDS,
            repeatable=True,
        ),
        {"ref": "The link."},
    ),
)

HAND_OVER: Final = Tool(
    Card(
        tool="browser_hand_over",
        says="Ask the person to do something in the browser themselves: sign in, solve a puzzle, enter what you must not know. Open the "
        "page first; you see it again when they are done.",
        effect=Effect(kind="fetch", contained=True),
        arguments={"why": "asked"},
        rest=_PAGE,
        fields=_OWN_FIELDS,
        repeatable=True,
    ),
    {"why": "What they are to do, in a sentence."},
)
"""Where people can see and take the browser."""
