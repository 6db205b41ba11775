-- For retention, which begins with the oldest of all that may go.
CREATE INDEX media_oldest ON media (started, kind, name) WHERE kept = 0;
