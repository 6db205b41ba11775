-- Printers that were added by page or API.
CREATE TABLE printers (
    -- Never given twice: an address with it in it means this printer or none.
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT NOT NULL,
    host        TEXT NOT NULL UNIQUE,
    serial      TEXT NOT NULL UNIQUE,
    -- The access code: as text, or sealed with the key file.
    code        BLOB NOT NULL,
    sealed      INTEGER NOT NULL,
    -- Where its camera is, when that is not what the printer says.
    rtsp_url    TEXT,
    -- SHA-256 of its certificate in hex, learnt at the first connection.
    pin         TEXT
) STRICT;
