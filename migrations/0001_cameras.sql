-- Cameras that were discovered, by their stable identity, with what was set for them by API.
CREATE TABLE cameras (
    id         TEXT PRIMARY KEY NOT NULL,
    -- camera0, camera1, …: given once and kept for as long as the camera is known.
    alias      INTEGER NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    first_seen TEXT NOT NULL,
    last_seen  TEXT NOT NULL,
    -- JSON: settings and controls that differ from the defaults.
    settings   TEXT NOT NULL DEFAULT '{}'
) STRICT;
