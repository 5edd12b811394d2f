-- +goose Up
-- trail: the audit log, one row for each act that the stream tells of: who looked at what is masked, listened, took a list away, signed in,
-- changed an account, a line, the grids. Rows are never changed. more is JSON; nobody's number or words stand in it.
CREATE TABLE trail (
    id      TEXT    NOT NULL PRIMARY KEY, -- of the event
    at      INTEGER NOT NULL,
    who     TEXT    NOT NULL, -- user id; empty: the program itself, or the command line
    kind    TEXT    NOT NULL,
    what    TEXT    NOT NULL,
    contact TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    more    TEXT    NOT NULL,
    reason  TEXT    NOT NULL
);
CREATE INDEX trail_at ON trail (at, id);
CREATE INDEX trail_who ON trail (who, at, id);
CREATE INDEX trail_kind ON trail (kind, at, id);
-- What was looked at before this table was there.
INSERT INTO trail (id, at, who, kind, what, contact, subject, more, reason)
SELECT l.id, l.at, l.viewer, CASE WHEN l.field = 'recording' THEN 'played' ELSE 'revealed' END, l.field,
    CASE WHEN l.what LIKE 'contact/%' THEN substr(l.what, 9) ELSE COALESCE((SELECT r.contact FROM recordings r WHERE 'recording/' || r.id = l.what), '') END,
    l.what, CASE WHEN l.field = 'recording' THEN '{"from_ms":"' || l.from_ms || '","to_ms":"' || l.to_ms || '"}' ELSE '' END, l.reason
FROM looks l;
-- How long somebody was in a state is asked by time.
CREATE INDEX operator_states_time ON operator_states (at);
