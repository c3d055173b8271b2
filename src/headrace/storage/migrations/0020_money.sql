-- Modalities, service tiers, tools, what we pay vendors, and who bears an attempt; what prices said; the chain over what was loaded; entries
-- that people make; prices set at run time; invoices; and sums by the hour, which make a month's report quick.

ALTER TABLE attempt ADD COLUMN audio_in INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempt ADD COLUMN image_in INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempt ADD COLUMN audio_read INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempt ADD COLUMN image_read INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempt ADD COLUMN audio_out INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempt ADD COLUMN image_out INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempt ADD COLUMN buy_pico INTEGER;             -- what the vendor charges; NULL: paid by the hour, or nobody knows
ALTER TABLE attempt ADD COLUMN calls BLOB;                   -- msgpack, see Settle; NULL: the vendor ran no tools
ALTER TABLE attempt ADD COLUMN user TEXT;                    -- whom the client asks for

ALTER TABLE label ADD COLUMN tier TEXT;                      -- the service tier that served, else the one that was asked for
ALTER TABLE label ADD COLUMN buy TEXT;                       -- id of the buying book's row
ALTER TABLE label ADD COLUMN ours INTEGER NOT NULL DEFAULT 0; -- 1: no customer pays for it
ALTER TABLE label ADD COLUMN cost INTEGER REFERENCES account (id);    -- what it cost us is posted from the vendor's account `payable`
ALTER TABLE label ADD COLUMN payable INTEGER REFERENCES account (id); -- to `cost`; NULL where no row of the buying book holds

DROP VIEW usage;
DROP VIEW transfer;

CREATE VIEW usage AS
    SELECT
        request, number AS attempt,
        CASE state WHEN 0 THEN 'held' WHEN 1 THEN 'lost' WHEN 2 THEN 'void' WHEN 3 THEN 'estimated' ELSE 'confirmed' END AS state,
        admitted, ended, organization, project, key, class, operation, model, pool, streamed, bound_pico, price, uncached, cache_read,
        cache_write, output, reasoning, cache_write_30m, cache_write_1h, cache_write_12h, audio_in, image_in, audio_read, image_read,
        audio_out, image_out, cost_pico, buy, buy_pico, ours, tier, user, calls, outcome, ttft_ms, duration_ms, model_served, evidence,
        placed, translation, posted
    FROM attempt JOIN label ON label.id = attempt.label;

CREATE VIEW transfer AS
    SELECT
        request || '.' || number || '.0' AS id, ended AS moment, 'charge' AS kind, customer AS debit, revenue AS credit,
        cost_pico AS amount_pico
    FROM attempt JOIN label ON label.id = attempt.label
    WHERE posted = 0 AND state >= 3 AND cost_pico > 0
    UNION ALL
    SELECT
        request || '.' || number || CASE WHEN cost_pico > 0 THEN '.1' ELSE '.0' END, ended, 'cost', cost, payable, buy_pico
    FROM attempt JOIN label ON label.id = attempt.label
    WHERE posted = 0 AND state >= 3 AND buy_pico > 0
    UNION ALL
    SELECT id, moment, kind, debit, credit, amount_pico FROM posting;

CREATE TABLE card (
    id TEXT PRIMARY KEY,
    moment INTEGER NOT NULL,
    model TEXT NOT NULL,
    tier TEXT NOT NULL,
    weights BLOB NOT NULL,             -- msgpack: pico-USD a token by segment
    fees BLOB NOT NULL,                -- msgpack: pico-USD a call
    source TEXT NOT NULL,
    listed TEXT                        -- the card of the list price, where a customer has agreed on another
) WITHOUT ROWID;

CREATE TABLE page (
    id INTEGER PRIMARY KEY,            -- one after the other, without a gap
    segment TEXT NOT NULL,
    start INTEGER NOT NULL,            -- these bytes of it
    stop INTEGER NOT NULL,
    digest BLOB NOT NULL,              -- BLAKE2b of them
    hash BLOB NOT NULL                 -- SHA-256 of the hash before it, and of all that stands here
);

CREATE TABLE journal (
    id INTEGER PRIMARY KEY,            -- one after the other, without a gap
    name TEXT NOT NULL UNIQUE,         -- the same entry is made once
    moment INTEGER NOT NULL,
    kind TEXT NOT NULL,                -- credit | adjustment | payment | rounding | idle
    debit TEXT NOT NULL,
    credit TEXT NOT NULL,
    amount_pico TEXT NOT NULL,         -- an integer of any size, above zero
    memo TEXT NOT NULL,
    hash BLOB NOT NULL                 -- SHA-256 of the hash before it, and of all that stands here
);

CREATE TABLE price_set (
    id INTEGER PRIMARY KEY,
    side TEXT NOT NULL,                -- sell | buy
    vendor TEXT,                       -- of whom it is bought
    content BLOB NOT NULL,             -- the row as it was written, JSON
    recorded INTEGER NOT NULL
);

CREATE TABLE invoice (
    number TEXT PRIMARY KEY,
    organization TEXT NOT NULL,
    month TEXT NOT NULL,               -- 2026-11
    issued INTEGER NOT NULL,
    content BLOB NOT NULL              -- JSON, as it was issued
) WITHOUT ROWID;

CREATE TABLE rollup (
    hour INTEGER NOT NULL,             -- Unix hours
    label INTEGER NOT NULL,
    state INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    priced INTEGER NOT NULL,
    bought INTEGER NOT NULL,
    uncached INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    output INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    cache_write_30m INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    cache_write_12h INTEGER NOT NULL,
    audio_in INTEGER NOT NULL,
    image_in INTEGER NOT NULL,
    audio_read INTEGER NOT NULL,
    image_read INTEGER NOT NULL,
    audio_out INTEGER NOT NULL,
    image_out INTEGER NOT NULL,
    cost_high INTEGER NOT NULL,        -- in parts of a million, so that no sum leaves 64 bits
    cost_low INTEGER NOT NULL,
    buy_high INTEGER NOT NULL,
    buy_low INTEGER NOT NULL,
    PRIMARY KEY (hour, label, state)
) WITHOUT ROWID;

CREATE TABLE rollup_stale (
    hour INTEGER PRIMARY KEY           -- whose sums are to be made again: its attempts are read themselves until then
);

INSERT INTO rollup_stale SELECT DISTINCT admitted / 3600000000000 FROM attempt;
