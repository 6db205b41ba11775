-- What was set by API about a camera's pictures, over the configuration: masks, rotation, flip, overlay.
CREATE TABLE transforms (
    camera TEXT PRIMARY KEY NOT NULL,
    -- JSON
    value  TEXT NOT NULL
) STRICT;
