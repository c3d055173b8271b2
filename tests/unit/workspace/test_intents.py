"""What a message wants, by its words; and how a model is told of it."""

import json

import pytest

from headrace.agents.events import Event, ModelSaid, PersonSaid
from headrace.agents.leave import Call
from headrace.agents.tools import TOOLS
from headrace.workspace.conversation import body_of
from headrace.workspace.intents import fitted, intent_of

TABLE = [
    # said                                                    there is a project   it wants
    ("Why is the sky blue?", False, "chat"),
    ("Why is the sky blue?", True, "chat"),
    ("Write a file hello.py and run it", False, "code"),
    ("Run the tests and fix what fails", True, "code"),
    ("Remember that I live in Bern.", False, "task"),
    ("What does www.example.org/notes say?", False, "browse"),
]


@pytest.mark.parametrize(("text", "folder", "intent"), TABLE)
def test_what_words_want(text, folder, intent):
    assert intent_of(text, folder=folder) == intent


def test_who_only_talks_is_offered_no_tools_unless_some_were_used():
    talk = [PersonSaid("Hello")]
    asked = json.loads(fitted(body_of(talk, TOOLS), "chat"))
    assert "tools" not in asked
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]
    assert json.loads(fitted(body_of(talk, TOOLS), "code"))["tools"]
    worked: list[Event] = [PersonSaid("Hello"), ModelSaid("", (Call("c", "list_files", "{}"),))]
    assert json.loads(fitted(body_of(worked, TOOLS), "chat"))["tools"], "their calls would be of no known tool"
