-- +goose Up
-- worker_asks: a grid worker without a phone on the hotline asks us to call somebody and to tell. act is made in the worker's phone: the
-- same again is the same ask.
CREATE TABLE worker_asks (
    act      TEXT    NOT NULL PRIMARY KEY,
    case_id  TEXT    NOT NULL,
    callback TEXT    NOT NULL, -- '' : there is none, look at the case
    by_who   TEXT    NOT NULL,
    at       INTEGER NOT NULL
);
CREATE INDEX worker_asks_case ON worker_asks (case_id, at);
CREATE INDEX worker_asks_at ON worker_asks (at);
