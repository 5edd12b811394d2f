-- +goose Up
-- contacts: one row each, the fold of its events (answerrate.Contact). number and name are in clear: they are what an
-- operator needs to phone back, and leave with contact.erased.
CREATE TABLE contacts (
    id           TEXT    NOT NULL PRIMARY KEY,
    pkey         TEXT    NOT NULL, -- partition key of its events
    channel      TEXT    NOT NULL,
    line         TEXT    NOT NULL,
    switchboard  TEXT    NOT NULL,
    caller       TEXT    NOT NULL, -- token; empty: withheld or unknown
    withheld     INTEGER NOT NULL,
    known        TEXT    NOT NULL, -- the resident's card
    origin       TEXT    NOT NULL,
    dedupe       TEXT    NOT NULL,
    sip_call_id  TEXT    NOT NULL,
    imported     TEXT    NOT NULL,
    arrived      INTEGER NOT NULL,
    queued       INTEGER NOT NULL,
    answered     INTEGER NOT NULL,
    operator     TEXT    NOT NULL,
    ended        INTEGER NOT NULL,
    outcome      TEXT    NOT NULL, -- empty: open
    reason       TEXT    NOT NULL,
    ended_by     TEXT    NOT NULL,
    q850         INTEGER NOT NULL,
    waited_ms    INTEGER NOT NULL,
    rang_ms      INTEGER NOT NULL,
    talked_ms    INTEGER NOT NULL,
    flags        TEXT    NOT NULL, -- with commas between
    provisional  INTEGER NOT NULL,
    twice        INTEGER NOT NULL,
    erased       INTEGER NOT NULL,
    newest       INTEGER NOT NULL, -- sequences
    offered_seq  INTEGER NOT NULL, -- 0: contact.offered was never seen
    queued_seq   INTEGER NOT NULL,
    answered_seq INTEGER NOT NULL,
    ended_seq    INTEGER NOT NULL,
    number       TEXT    NOT NULL, -- personal
    name         TEXT    NOT NULL, -- personal
    usable       INTEGER NOT NULL, -- 1: we know whom to call back
    owed         INTEGER NOT NULL, -- 1: its end leaves us owing them a call
    reached      INTEGER NOT NULL, -- when somebody and the resident reached one another in it; 0: they did not
    places       INTEGER NOT NULL  -- its place in each definition per contact, what became of it: see package books
);
CREATE INDEX contacts_arrived ON contacts (arrived, line, channel, outcome, places, offered_seq);
CREATE INDEX contacts_caller ON contacts (caller, arrived);
CREATE INDEX contacts_reached ON contacts (caller, reached);
CREATE INDEX contacts_operator ON contacts (operator, arrived);
CREATE INDEX contacts_open ON contacts (arrived) WHERE outcome = '';
CREATE INDEX contacts_call ON contacts (sip_call_id) WHERE sip_call_id <> '';
CREATE INDEX contacts_owed ON contacts (caller, line, arrived) WHERE owed = 1;

-- contact_offers: each ring of an operator's phone or desk.
CREATE TABLE contact_offers (
    contact  TEXT    NOT NULL,
    offer    TEXT    NOT NULL,
    operator TEXT    NOT NULL,
    rang     INTEGER NOT NULL,
    unrang   INTEGER NOT NULL,
    why      TEXT    NOT NULL,
    answered INTEGER NOT NULL,
    PRIMARY KEY (contact, offer)
);
CREATE INDEX contact_offers_operator ON contact_offers (rang, operator);

-- contact_cases: which cases were opened from a contact, or had it attached.
CREATE TABLE contact_cases (
    contact TEXT    NOT NULL,
    case_id TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (contact, case_id)
);

-- callers: who phoned, by token. number and name are personal.
CREATE TABLE callers (
    token    TEXT    NOT NULL PRIMARY KEY,
    number   TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    known    TEXT    NOT NULL,
    first_at INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    contacts INTEGER NOT NULL
);

-- episodes: a caller's attempts on one line that belong together, under the id of the first.
CREATE TABLE episodes (
    contact  TEXT    NOT NULL PRIMARY KEY,
    caller   TEXT    NOT NULL,
    line     TEXT    NOT NULL,
    channel  TEXT    NOT NULL,
    first_at INTEGER NOT NULL,
    last_at  INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    reached  INTEGER NOT NULL, -- 0: not yet
    outcome  TEXT    NOT NULL, -- of the first attempt
    reason   TEXT    NOT NULL,
    places   INTEGER NOT NULL  -- its place in each definition per caller, 4 bits each
);
CREATE INDEX episodes_first ON episodes (first_at, line, channel, places);
CREATE INDEX episodes_caller ON episodes (caller, line, first_at);

