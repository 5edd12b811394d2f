-- +goose Up
-- name: what the file's writer called it. It is personal and leaves with contact.erased.
ALTER TABLE chat_files ADD COLUMN name TEXT NOT NULL DEFAULT '';
