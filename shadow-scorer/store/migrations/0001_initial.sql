-- Written in the SQL that SQLite and PostgreSQL both take. Times are seconds since 1970, UTC; flags are 0, 1 or NULL for
-- "not known"; amounts are whole cents, so that no store rounds them.

CREATE TABLE transactions (
    id BIGINT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL,
    occurred_at BIGINT NOT NULL,
    merchant TEXT NOT NULL,
    memo TEXT NOT NULL,
    amount_cents BIGINT NOT NULL,
    channel TEXT NOT NULL,
    mcc BIGINT,
    is_subscription BIGINT,
    is_p2p BIGINT
);

-- A user's history, newest first.
CREATE INDEX transactions_by_user ON transactions (user_id, occurred_at, id);

-- What a transaction truly is. One row a source, so that a correction by feedback does not erase when the first label
-- was known: a history at time t uses the newest row not after t.
CREATE TABLE transaction_labels (
    txn_id BIGINT NOT NULL REFERENCES transactions (id) ON DELETE CASCADE,
    source TEXT NOT NULL,
    label TEXT NOT NULL,
    labelled_at BIGINT NOT NULL,
    PRIMARY KEY (txn_id, source)
);

-- What was suggested, by whom. The user is a pseudonym.
CREATE TABLE suggestion_events (
    event_id TEXT NOT NULL PRIMARY KEY,
    txn_id BIGINT NOT NULL,
    arm TEXT NOT NULL,
    model_version TEXT NOT NULL,
    label TEXT NOT NULL,
    confidence DOUBLE PRECISION NOT NULL,
    bucket TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE INDEX suggestion_events_by_time ON suggestion_events (created_at);

-- What the user said to it. The key is the event's id, or made of transaction and action where the client sent none.
CREATE TABLE feedback (
    feedback_key TEXT NOT NULL PRIMARY KEY,
    event_id TEXT,
    txn_id BIGINT NOT NULL,
    action TEXT NOT NULL,
    label TEXT NOT NULL,
    arm TEXT NOT NULL,
    model_version TEXT NOT NULL,
    confidence DOUBLE PRECISION,
    reason TEXT NOT NULL,
    received_at BIGINT NOT NULL
);

CREATE INDEX feedback_by_time ON feedback (received_at);
