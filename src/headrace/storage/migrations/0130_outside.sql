-- What is told to addresses outside, and what from outside starts runs.

CREATE TABLE subscriber (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,               -- whose runs it is told of; empty: everybody's, and those of the terminal
    url TEXT NOT NULL,
    secret TEXT NOT NULL,              -- that its messages are signed with, so it has to be kept
    kinds TEXT NOT NULL,               -- what it is told of, with spaces between; empty: everything
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE telling (
    id TEXT PRIMARY KEY,               -- one for what happened and the subscriber: however often it is written down, it is told once
    subscriber TEXT NOT NULL REFERENCES subscriber (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    body BLOB NOT NULL,
    created INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    next_try INTEGER,                  -- empty: heard, or given up
    delivered INTEGER,
    failure TEXT                       -- why the last try was not heard
) STRICT, WITHOUT ROWID;

CREATE INDEX telling_due ON telling (next_try) WHERE next_try IS NOT NULL;
CREATE INDEX telling_by_subscriber ON telling (subscriber, created);

CREATE TABLE trigger_address (
    id TEXT PRIMARY KEY,               -- the end of its address
    owner TEXT NOT NULL,               -- whose threads its runs are
    key BLOB NOT NULL,                 -- digest of the key whose requests they make
    secret TEXT NOT NULL,              -- that its messages are signed with
    model TEXT NOT NULL,               -- empty: any
    leave BLOB NOT NULL,               -- what a run may do and until when, signed; see Mandate
    per_hour_max INTEGER NOT NULL,
    created INTEGER NOT NULL,
    ended INTEGER                      -- when it was taken back
) STRICT, WITHOUT ROWID;

CREATE TABLE trigger_delivery (
    address TEXT NOT NULL REFERENCES trigger_address (id),
    once TEXT NOT NULL,                -- names the message so that nobody can tell it again as another
    id TEXT NOT NULL,                  -- as its sender calls it
    thread TEXT NOT NULL,
    run TEXT NOT NULL,
    received INTEGER NOT NULL,
    PRIMARY KEY (address, once)
) STRICT, WITHOUT ROWID;

CREATE INDEX trigger_delivery_by_time ON trigger_delivery (address, received);
