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
    lat        REAL,             -- NULL: no place
    lon        REAL,
    data       TEXT    NOT NULL
);
CREATE INDEX cases_grid ON cases (grid, state);
CREATE INDEX cases_state ON cases (state, deadline);
CREATE INDEX cases_opened ON cases (opened);
CREATE INDEX cases_callback ON cases (callback);
CREATE INDEX cases_caller ON cases (caller, opened);
-- case_contacts: which contacts a case is about.
CREATE TABLE case_contacts (
    contact TEXT NOT NULL,
    id      TEXT NOT NULL,
    PRIMARY KEY (contact, id)
);
CREATE INDEX case_contacts_id ON case_contacts (id);
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
-- submissions: handed in and not yet accepted; gone when they are. data is what a case will need of them, in clear.
CREATE TABLE submissions (
    contact TEXT    NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL,
    data    TEXT    NOT NULL
);
-- registries: versions of the areas. In force is the newest row that is valid now.
CREATE TABLE registries (
    row         INTEGER PRIMARY KEY AUTOINCREMENT,
    version     TEXT    NOT NULL,
    valid_from  INTEGER NOT NULL, -- 0: always
    valid_until INTEGER NOT NULL, -- 0: for ever
    layout      TEXT    NOT NULL, -- how codes are built, JSON
    at          INTEGER NOT NULL,
    by_who      TEXT    NOT NULL
);
-- areas: districts, streets, communities, grids.
CREATE TABLE areas (
    registry   INTEGER NOT NULL,
    code       TEXT    NOT NULL,
    level      TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    aliases    TEXT    NOT NULL, -- JSON
    parent     TEXT    NOT NULL,
    worker     TEXT    NOT NULL,
    phone      TEXT    NOT NULL,
    account    TEXT    NOT NULL, -- the worker's user id
    households INTEGER NOT NULL,
    shape      TEXT    NOT NULL, -- GeoJSON geometry, WGS-84; '' : none
    PRIMARY KEY (registry, code)
);
-- gazetteer: names in addresses and the grid each lies in.
CREATE TABLE gazetteer (
    registry INTEGER NOT NULL,
    row      INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    aliases  TEXT    NOT NULL, -- JSON
    grid     TEXT    NOT NULL,
    from_no  INTEGER NOT NULL, -- 0: no numbers
    to_no    INTEGER NOT NULL,
    parity   INTEGER NOT NULL, -- 0 all, 1 odd, 2 even
    PRIMARY KEY (registry, row)
);
