"""Keys: made once, found by their secret alone, revoked at once in every process, and never told again."""

import contextlib
import os
import subprocess
import sys

import pytest

from headrace.core.clock import SECOND
from headrace.core.errors import HeadraceError, InvalidRequest, NotReady
from headrace.metering import KeyRow, digest, secret_from, shown
from headrace.storage import KeyRing, KeyStore, LocalNews, connect
from tests.server import eventually


@pytest.fixture
def news(state):
    return state.follow(SECOND)


@pytest.fixture
def ring(news):
    ring = KeyRing(news)
    yield ring
    ring.close()


@pytest.fixture
def store(state, news, layout):
    """Of the process that has the ring."""
    with state.opened() as database:
        yield KeyStore(database, layout)


def create(store: KeyStore, number: int = 1, **more) -> tuple[KeyRow, str]:
    fields = {"id": f"key_{number}", "name": f"n{number}", "organization": "acme", "project": "demo", "created": number}
    return store.create(**{**fields, **more}, token=bytes([number]) * 32)


def test_a_key_is_found_by_its_secret_as_soon_as_it_is_made(store, ring):
    assert ring.find("sk-hr-nobody") is None
    row, secret = create(store, traffic_class="batch", requests_per_minute=5)
    found = ring.find(secret)
    assert found == row.principal
    assert (found.key, found.traffic_class, found.requests_per_minute, found.tokens_per_minute) == ("key_1", "batch", 5, None)
    assert ring.find(secret + "x") is None
    assert ring.find("") is None


