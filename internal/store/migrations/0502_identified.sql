-- +goose Up
-- identified_seq: sequence of the number that a resident left later, which stands against the offer's; 0: none was.
ALTER TABLE contacts ADD COLUMN identified_seq INTEGER NOT NULL DEFAULT 0;
