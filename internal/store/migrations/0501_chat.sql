-- +goose Up
-- chats: each conversation, the fold of its events (chat.Record) as JSON. Number and name in it are in clear and leave with contact.erased.
CREATE TABLE chats (
    contact TEXT    NOT NULL PRIMARY KEY,
    dedupe  TEXT    NOT NULL, -- of contact.offered: the same start again is the same conversation
    arrived INTEGER NOT NULL,
    over    INTEGER NOT NULL,
    data    TEXT    NOT NULL
);
CREATE INDEX chats_dedupe ON chats (dedupe);
CREATE INDEX chats_open ON chats (arrived) WHERE over = 0;

-- chat_messages: what was written, numbered from 1 in each conversation. text is personal and leaves with contact.erased.
CREATE TABLE chat_messages (
    contact TEXT    NOT NULL,
    number  INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    sender  TEXT    NOT NULL, -- resident, or an operator's id
    dedupe  TEXT    NOT NULL, -- the id that its writer gave it
    text    TEXT    NOT NULL,
    files   TEXT    NOT NULL, -- ids, JSON
    PRIMARY KEY (contact, number)
);

-- chat_files: files beside messages; the bytes lie sealed in a folder. Written when one is uploaded, before a message names it.
CREATE TABLE chat_files (
    id      TEXT    NOT NULL PRIMARY KEY,
    contact TEXT    NOT NULL,
    made    INTEGER NOT NULL,
    sender  TEXT    NOT NULL,
    type    TEXT    NOT NULL,
    size    INTEGER NOT NULL,
    sha256  TEXT    NOT NULL,
    width   INTEGER NOT NULL,
    height  INTEGER NOT NULL,
    named   INTEGER NOT NULL, -- 1: a message names it
    gone    INTEGER NOT NULL  -- 1: erased; the bytes are to be taken away
);
CREATE INDEX chat_files_contact ON chat_files (contact);
CREATE INDEX chat_files_loose ON chat_files (made) WHERE named = 0 OR gone = 1;