@pytest.mark.parametrize("state", ["sqlite"], indirect=True)
def test_a_secret_is_stored_nowhere(store, layout):
    _, secret = create(store)
    with contextlib.closing(connect(layout.database)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    everything = b"".join(path.read_bytes() for path in layout.root.iterdir() if path.is_file())
    assert secret.encode() not in everything
    assert secret[6:].encode() not in everything
    assert digest(secret) in everything
    assert store.rows()[0].shown == shown(secret)


def test_a_key_that_is_revoked_is_nobodys_at_once(store, ring):
    _, first = create(store, 1)
    second, kept = create(store, 2)
    assert ring.find(first) is not None
    revoked = store.revoke("key_1", 99)
    assert revoked.revoked == 99
    assert ring.find(first) is None
    assert ring.find(kept) == second.principal
    assert store.revoke("key_1", 100).revoked == 99, "revoking again changes nothing, and tells every server again"
    assert [row.revoked for row in store.rows()] == [99, None]


def test_another_process_revokes_as_well(state, store, ring, layout):
    _, secret = create(store)
    assert ring.find(secret) is not None
    script = (
        "import sys; from pathlib import Path; from headrace.storage import KeyStore, Layout, SharedState\n"
        "layout = Layout(Path(sys.argv[1]))\n"
        "with SharedState(layout, sys.argv[2] or None, lambda: 0).opened() as database: KeyStore(database, layout).revoke('n1', 5)"
    )
    command = [sys.executable, "-c", script, layout.root, state.url or ""]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert eventually(lambda: ring.find(secret) is None) if state.url else ring.find(secret) is None


def test_fixed_keys_come_from_settings(news, store):
    secret = secret_from(bytes(32))
    fixed = KeyRow(id="dev", name="dev", organization="acme", project="demo", digest=digest(secret), shown=shown(secret), created=0)
    ring = KeyRing(news, [fixed])
    assert ring.find(secret) == fixed.principal
    _, other = create(store)
    assert ring.find(other) is not None
    assert ring.find(secret) == fixed.principal
    ring.close()


def test_a_known_secret_is_kept_once_and_stays_revoked(store, ring):
    secret = secret_from(bytes(32))
    row = KeyRow(
        id="key_dev", name="development", organization="local", project="dev", digest=digest(secret), shown=shown(secret), created=1
    )
    assert store.ensure(row) == row
    assert store.ensure(row) == row
    assert ring.find(secret) == row.principal
    store.revoke("development", 7)
    assert store.ensure(row).revoked == 7
    assert ring.find(secret) is None


def test_a_name_is_used_once_a_project(store):
    create(store, 1, name="ci")
    with pytest.raises(InvalidRequest, match="acme/demo has a key named 'ci' already"):
        create(store, 2, name="ci")
    create(store, 3, name="ci", project="other")
    store.revoke("key_1", 5)
    create(store, 4, name="ci")


def test_what_is_revoked_must_be_meant_clearly(store):
    create(store, 1, name="ci")
    create(store, 2, name="ci", project="other")
    with pytest.raises(InvalidRequest, match="there is no key 'cd': `headrace keys list`"):
        store.revoke("cd", 5)
    with pytest.raises(InvalidRequest, match="2 keys are named 'ci': give the id, one of key_1, key_2"):
        store.revoke("ci", 5)


def test_keys_that_cannot_be_read_are_not_taken(layout):
    database = connect(layout.database)
    ring = KeyRing(LocalNews(database, layout))
    database.close()
    with pytest.raises(NotReady, match="the API keys can't be read"):
        ring.find("sk-hr-any")
    ring.close()


def test_a_revoked_key_is_not_forgotten_where_what_is_read_with_it_cannot_be(state, store, ring, shared):
    _, secret = create(store)
    assert ring.find(secret) is not None
    shared.execute("ALTER TABLE model_permission RENAME TO away")
    with contextlib.suppress(HeadraceError):
        store.revoke("key_1", 5)
    with contextlib.suppress(HeadraceError):
        ring.find(secret)
    shared.execute("ALTER TABLE away RENAME TO model_permission")
    assert eventually(lambda: ring.find(secret) is None) if state.url else ring.find(secret) is None


def test_a_minted_key_may_what_its_parents_may_and_ends_with_them(store, ring):
    first, top = create(store, 1, budget_pico=10**25, models=("a", "b"))
    second, middle = create(store, 2, parent="key_1", models=("b",), expires=500)
    _, leaf = create(store, 3, parent="key_2", classes=("batch", "agentic"))
    found = ring.find(leaf)
    assert found is not None
    assert (found.parents, found.allowances, found.models, found.classes, found.expires) == (
        ("key_2", "key_1"),
        (("key_1", 10**25),),
        frozenset({"b"}),
        frozenset({"batch", "agentic"}),
        500,
    )
    assert [row.id for row in store.lineage("key_3")] == ["key_3", "key_2", "key_1"]
    store.revoke("key_2", 9)
    assert (ring.find(middle), ring.find(leaf)) == (None, None)
    assert ring.find(top) is not None
    assert {row.id: row.revoked for row in store.rows()} == {"key_1": None, "key_2": 9, "key_3": 9}
    with pytest.raises(InvalidRequest, match="is revoked"):
        store.lineage("key_3")
    assert (first.parent, second.parent) == (None, "key_1")


def test_a_key_of_the_settings_that_is_gone_takes_those_with_it_that_were_minted_from_it(store, ring):
    fixed = KeyRow(id="settings:dev", name="dev", organization="acme", project="demo", digest=b"d" * 32, shown="…", created=0)
    ring.fix([fixed])
    _, secret = create(store, 1, parent="settings:dev")
    assert ring.find(secret) is not None
    ring.fix([])
    assert ring.find(secret) is None


def test_names_are_taken_among_the_keys_of_one_parent(store):
    create(store, 1)
    create(store, 2, name="run", parent="key_1", expires=100)
    with pytest.raises(InvalidRequest, match="a key named 'run' already"):
        create(store, 3, name="run", parent="key_1", created=50)
    create(store, 4, name="run", parent="key_1", created=100)
    create(store, 5, name="run")


def test_what_one_key_mints_has_an_end(shared, layout):
    store = KeyStore(shared, layout, children_max=2)
    create(store, 1)
    create(store, 2, parent="key_1", expires=10)
    create(store, 3, parent="key_1")
    with pytest.raises(InvalidRequest, match="has minted 2 keys"):
        create(store, 4, parent="key_1", created=5)
    create(store, 4, parent="key_1", created=10)
