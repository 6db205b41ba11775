-- API keys: only their hashes.
CREATE TABLE api_keys (
    -- The part of a key that is no secret.
    id      TEXT PRIMARY KEY NOT NULL,
    name    TEXT NOT NULL,
    -- viewer, operator or admin.
    role    TEXT NOT NULL,
    -- SHA-256 of the whole key.
    hash    BLOB NOT NULL,
    created TEXT NOT NULL,
    expires TEXT
) STRICT;
