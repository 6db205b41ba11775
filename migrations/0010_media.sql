-- Recordings and snapshots on disk. The files are the truth: rows are made again from them when lost.
CREATE TABLE media (
    -- recording, snapshot
    kind        TEXT NOT NULL,
    -- The file's name in the directory of its kind.
    name        TEXT NOT NULL,
    camera      TEXT NOT NULL,
    -- Milliseconds since 1970.
    started     INTEGER NOT NULL,
    duration    INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    width       INTEGER NOT NULL,
    height      INTEGER NOT NULL,
    -- Never deleted by retention.
    kept        INTEGER NOT NULL DEFAULT 0,
    -- When the file was last changed, as it was read: another time makes the row anew.
    modified    INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX media_started ON media (kind, started);
CREATE INDEX media_camera ON media (kind, camera, started);

-- What was set by API, by name, as JSON.
CREATE TABLE settings (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT;
