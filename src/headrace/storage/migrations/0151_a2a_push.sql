-- Addresses of other agents, each told of one task alone, in the words of A2A.

ALTER TABLE subscriber ADD COLUMN thread TEXT;                       -- the task; empty: an address of ours, which is told of runs
ALTER TABLE subscriber ADD COLUMN name TEXT;                         -- as the other agent calls it
ALTER TABLE subscriber ADD COLUMN token TEXT;                        -- that it knows the messages by, so it has to be kept
ALTER TABLE subscriber ADD COLUMN scheme TEXT;                       -- of the authorization that the messages show, with its credentials
ALTER TABLE subscriber ADD COLUMN credentials TEXT;

CREATE UNIQUE INDEX subscriber_by_thread ON subscriber (thread, name) WHERE thread IS NOT NULL;
