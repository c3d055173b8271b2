-- A key may be minted from another, with less than that one may do. NULL: nothing less.

ALTER TABLE api_key ADD COLUMN parent TEXT;
ALTER TABLE api_key ADD COLUMN budget_pico TEXT;
ALTER TABLE api_key ADD COLUMN models TEXT;    -- names, as JSON
ALTER TABLE api_key ADD COLUMN classes TEXT;
ALTER TABLE api_key ADD COLUMN expires INTEGER;

CREATE INDEX api_key_by_parent ON api_key (parent);
