-- Which models the keys of a project may ask for, or of a whole organisation: only these, or all but these.

CREATE TABLE model_permission (
    organization TEXT NOT NULL,
    project TEXT NOT NULL,             -- empty: all of them
    mode TEXT NOT NULL,                -- allow_list | deny_list
    models TEXT NOT NULL,              -- JSON
    PRIMARY KEY (organization, project)
) WITHOUT ROWID;
