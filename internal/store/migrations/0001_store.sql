-- +goose Up
-- outbox: events whose change is committed here and which the relay has yet to carry into the stream.
CREATE TABLE outbox (
    row   INTEGER PRIMARY KEY AUTOINCREMENT,
    id    TEXT    NOT NULL UNIQUE,
    at    INTEGER NOT NULL,
    event BLOB    NOT NULL
);
-- positions: how far each consumer's effects are in this database.
CREATE TABLE positions (
    grp       TEXT    NOT NULL,
    partition INTEGER NOT NULL,
    pos       INTEGER NOT NULL,
    PRIMARY KEY (grp, partition)
);
-- vault: secrets. 'month/2026-11' seals what is personal in that month; 'caller' makes callers' tokens.
CREATE TABLE vault (
    name   TEXT    NOT NULL PRIMARY KEY,
    secret BLOB    NOT NULL,
    made   INTEGER NOT NULL
);
-- facts: single values of the node, such as its epoch.
CREATE TABLE facts (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
