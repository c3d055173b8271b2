-- The workspace: who is signed in, the threads, their branches (each is a run with a log of its own), and what is searched in them.

CREATE TABLE session (
    token BLOB PRIMARY KEY,            -- SHA-256 of what the browser holds
    kind TEXT NOT NULL,                -- session | link (good once)
    key BLOB NOT NULL,                 -- digest of the key that signed in
    expires INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE thread (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    key BLOB NOT NULL,                 -- digest of the key whose requests its runs make
    title TEXT NOT NULL,
    label TEXT NOT NULL,               -- the folder that it lies in, as the list shows it; '' is none
    folder TEXT,                       -- the folder of the server that it works on; NULL: one of its own
    intent TEXT NOT NULL,
    model TEXT NOT NULL,               -- '' is any
    pinned INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    run TEXT NOT NULL,                 -- the branch that is shown
    state TEXT NOT NULL,               -- new | running | waiting | done | stopped | failed: the shown branch's
    pico_usd TEXT NOT NULL,            -- what all of its branches cost
    tokens INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX thread_by_owner ON thread (owner, updated);

CREATE TABLE thread_run (
    id TEXT PRIMARY KEY,
    thread TEXT NOT NULL,
    parent TEXT,                       -- the branch that it left,
    forked_at INTEGER NOT NULL,        -- before this event
    created INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX thread_run_by_thread ON thread_run (thread, created);

CREATE TABLE thread_share (
    token BLOB PRIMARY KEY,            -- SHA-256 of what the link holds
    thread TEXT NOT NULL,
    run TEXT NOT NULL,
    events INTEGER NOT NULL,           -- only so many of them: what is said later stays where it is
    created INTEGER NOT NULL
) WITHOUT ROWID;

CREATE VIRTUAL TABLE thread_text USING fts5 (text, thread UNINDEXED, run UNINDEXED, seq UNINDEXED);
