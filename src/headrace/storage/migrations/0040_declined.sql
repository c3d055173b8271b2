-- Requests for which no pool was asked, with the evidence that a rule held; see Declined.

CREATE TABLE declined (
    request TEXT PRIMARY KEY,
    moment INTEGER NOT NULL,
    organization TEXT NOT NULL,
    project TEXT NOT NULL,
    key TEXT NOT NULL,
    class TEXT NOT NULL,
    operation TEXT NOT NULL,
    model TEXT NOT NULL,
    streamed INTEGER NOT NULL,
    code TEXT NOT NULL,                -- of the error that the client got
    evidence TEXT,                     -- id of what placement considered
    placed BLOB                        -- msgpack, see Admit; NULL: nothing was placed
) WITHOUT ROWID;
