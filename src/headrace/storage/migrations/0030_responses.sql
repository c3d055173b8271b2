-- What clients ask to have kept: responses with what they were asked, conversations, and the events of responses made in the background.
-- `beat` is when who works on one last said so. `owner` is organisation and project together: nobody sees another's. Times are Unix seconds; expires 0 means never.

CREATE TABLE response (
  owner TEXT NOT NULL,
  id TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  status TEXT NOT NULL,
  background INTEGER NOT NULL,
  cancelling INTEGER NOT NULL DEFAULT 0,
  beat INTEGER NOT NULL DEFAULT 0,
  previous TEXT,
  body BLOB NOT NULL,
  input BLOB NOT NULL,
  PRIMARY KEY (owner, id)
) WITHOUT ROWID;

CREATE INDEX response_expires ON response (expires) WHERE expires > 0;
CREATE INDEX response_running ON response (status) WHERE background = 1;

CREATE TABLE response_event (
  owner TEXT NOT NULL,
  response TEXT NOT NULL,
  number INTEGER NOT NULL,
  type TEXT NOT NULL,
  event BLOB NOT NULL,
  PRIMARY KEY (owner, response, number)
) WITHOUT ROWID;

CREATE TABLE conversation (
  owner TEXT NOT NULL,
  id TEXT NOT NULL,
  created INTEGER NOT NULL,
  metadata BLOB NOT NULL,
  PRIMARY KEY (owner, id)
) WITHOUT ROWID;

CREATE TABLE conversation_item (
  owner TEXT NOT NULL,
  conversation TEXT NOT NULL,
  place INTEGER NOT NULL,
  id TEXT NOT NULL,
  item BLOB NOT NULL,
  PRIMARY KEY (owner, conversation, place)
) WITHOUT ROWID;

CREATE UNIQUE INDEX conversation_item_id ON conversation_item (owner, conversation, id);
