-- +goose Up
-- registrations: which phone of an operator is registered where, so that a restart still finds it.
CREATE TABLE registrations (
    sip_user  TEXT    NOT NULL,
    contact   TEXT    NOT NULL,
    operator  TEXT    NOT NULL,
    source    TEXT    NOT NULL,
    transport TEXT    NOT NULL,
    expires   INTEGER NOT NULL,
    call_id   TEXT    NOT NULL,
    cseq      INTEGER NOT NULL,
    agent     TEXT    NOT NULL,
    PRIMARY KEY (sip_user, contact)
);
-- desks: what an operator said of themselves, so that a restart does not send somebody back from a break or home to work.
CREATE TABLE desks (
    operator TEXT    NOT NULL PRIMARY KEY,
    state    TEXT    NOT NULL, -- in, out, break
    reason   TEXT    NOT NULL,
    changed  INTEGER NOT NULL
);
