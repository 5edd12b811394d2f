-- +goose Up
-- cases: one row a case, the fold of its events. data is the case as JSON with its words in clear: the office's own data.
CREATE TABLE cases (
    id         TEXT    NOT NULL PRIMARY KEY,
    number     TEXT    NOT NULL UNIQUE,
    sequence   INTEGER NOT NULL,
    state      TEXT    NOT NULL,
    source     TEXT    NOT NULL,
    grid       TEXT    NOT NULL,
    department TEXT    NOT NULL,
    category   TEXT    NOT NULL,
    callback   TEXT    NOT NULL,
    caller     TEXT    NOT NULL,
    opened     INTEGER NOT NULL,
    deadline   INTEGER NOT NULL, -- 0: none
    closed     INTEGER NOT NULL, -- 0: open
    data       TEXT    NOT NULL
);
CREATE INDEX cases_grid ON cases (grid, state);
CREATE INDEX cases_state ON cases (state, deadline);
CREATE INDEX cases_callback ON cases (callback);
CREATE INDEX cases_caller ON cases (caller, opened);
-- case_contacts: which contacts a case is about.
CREATE TABLE case_contacts (
    contact TEXT NOT NULL,
    id      TEXT NOT NULL,
    PRIMARY KEY (contact, id)
);
-- case_steps: what happened to a case, as its page shows it.
CREATE TABLE case_steps (
    id       TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    type     TEXT    NOT NULL,
    data     TEXT    NOT NULL,
    text     TEXT    NOT NULL,
    PRIMARY KEY (id, sequence)
);
-- case_keys: the same key again is the same case.
CREATE TABLE case_keys (
    key TEXT NOT NULL PRIMARY KEY,
    id  TEXT NOT NULL
);
-- case_numbers: the last number given in each year.
CREATE TABLE case_numbers (
    year INTEGER NOT NULL PRIMARY KEY,
    last INTEGER NOT NULL
);
-- registries: versions of the areas; the newest is in force.
CREATE TABLE registries (
    row     INTEGER PRIMARY KEY AUTOINCREMENT,
    version TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    data    TEXT    NOT NULL
);
