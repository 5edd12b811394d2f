-- +goose Up
-- lines: the ledger of published numbers (台账). data is the line as JSON; sequence is that of its newest event.
CREATE TABLE lines (
    id       TEXT    NOT NULL PRIMARY KEY,
    data     TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    changed  INTEGER NOT NULL
);
