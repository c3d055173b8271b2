-- Tasks that other agents have given: each is a thread, and those of one context go on from one another.

CREATE TABLE agent_task (
    thread TEXT PRIMARY KEY,           -- as which the other agent knows the task
    owner TEXT NOT NULL,
    context TEXT NOT NULL,
    message TEXT NOT NULL,             -- the other agent's name of the message that gave it: sent again it gives no other task
    created INTEGER NOT NULL,
    UNIQUE (owner, message)
) STRICT, WITHOUT ROWID;

CREATE INDEX agent_task_by_context ON agent_task (owner, context, created);
