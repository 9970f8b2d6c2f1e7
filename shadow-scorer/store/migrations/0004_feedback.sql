-- Labels become a log: a correction is another row, and a label taken back is a row whose label is ''. So what was known
-- at any time t stays known: of each source the newest row not after t counts, and of those the newest.
CREATE TABLE transaction_label_log (
    txn_id BIGINT NOT NULL REFERENCES transactions (id) ON DELETE CASCADE,
    source TEXT NOT NULL,
    label TEXT NOT NULL,
    labelled_at BIGINT NOT NULL,
    PRIMARY KEY (txn_id, source, labelled_at)
);

INSERT INTO transaction_label_log (txn_id, source, label, labelled_at)
    SELECT txn_id, source, label, labelled_at FROM transaction_labels;

DROP TABLE transaction_labels;

ALTER TABLE transaction_label_log RENAME TO transaction_labels;

-- Feedback follows the user's last word: when it was said, how often it changed, and whose it is (a pseudonym).
ALTER TABLE feedback ADD COLUMN bucket TEXT NOT NULL DEFAULT '';
ALTER TABLE feedback ADD COLUMN changed_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE feedback ADD COLUMN changes BIGINT NOT NULL DEFAULT 0;

UPDATE feedback SET changed_at = received_at;

CREATE INDEX feedback_by_user ON feedback (bucket, received_at);

-- Feedback on events that are not stored yet. It counts for nothing until it is joined, and is forgotten if it never is.
CREATE TABLE feedback_waiting (
    event_id TEXT NOT NULL PRIMARY KEY,
    txn_id BIGINT NOT NULL,
    action TEXT NOT NULL,
    label TEXT NOT NULL,
    confidence DOUBLE PRECISION,
    reason TEXT NOT NULL,
    bucket TEXT NOT NULL,
    received_at BIGINT NOT NULL
);

CREATE INDEX feedback_waiting_by_time ON feedback_waiting (received_at);

-- Which writings of counts are in the tables: one whose end was not seen is written again, and counts once.
CREATE TABLE writings (
    writing_id TEXT NOT NULL PRIMARY KEY,
    written_at BIGINT NOT NULL
);

CREATE INDEX writings_by_time ON writings (written_at);

-- One row, written every few seconds to find out whether the store takes writes.
CREATE TABLE write_probe (
    id BIGINT NOT NULL PRIMARY KEY,
    probed_at BIGINT NOT NULL
);
