-- +goose Up
-- users: people who work here. hash is an argon2id string; must_change: the password is a one-time one.
CREATE TABLE users (
    id          TEXT    NOT NULL PRIMARY KEY,
    login       TEXT    NOT NULL UNIQUE,
    name        TEXT    NOT NULL,
    role        TEXT    NOT NULL,
    grids       TEXT    NOT NULL DEFAULT '',
    hash        TEXT    NOT NULL,
    must_change INTEGER NOT NULL,
    disabled    INTEGER NOT NULL DEFAULT 0,
    made        INTEGER NOT NULL,
    made_by     TEXT    NOT NULL DEFAULT '',
    seen        INTEGER NOT NULL DEFAULT 0
);
-- sessions: key is the SHA-256 of what the browser holds. wall: may only look at the wallboard, and does not end by time.
CREATE TABLE sessions (
    key     TEXT    NOT NULL PRIMARY KEY,
    user_id TEXT    NOT NULL REFERENCES users (id),
    csrf    TEXT    NOT NULL,
    wall    INTEGER NOT NULL DEFAULT 0,
    made    INTEGER NOT NULL,
    used    INTEGER NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
-- tokens: for programs. key is the SHA-256 of the secret, which was shown once.
CREATE TABLE tokens (
    id      TEXT    NOT NULL PRIMARY KEY,
    key     TEXT    NOT NULL UNIQUE,
    name    TEXT    NOT NULL,
    role    TEXT    NOT NULL,
    made    INTEGER NOT NULL,
    made_by TEXT    NOT NULL DEFAULT '',
    expires INTEGER NOT NULL DEFAULT 0,
    revoked INTEGER NOT NULL DEFAULT 0,
    used    INTEGER NOT NULL DEFAULT 0
);
-- devices: the phone on an operator's desk. HA1 are digests of RFC 7616; the secret was shown once.
CREATE TABLE devices (
    sip_user   TEXT    NOT NULL PRIMARY KEY,
    user_id    TEXT    NOT NULL UNIQUE REFERENCES users (id),
    realm      TEXT    NOT NULL,
    ha1_md5    TEXT    NOT NULL,
    ha1_sha256 TEXT    NOT NULL,
    made       INTEGER NOT NULL
);
-- failures: sign-ins that failed. key is a digest of the login with the address, of the login, or of the address.
CREATE TABLE sign_in_failures (
    key    TEXT    NOT NULL PRIMARY KEY,
    failed INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    until  INTEGER NOT NULL
);
