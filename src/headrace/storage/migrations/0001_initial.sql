-- Everything here but api_key can be rebuilt from the usage log. Money is in pico-USD; moments are Unix nanoseconds, UTC.

CREATE TABLE segment (
    name TEXT PRIMARY KEY,             -- of the file, without its ending
    loaded INTEGER NOT NULL,           -- bytes of it that are in `usage`
    complete INTEGER NOT NULL,         -- 1: sealed, and all of it loaded
    damaged INTEGER NOT NULL           -- bytes that no record could be read from
) WITHOUT ROWID;

CREATE TABLE usage (
    request TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL,               -- held (running) | lost (held at its bound) | void | estimated | confirmed
    admitted INTEGER NOT NULL,
    ended INTEGER,
    organization TEXT NOT NULL,
    project TEXT NOT NULL,
    key TEXT NOT NULL,
    class TEXT NOT NULL,
    operation TEXT NOT NULL,
    model TEXT NOT NULL,
    pool TEXT NOT NULL,
    streamed INTEGER NOT NULL,
    bound_pico INTEGER,
    price TEXT,                        -- id of the price book's row
    uncached INTEGER NOT NULL,         -- the five token counts don't overlap
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    output INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    cost_pico INTEGER,                 -- NULL: held, void, or unpriced
    outcome TEXT,
    ttft_ms INTEGER,
    duration_ms INTEGER,
    model_served TEXT,
    posted INTEGER NOT NULL,           -- how many transfers were posted for this attempt
    PRIMARY KEY (request, attempt)
) WITHOUT ROWID;

CREATE INDEX usage_by_time ON usage (admitted);

CREATE TABLE account (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    balance TEXT NOT NULL              -- an integer of any size: debits less credits
);

CREATE TABLE transfer (
    id TEXT PRIMARY KEY,
    moment INTEGER NOT NULL,
    kind TEXT NOT NULL,                -- charge | hold | reversal
    debit INTEGER NOT NULL REFERENCES account (id),
    credit INTEGER NOT NULL REFERENCES account (id),
    amount_pico INTEGER NOT NULL CHECK (amount_pico > 0)
) WITHOUT ROWID;

CREATE TABLE api_key (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    organization TEXT NOT NULL,
    project TEXT NOT NULL,
    class TEXT NOT NULL,
    requests_per_minute INTEGER,
    tokens_per_minute INTEGER,
    digest BLOB NOT NULL UNIQUE,       -- SHA-256 of the secret, which is kept nowhere
    shown TEXT NOT NULL,
    created INTEGER NOT NULL,
    revoked INTEGER,
    changed INTEGER NOT NULL           -- counts every change of any key: who has seen up to n reads those above n
) WITHOUT ROWID;

CREATE INDEX api_key_by_change ON api_key (changed);
