-- Groups of people, and the parts that they give in projects.

CREATE TABLE people_group (
    id TEXT PRIMARY KEY,
    organization TEXT NOT NULL,
    name TEXT NOT NULL,
    created INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    external TEXT,                     -- what the directory that keeps it calls it
    provisioned INTEGER                -- since when a directory keeps it; NULL: none does
) WITHOUT ROWID;

CREATE INDEX people_group_by_organization ON people_group (organization, created);

CREATE TABLE group_person (
    people_group TEXT NOT NULL,
    person TEXT NOT NULL,
    added INTEGER NOT NULL,
    PRIMARY KEY (people_group, person)
) WITHOUT ROWID;

CREATE INDEX group_person_by_person ON group_person (person);

CREATE TABLE project_group (
    organization TEXT NOT NULL,
    project TEXT NOT NULL,
    people_group TEXT NOT NULL,
    role TEXT NOT NULL,
    added INTEGER NOT NULL,
    PRIMARY KEY (organization, project, people_group)
) WITHOUT ROWID;

CREATE INDEX project_group_by_group ON project_group (people_group);
