-- People as a directory tells us of them (SCIM), and those who left for good.

ALTER TABLE person ADD COLUMN deactivated INTEGER; -- since when he may nothing; NULL: he may

CREATE TABLE provisioned_person (
    person TEXT PRIMARY KEY,
    organization TEXT NOT NULL,
    user_name TEXT NOT NULL,
    external TEXT,                     -- what the directory calls him
    document TEXT NOT NULL,            -- JSON: what it said of him, as far as we keep it
    changed INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX provisioned_person_by_external ON provisioned_person (organization, external);

CREATE TABLE departed (
    organization TEXT NOT NULL,
    email TEXT NOT NULL,               -- in small letters
    issuer TEXT,
    subject TEXT,
    external TEXT,
    moment INTEGER NOT NULL,
    PRIMARY KEY (organization, email)
) WITHOUT ROWID;
