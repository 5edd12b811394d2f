-- +goose Up
-- by which machine a phone is reached, host:port; empty: not known.
ALTER TABLE registrations ADD COLUMN node TEXT NOT NULL DEFAULT '';
