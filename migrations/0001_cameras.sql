-- Cameras that were discovered, by their stable identity.
CREATE TABLE cameras (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    -- What tells it apart: what was made, its own number, where it was plugged in last.
    model      TEXT NOT NULL,
    serial     TEXT,
    port       TEXT NOT NULL,
    first_seen TEXT NOT NULL,
    last_seen  TEXT NOT NULL,
    -- JSON: what was changed by API over the defaults.
    settings   TEXT NOT NULL DEFAULT '{}'
) STRICT;

-- camera0, camera1, …: given once and kept for as long as the camera is known.
CREATE TABLE aliases (
    camera TEXT PRIMARY KEY NOT NULL,
    number INTEGER NOT NULL UNIQUE
) STRICT;

-- What was set by API and is set again when the camera comes back.
CREATE TABLE controls (
    camera TEXT NOT NULL,
    name   TEXT NOT NULL,
    value  INTEGER NOT NULL,
    PRIMARY KEY (camera, name)
) STRICT;
