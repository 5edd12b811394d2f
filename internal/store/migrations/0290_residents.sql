-- +goose Up
-- residents: residents' cards. data is the card as JSON, in clear: the office's own data.
CREATE TABLE residents (
    id      TEXT    NOT NULL PRIMARY KEY,
    data    TEXT    NOT NULL,
    grid    TEXT    NOT NULL,
    older   INTEGER NOT NULL,
    changed INTEGER NOT NULL
);
-- resident_numbers: which cards use a number, by the caller's token. The number itself stands in the card.
CREATE TABLE resident_numbers (
    token    TEXT NOT NULL,
    resident TEXT NOT NULL,
    PRIMARY KEY (token, resident)
);
-- blocked: callers that a line does not take; line '' is every line.
CREATE TABLE blocked (
    token  TEXT    NOT NULL,
    line   TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    until  INTEGER NOT NULL,
    by_who TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (token, line)
);
