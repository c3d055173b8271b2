-- What agents remember, and what they are to do at set times.

CREATE TABLE memory (
    id TEXT PRIMARY KEY,
    project TEXT NOT NULL,             -- the folder that it is about; empty: everywhere
    text TEXT NOT NULL,
    how TEXT NOT NULL,                 -- said, leave, added or edited: whose choice the words are
    run TEXT NOT NULL,                 -- in which run; empty: in none
    source TEXT NOT NULL,              -- the steps from which the run had it, one a line
    writers INTEGER NOT NULL,          -- its label
    readers INTEGER NOT NULL,
    created INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    model TEXT NOT NULL,               -- that made the vector; empty: none yet
    vector BLOB NOT NULL               -- 32-bit floats of length one
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX memory_once ON memory (project, text);

CREATE TABLE schedule (
    id TEXT PRIMARY KEY,
    spoken TEXT NOT NULL,              -- when, as the person said it
    cron TEXT NOT NULL,
    zone TEXT NOT NULL,
    leave BLOB NOT NULL,               -- what it may do and until when, signed; see Leaves
    model TEXT NOT NULL,               -- empty: the first that the server lists
    created INTEGER NOT NULL,
    ended INTEGER,                     -- when the person took it back
    since INTEGER NOT NULL             -- moments after this one are still to be looked at
) STRICT, WITHOUT ROWID;

CREATE TABLE firing (
    schedule TEXT NOT NULL REFERENCES schedule (id),
    due INTEGER NOT NULL,
    run TEXT NOT NULL,                 -- the name of its run; empty: it was skipped
    state TEXT NOT NULL,               -- begun, done, waiting, failed or skipped
    says TEXT NOT NULL,
    changed INTEGER NOT NULL,
    PRIMARY KEY (schedule, due)
) STRICT, WITHOUT ROWID;
