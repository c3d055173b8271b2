-- Webhooks that rest.

ALTER TABLE subscriber ADD COLUMN paused INTEGER;                    -- since when it is told nothing
