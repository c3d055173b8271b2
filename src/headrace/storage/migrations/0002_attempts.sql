-- What many attempts have in common is kept once, in `label`; a charge that was posted once and never corrected is no row of its own. The
-- views `usage` and `transfer` show both as they were before.

ALTER TABLE usage RENAME TO usage_1;
ALTER TABLE transfer RENAME TO transfer_1;

CREATE TABLE label (
    id INTEGER PRIMARY KEY,
    organization TEXT NOT NULL,
    project TEXT NOT NULL,
    key TEXT NOT NULL,
    class TEXT NOT NULL,
    operation TEXT NOT NULL,
    model TEXT NOT NULL,
    pool TEXT NOT NULL,
    streamed INTEGER NOT NULL,
    price TEXT,                        -- id of the price book's row
    evidence TEXT,                     -- id of what placement considered
    outcome TEXT,                      -- NULL: it has not ended
    model_served TEXT,
    customer INTEGER NOT NULL REFERENCES account (id),
    revenue INTEGER NOT NULL REFERENCES account (id)
);

CREATE INDEX label_by_name ON label (organization, project, key, model, pool);

CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,            -- in the order of arrival
    request TEXT NOT NULL,
    number INTEGER NOT NULL,
    state INTEGER NOT NULL,            -- 0 held (running) | 1 lost (held at its bound) | 2 void | 3 estimated | 4 confirmed
    label INTEGER NOT NULL,            -- of `label`; not declared, since that would be looked up for each row
    admitted INTEGER NOT NULL,
    ended INTEGER,
    bound_pico INTEGER,
    uncached INTEGER NOT NULL,         -- the eight token counts don't overlap
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    output INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    cache_write_30m INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    cache_write_12h INTEGER NOT NULL,
    cost_pico INTEGER,                 -- NULL: held, void, or unpriced
    ttft_ms INTEGER,
    duration_ms INTEGER,
    placed BLOB,                       -- msgpack, see Admit; NULL: nothing was placed
    translation BLOB,                  -- msgpack, see Settle; NULL: nothing was translated
    posted INTEGER NOT NULL DEFAULT 0  -- how many rows of `posting` are this attempt's; 0: what it costs is its one charge
);

CREATE UNIQUE INDEX attempt_by_request ON attempt (request, number);
CREATE INDEX attempt_by_time ON attempt (admitted);

CREATE TABLE posting (
    id TEXT PRIMARY KEY,
    moment INTEGER NOT NULL,
    kind TEXT NOT NULL,                -- charge | hold | reversal
    debit INTEGER NOT NULL REFERENCES account (id),
    credit INTEGER NOT NULL REFERENCES account (id),
    amount_pico INTEGER NOT NULL CHECK (amount_pico > 0)
) WITHOUT ROWID;

CREATE TABLE evidence (
    id TEXT PRIMARY KEY,
    moment INTEGER NOT NULL,
    content BLOB NOT NULL              -- msgpack
) WITHOUT ROWID;

INSERT OR IGNORE INTO account (name, balance)
    SELECT DISTINCT
        'customer:' || replace(replace(organization, '%', '%25'), '/', '%2F') || '/' || replace(replace(project, '%', '%25'), '/', '%2F'), '0'
    FROM usage_1;
INSERT OR IGNORE INTO account (name, balance) SELECT DISTINCT 'revenue:' || model, '0' FROM usage_1;

INSERT INTO label (
    organization, project, key, class, operation, model, pool, streamed, price, outcome, model_served, customer, revenue
)
    SELECT DISTINCT
        organization, project, key, class, operation, model, pool, streamed, price, outcome, model_served, customer.id, revenue.id
    FROM usage_1
    JOIN account AS customer ON customer.name =
        'customer:' || replace(replace(organization, '%', '%25'), '/', '%2F') || '/' || replace(replace(project, '%', '%25'), '/', '%2F')
    JOIN account AS revenue ON revenue.name = 'revenue:' || model;

INSERT INTO attempt (
    request, number, state, label, admitted, ended, bound_pico, uncached, cache_read, cache_write, output, reasoning,
    cache_write_30m, cache_write_1h, cache_write_12h, cost_pico, ttft_ms, duration_ms, posted
)
    SELECT
        request, attempt,
        CASE state WHEN 'held' THEN 0 WHEN 'lost' THEN 1 WHEN 'void' THEN 2 WHEN 'estimated' THEN 3 ELSE 4 END,
        label.id, admitted, ended, bound_pico, uncached, cache_read, cache_write, output, reasoning, 0, 0, 0, cost_pico, ttft_ms, duration_ms,
        CASE WHEN posted = 1 AND EXISTS (
            SELECT 1 FROM transfer_1 AS sole WHERE sole.id = request || '.' || attempt || '.0' AND sole.kind = 'charge' AND sole.moment = ended
        ) THEN 0 ELSE posted END
    FROM usage_1 AS old
    JOIN label ON label.organization = old.organization AND label.project = old.project AND label.key = old.key
        AND label.model = old.model AND label.pool = old.pool AND label.class = old.class AND label.operation = old.operation
        AND label.streamed = old.streamed AND label.price IS old.price AND label.outcome IS old.outcome
        AND label.model_served IS old.model_served
    ORDER BY admitted;

INSERT INTO posting (id, moment, kind, debit, credit, amount_pico)
    SELECT id, moment, kind, debit, credit, amount_pico FROM transfer_1
    WHERE id NOT IN (SELECT request || '.' || number || '.0' FROM attempt WHERE posted = 0);

DROP TABLE usage_1;
DROP TABLE transfer_1;

CREATE VIEW usage AS
    SELECT
        request, number AS attempt,
        CASE state WHEN 0 THEN 'held' WHEN 1 THEN 'lost' WHEN 2 THEN 'void' WHEN 3 THEN 'estimated' ELSE 'confirmed' END AS state,
        admitted, ended, organization, project, key, class, operation, model, pool, streamed, bound_pico, price, uncached, cache_read,
        cache_write, output, reasoning, cache_write_30m, cache_write_1h, cache_write_12h, cost_pico, outcome, ttft_ms, duration_ms,
        model_served, evidence, placed, translation, posted
    FROM attempt JOIN label ON label.id = attempt.label;

CREATE VIEW transfer AS
    SELECT
        request || '.' || number || '.0' AS id, ended AS moment, 'charge' AS kind, customer AS debit, revenue AS credit,
        cost_pico AS amount_pico
    FROM attempt JOIN label ON label.id = attempt.label
    WHERE posted = 0 AND state >= 3 AND cost_pico > 0
    UNION ALL
    SELECT id, moment, kind, debit, credit, amount_pico FROM posting;
