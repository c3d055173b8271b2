-- The processes that work on what is kept, each with a count that it moves while it lives. What names none of them is worked on by nobody.
-- `response.beat` and `batch.beat`, which said the same of one piece of work each, are not used any more.

CREATE TABLE runner (
  id TEXT PRIMARY KEY,
  host TEXT NOT NULL,
  beat INTEGER NOT NULL
) WITHOUT ROWID;

ALTER TABLE response ADD COLUMN runner TEXT;
ALTER TABLE once ADD COLUMN runner TEXT;
