-- What was answered to requests that named an Idempotency-Key, so that the same one again is answered alike and not worked on again.
-- `state` is working, done or lost (the server ended while it worked on it). Times are Unix seconds.

CREATE TABLE once (
  owner TEXT NOT NULL,
  path TEXT NOT NULL,
  key TEXT NOT NULL,
  created INTEGER NOT NULL,
  digest BLOB NOT NULL,
  state TEXT NOT NULL,
  status INTEGER NOT NULL DEFAULT 0,
  headers BLOB NOT NULL DEFAULT x'',
  body BLOB NOT NULL DEFAULT x'',
  streamed INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (owner, path, key)
) WITHOUT ROWID;

CREATE INDEX once_created ON once (created);
