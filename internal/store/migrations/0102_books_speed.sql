-- +goose Up
-- What the pages ask for every second is answered from these alone. places now packs the outcome too (see package books), so what was
-- placed before is placed again.
CREATE INDEX contacts_answered ON contacts (arrived, operator, talked_ms, flags) WHERE reached > 0;
CREATE INDEX contacts_odd ON contacts (line, channel, id) WHERE offered_seq = 0 OR twice = 1;
DROP INDEX contact_offers_operator;
CREATE INDEX contact_offers_operator ON contact_offers (rang, operator, why, unrang, answered);
DELETE FROM books_facts WHERE name = 'definitions';
