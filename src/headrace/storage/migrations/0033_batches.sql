-- Batches and their lines. `body` is the batch as clients read it, without its counts; `principal` who asked, in msgpack.
-- `runner` is the process that works on it, `beat` when it last said so. A line is pending, working, done or failed.

CREATE TABLE batch (
  owner TEXT NOT NULL,
  id TEXT NOT NULL,
  created INTEGER NOT NULL,
  status TEXT NOT NULL,
  runner TEXT,
  beat INTEGER NOT NULL DEFAULT 0,
  principal BLOB NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (owner, id)
) WITHOUT ROWID;

CREATE INDEX batch_open ON batch (created) WHERE status IN ('validating', 'in_progress', 'finalizing', 'cancelling');

CREATE TABLE batch_line (
  owner TEXT NOT NULL,
  batch TEXT NOT NULL,
  number INTEGER NOT NULL,
  state TEXT NOT NULL,
  custom_id TEXT NOT NULL,
  request BLOB NOT NULL,
  answer BLOB,
  PRIMARY KEY (owner, batch, number)
) WITHOUT ROWID;

CREATE INDEX batch_line_state ON batch_line (owner, batch, state, number);
