-- One memory: whose a memory is stands beside what it is about, at the page and at the terminal alike.

ALTER TABLE memory ADD COLUMN owner TEXT NOT NULL DEFAULT '';        -- empty: who runs the server

UPDATE memory SET owner = substr(project, 1, instr(project, char(10)) - 1), project = substr(project, instr(project, char(10)) + 1)
WHERE instr(project, char(10)) > 0;

DROP INDEX memory_once;

CREATE UNIQUE INDEX memory_once ON memory (owner, project, text);
