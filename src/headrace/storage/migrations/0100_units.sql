-- What is counted in anything but tokens, whatever it is paid by: pictures, characters, seconds.

ALTER TABLE attempt ADD COLUMN units BLOB;                   -- msgpack, see Settle; NULL: only tokens are counted
ALTER TABLE attempt ADD COLUMN detail TEXT;                  -- how pictures are made, and their size

UPDATE attempt SET units = coalesce(calls, x'90'), detail = ''
    WHERE label IN (SELECT id FROM label WHERE operation IN ('moderations', 'images', 'speech', 'transcriptions', 'pass_through'));

CREATE INDEX attempt_with_units ON attempt (admitted) WHERE units IS NOT NULL;
CREATE INDEX attempt_with_calls ON attempt (admitted) WHERE calls IS NOT NULL;
