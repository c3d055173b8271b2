-- Projects, the people of an organisation and what they may do, service accounts, keys that administer, limits that are set by the API,
-- sign-ins, and the log of every administrative change. Moments are Unix nanoseconds, UTC.

CREATE TABLE project (
    organization TEXT NOT NULL,
    id TEXT NOT NULL,                  -- what keys carry as their project
    name TEXT NOT NULL,
    created INTEGER NOT NULL,
    archived INTEGER,
    PRIMARY KEY (organization, id)
) WITHOUT ROWID;

CREATE TABLE person (
    id TEXT PRIMARY KEY,
    organization TEXT NOT NULL,
    email TEXT NOT NULL COLLATE NOCASE,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    added INTEGER NOT NULL,
    issuer TEXT,                       -- who signs him in, and as whom; NULL: never yet
    subject TEXT,
    UNIQUE (organization, email)
) WITHOUT ROWID;

CREATE UNIQUE INDEX person_by_subject ON person (organization, issuer, subject);

CREATE TABLE project_person (
    organization TEXT NOT NULL,
    project TEXT NOT NULL,
    person TEXT NOT NULL,
    role TEXT NOT NULL,
    added INTEGER NOT NULL,
    PRIMARY KEY (organization, project, person)
) WITHOUT ROWID;

CREATE TABLE invite (
    id TEXT PRIMARY KEY,
    organization TEXT NOT NULL,
    email TEXT NOT NULL COLLATE NOCASE,
    role TEXT NOT NULL,
    projects TEXT NOT NULL,            -- JSON: [[project, role], …]
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    accepted INTEGER
) WITHOUT ROWID;

CREATE INDEX invite_by_email ON invite (organization, email);

CREATE TABLE service_account (
    id TEXT PRIMARY KEY,
    organization TEXT NOT NULL,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    created INTEGER NOT NULL,
    deleted INTEGER
) WITHOUT ROWID;

ALTER TABLE api_key ADD COLUMN owner TEXT; -- a person or a service account; NULL: nobody in particular
ALTER TABLE api_key ADD COLUMN role TEXT;  -- of a key that administers, and does nothing else

CREATE TABLE project_limit (
    organization TEXT NOT NULL,
    project TEXT NOT NULL,
    model TEXT NOT NULL,
    requests_per_minute INTEGER,
    tokens_per_minute INTEGER,
    requests_per_day INTEGER,
    PRIMARY KEY (organization, project, model)
) WITHOUT ROWID;

CREATE TABLE sign_in (
    digest BLOB PRIMARY KEY,           -- SHA-256 of the cookie, which is kept nowhere
    person TEXT NOT NULL,
    began INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    sid TEXT,                          -- the identity provider's session
    id_token TEXT NOT NULL             -- shown to it at sign-out, as a hint
) WITHOUT ROWID;

CREATE INDEX sign_in_by_person ON sign_in (person);

CREATE TABLE audit_entry (
    number INTEGER PRIMARY KEY,        -- 1, 2, 3 … without a gap
    id TEXT NOT NULL UNIQUE,
    moment INTEGER NOT NULL,
    organization TEXT NOT NULL,
    kind TEXT NOT NULL,                -- project.created, api_key.deleted …
    project TEXT NOT NULL,             -- empty: it is about none
    resource TEXT NOT NULL,            -- the id of what was changed
    author TEXT NOT NULL,              -- JSON
    details TEXT NOT NULL,             -- JSON
    hash BLOB NOT NULL                 -- of all this and of the entry before
);

CREATE INDEX audit_entry_by_organization ON audit_entry (organization, number);
CREATE TRIGGER audit_entry_stays BEFORE UPDATE ON audit_entry BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END;
CREATE TRIGGER audit_entry_is_kept BEFORE DELETE ON audit_entry BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END;
