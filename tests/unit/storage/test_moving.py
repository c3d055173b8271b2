"""What one host has kept is all there in PostgreSQL, and nothing is mixed."""

from pathlib import Path

import pytest

from headrace.core.errors import SetupError
from headrace.metering import WrittenPrice
from headrace.metering.prices import UsdPerMtok
from headrace.storage import (
    Act,
    Author,
    Conversation,
    KeyStore,
    Layout,
    Person,
    PriceSet,
    Register,
    SharedState,
    StoredFile,
    StoredResponse,
    audit_break,
    audit_head,
    connect,
    holds_state,
    keep_conversation,
    keep_file,
    keep_response,
    move,
    price_sets,
    set_price,
)
from headrace.storage.moving import TABLES

ACT = Act(id="audit_1", moment=10, organization="acme", author=Author(origin="command", id="root"))
RESPONSE = StoredResponse(
    id="r", created_s=1, expires_s=9, status="completed", background=False, previous=None, body={"id": "r\0"}, input=[{"id": "i"}]
)


def test_everything_is_moved_once(layout: Layout, remote: str, tmp_path: Path) -> None:
    local, state = connect(layout.database), SharedState(layout, remote, lambda: 0)
    assert not holds_state(local)
    register = Register(local, layout, "acme")
    register.add_person(Person(id="user_1", organization="acme", email="Ann@acme.example", name="Ann", role="owner", added=1), ACT)
    KeyStore(local, layout).create(id="key_1", name="k", organization="acme", project="p", token=bytes(32), created=1, models=("a", "b"))
    keep_response(local, "acme/p", RESPONSE)
    keep_conversation(local, "acme/p", Conversation("c", 1, {"a": "b"}), [{"id": str(at)} for at in range(250)])
    keep_file(local, "acme/p", StoredFile(id="f", created_s=1, expires_s=0, size=3, filename="ä %s ?", purpose="batch"), 10)
    for usd in ("1", "2"):
        set_price(local, layout, PriceSet("sell", None, WrittenPrice(model="m", usd_per_mtok=UsdPerMtok(input=usd), source="test"), 5))
    assert holds_state(local)
    with state.opened() as there:
        counts = move(local, there)
        assert (counts["conversation_item"], counts["api_key"]) == (250, 1)
        for table in TABLES:
            same = f"SELECT * FROM {table} ORDER BY 1, 2, 3"
            assert there.execute(same).fetchall() == local.execute(same).fetchall(), table
        assert (audit_break(there), audit_head(there)) == (None, audit_head(local))
        assert Register(there, layout, "acme").person_of("ann@ACME.example") is not None
        set_price(there, layout, PriceSet("sell", None, WrittenPrice(model="m", usd_per_mtok=UsdPerMtok(input="3"), source="test"), 6))
        assert len(price_sets(there)) == 3
        with pytest.raises(SetupError, match="holds something already"):
            move(local, there)
    local.close()
