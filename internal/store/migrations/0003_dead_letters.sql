-- +goose Up
-- dead_letters: records that a consumer could not use, put aside until a person has decided (an office with Kafka keeps them there). raw is the original
-- bytes: what is personal in an event is sealed. rev grows when the same record is put aside again.
CREATE TABLE dead_letters (
    id        TEXT    NOT NULL PRIMARY KEY,
    consumer  TEXT    NOT NULL,
    source    TEXT    NOT NULL,
    partition INTEGER NOT NULL,
    pos       INTEGER NOT NULL,
    raw       BLOB    NOT NULL,
    reason    TEXT    NOT NULL,
    attempts  INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    rev       INTEGER NOT NULL
);
CREATE INDEX dead_letters_at ON dead_letters (at, id);
-- replays: consumers that read anew what they had before, and up to where in each partition. A row goes when that is reached.
CREATE TABLE replays (
    grp       TEXT    NOT NULL,
    partition INTEGER NOT NULL,
    upto      INTEGER NOT NULL,
    PRIMARY KEY (grp, partition)
);