-- callbacks: the duty to reach somebody we failed. The row is the truth, its events follow from it. number and name are personal.
CREATE TABLE callbacks (
    id              TEXT    NOT NULL PRIMARY KEY,
    seq             INTEGER NOT NULL, -- sequence of its newest event
    caller          TEXT    NOT NULL,
    line            TEXT    NOT NULL,
    cause           TEXT    NOT NULL,
    first_attempt   INTEGER NOT NULL,
    due             INTEGER NOT NULL,
    born            INTEGER NOT NULL,
    number          TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    known           TEXT    NOT NULL,
    in_hand         TEXT    NOT NULL, -- operator; empty: nobody's
    taken           INTEGER NOT NULL,
    given_by        TEXT    NOT NULL, -- the supervisor who gave it to them; empty: they took it
    visit           INTEGER NOT NULL, -- 1: a grid worker was asked to go
    cleared         INTEGER NOT NULL, -- when the caller was reached; 0: owed
    cleared_by      TEXT    NOT NULL, -- empty: owed
    cleared_contact TEXT    NOT NULL,
    cleared_attempt TEXT    NOT NULL,
    cleared_case    TEXT    NOT NULL,
    cleared_user    TEXT    NOT NULL,
    cleared_reason  TEXT    NOT NULL
);
CREATE UNIQUE INDEX callbacks_open ON callbacks (caller, line) WHERE cleared_by = '';
CREATE INDEX callbacks_due ON callbacks (first_attempt) WHERE cleared_by = '';
CREATE INDEX callbacks_caller ON callbacks (caller, first_attempt);
CREATE INDEX callbacks_cleared ON callbacks (cleared) WHERE cleared_by <> '';

CREATE TABLE callback_contacts (
    callback TEXT NOT NULL,
    contact  TEXT NOT NULL,
    PRIMARY KEY (callback, contact)
);
CREATE INDEX callback_contacts_contact ON callback_contacts (contact);

CREATE TABLE callback_tries (
    attempt   TEXT    NOT NULL PRIMARY KEY,
    callback  TEXT    NOT NULL,
    caller    TEXT    NOT NULL,
    line      TEXT    NOT NULL,
    operator  TEXT    NOT NULL,
    result    TEXT    NOT NULL,
    seconds   INTEGER NOT NULL,
    recording TEXT    NOT NULL,
    at        INTEGER NOT NULL
);
CREATE INDEX callback_tries_callback ON callback_tries (callback, at);
CREATE INDEX callback_tries_caller ON callback_tries (caller, at);

-- reaches: when a caller was reached otherwise than in a contact of their own: a try, a visit; and a supervisor's closing.
CREATE TABLE reaches (
    key     TEXT    NOT NULL PRIMARY KEY, -- what it happened in
    caller  TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    how     TEXT    NOT NULL, -- as callback.cleared has it in "by"
    line    TEXT    NOT NULL, -- a supervisor's closing: for this line only
    attempt TEXT    NOT NULL,
    case_id TEXT    NOT NULL,
    person  TEXT    NOT NULL, -- user id
    reason  TEXT    NOT NULL
);
CREATE INDEX reaches_caller ON reaches (caller, at);

-- visits: cases that send a grid worker to somebody we could not reach.
CREATE TABLE visits (
    case_id  TEXT    NOT NULL PRIMARY KEY,
    callback TEXT    NOT NULL,
    closed   INTEGER NOT NULL,
    result   TEXT    NOT NULL,
    person   TEXT    NOT NULL
);

-- foreign_callbacks: callbacks of another system or of books that are gone, known from the stream only.
CREATE TABLE foreign_callbacks (
    id     TEXT NOT NULL PRIMARY KEY,
    caller TEXT NOT NULL,
    line   TEXT NOT NULL
);

-- timeline: what happened to a contact, a callback, a case, as the stream has it (what is personal in it is sealed). Its key is
-- what makes applying an event twice harmless.
CREATE TABLE timeline (
    subject TEXT    NOT NULL,
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    type    TEXT    NOT NULL,
    raw     BLOB    NOT NULL,
    PRIMARY KEY (subject, seq)
);

CREATE TABLE recordings (
    id        TEXT    NOT NULL PRIMARY KEY,
    contact   TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    ms        INTEGER NOT NULL,
    channels  INTEGER NOT NULL,
    sha256    TEXT    NOT NULL,
    cut_short INTEGER NOT NULL
);
CREATE INDEX recordings_contact ON recordings (contact, at);

-- looks: who looked at what is masked, and who listened.
CREATE TABLE looks (
    id      TEXT    NOT NULL PRIMARY KEY, -- of the event
    what    TEXT    NOT NULL,             -- a subject; "recording/…" for one listened to
    viewer  TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    field   TEXT    NOT NULL,
    reason  TEXT    NOT NULL,
    from_ms INTEGER NOT NULL,
    to_ms   INTEGER NOT NULL
);
CREATE INDEX looks_what ON looks (what, at);

CREATE TABLE operator_states (
    operator TEXT    NOT NULL,
    seq      INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    state    TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    PRIMARY KEY (operator, seq)
);
CREATE INDEX operator_states_at ON operator_states (operator, at);

-- books_facts: the definitions by which places were computed, and how far the books have come.
CREATE TABLE books_facts (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
