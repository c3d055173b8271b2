-- What people have put into their threads, files and pictures, for the most that one of them may.

CREATE TABLE thread_put (
    thread TEXT NOT NULL,
    path TEXT NOT NULL,                -- of a picture it begins with a slash
    bytes INTEGER NOT NULL,
    PRIMARY KEY (thread, path)
) STRICT, WITHOUT ROWID;
