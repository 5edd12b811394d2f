-- +goose Up
-- leases: what one machine of several has, until when by the database's clock. epoch is the fencing number.
CREATE TABLE leases (
    name   TEXT    NOT NULL PRIMARY KEY,
    holder TEXT    NOT NULL,
    folder TEXT    NOT NULL,
    epoch  INTEGER NOT NULL,
    until  INTEGER NOT NULL,
    sip    TEXT    NOT NULL,
    pages  TEXT    NOT NULL
);
-- nodes: the machines that were heard of, and what each had not sent on yet.
CREATE TABLE nodes (
    name    TEXT    NOT NULL PRIMARY KEY,
    folder  TEXT    NOT NULL,
    seen    INTEGER NOT NULL,
    role    TEXT    NOT NULL,
    sip     TEXT    NOT NULL,
    pages   TEXT    NOT NULL,
    version TEXT    NOT NULL,
    owed    INTEGER NOT NULL,
    oldest  INTEGER NOT NULL
);
