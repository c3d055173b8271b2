-- Files that clients uploaded: what is known of them; their bytes lie in the data folder's `files`, under their ids.
-- An upload is a file in the making, whose parts lie there too. Times are Unix seconds; expires 0 means never.

CREATE TABLE file (
  owner TEXT NOT NULL,
  id TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  filename TEXT NOT NULL,
  purpose TEXT NOT NULL,
  PRIMARY KEY (owner, id)
) WITHOUT ROWID;

CREATE INDEX file_expires ON file (expires) WHERE expires > 0;

CREATE TABLE upload (
  owner TEXT NOT NULL,
  id TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  status TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  filename TEXT NOT NULL,
  purpose TEXT NOT NULL,
  file_expires INTEGER NOT NULL,
  file TEXT,
  PRIMARY KEY (owner, id)
) WITHOUT ROWID;

CREATE TABLE upload_part (
  owner TEXT NOT NULL,
  upload TEXT NOT NULL,
  id TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  created INTEGER NOT NULL,
  PRIMARY KEY (owner, upload, id)
) WITHOUT ROWID;
