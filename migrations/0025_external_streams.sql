-- Cameras elsewhere that were added by API. The file of the database is readable by its owner alone: it has
-- their passwords.
CREATE TABLE external_streams (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    -- Without user and password.
    url TEXT NOT NULL UNIQUE,
    username TEXT,
    password TEXT,
    -- RFC 3339.
    added TEXT NOT NULL
);

-- One row: how often cameras on the network are looked for by themselves; 0 is never.
CREATE TABLE external_scan (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seconds INTEGER NOT NULL
);
