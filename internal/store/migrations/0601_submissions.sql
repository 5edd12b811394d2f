-- +goose Up
-- app_submissions: what was handed in, each row a claim: one idempotency key, one receipt, one contact. It is written before the contact's
-- events, and again from them once they are read (seen). data is what was said, as JSON, in clear: the office's own data; '' when it was erased.
CREATE TABLE app_submissions (
    contact  TEXT    NOT NULL PRIMARY KEY,
    key      TEXT    UNIQUE,           -- digest of token and idempotency key; NULL once it has expired
    body     TEXT    NOT NULL,         -- digest of the content
    receipt  TEXT    UNIQUE,           -- eight digits; NULL when it was rejected
    code     TEXT    NOT NULL,         -- four digits that open the status
    token    TEXT    NOT NULL,         -- id of the API token; '' : our own page
    origin   TEXT    NOT NULL,
    line     TEXT    NOT NULL,
    category TEXT    NOT NULL,
    outcome  TEXT    NOT NULL,         -- accepted, rejected_invalid
    reason   TEXT    NOT NULL DEFAULT '',
    epoch    INTEGER NOT NULL,         -- of the writer of its events
    at       INTEGER NOT NULL,
    seen     INTEGER NOT NULL DEFAULT 0, -- its events were read from the stream
    state    TEXT    NOT NULL,
    case_id  TEXT    NOT NULL DEFAULT '',
    changed  INTEGER NOT NULL,
    photos   INTEGER NOT NULL DEFAULT 0,
    data     TEXT    NOT NULL
);
CREATE INDEX app_submissions_token ON app_submissions (token, at);
CREATE INDEX app_submissions_at ON app_submissions (at);
CREATE INDEX app_submissions_seen ON app_submissions (seen, at);
CREATE INDEX app_submissions_case ON app_submissions (case_id);
-- app_cases: how the cases of submissions stand, the fold of their events.
CREATE TABLE app_cases (
    id         TEXT    NOT NULL PRIMARY KEY,
    sequence   INTEGER NOT NULL,
    state      TEXT    NOT NULL,
    grid       TEXT    NOT NULL,
    department TEXT    NOT NULL,
    deadline   INTEGER NOT NULL, -- 0: none
    result     TEXT    NOT NULL,
    answer     TEXT    NOT NULL, -- in clear
    changed    INTEGER NOT NULL
);
-- app_steps: what happened to a submission, for its status. subject and sequence are the event's.
CREATE TABLE app_steps (
    contact  TEXT    NOT NULL,
    subject  TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    what     TEXT    NOT NULL,
    PRIMARY KEY (contact, subject, sequence)
);
-- app_keys: what a token of role app may do, and its webhook. failing: since when; disabled: when it was given up.
CREATE TABLE app_keys (
    token      TEXT    NOT NULL PRIMARY KEY,
    per_minute INTEGER NOT NULL,
    per_day    INTEGER NOT NULL,
    line       TEXT    NOT NULL,
    hook       TEXT    NOT NULL,
    version    INTEGER NOT NULL, -- of the webhook's secret
    renewed    INTEGER NOT NULL, -- when that version began
    failing    INTEGER NOT NULL,
    disabled   INTEGER NOT NULL,
    why        TEXT    NOT NULL
);
-- app_hooks: webhooks to be sent. id is the webhook-id, the same at every try. state: 0 waits, 1 delivered, 2 given up.
CREATE TABLE app_hooks (
    row     INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT    NOT NULL UNIQUE,
    token   TEXT    NOT NULL,
    contact TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    due     INTEGER NOT NULL,
    tries   INTEGER NOT NULL,
    state   INTEGER NOT NULL,
    done    INTEGER NOT NULL,
    body    TEXT    NOT NULL
);
CREATE INDEX app_hooks_due ON app_hooks (token, state, due);
CREATE INDEX app_hooks_done ON app_hooks (state, done);
