-- Which request holds the key: its process vouches for each that it works on, and what it does not vouch for is lost.

ALTER TABLE once ADD COLUMN claim TEXT;
CREATE INDEX once_working ON once (runner) WHERE state = 'working';
