-- Schedules of people at the page, and those that rest.

ALTER TABLE schedule ADD COLUMN owner TEXT NOT NULL DEFAULT '';      -- whose it is; empty: of who runs the server, made at the terminal
ALTER TABLE schedule ADD COLUMN key BLOB NOT NULL DEFAULT x'';       -- the digest of the key that its requests are made with
ALTER TABLE schedule ADD COLUMN paused INTEGER;                      -- since when it rests

CREATE INDEX firing_state ON firing (state);
