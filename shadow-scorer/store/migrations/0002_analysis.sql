-- What both sides said of the same items, counted by slots of time, and what feedback needs where they disagree. A label
-- is '' where a side has no opinion. Cohorts are 'none', 'beta' and 'opt_out'.

CREATE TABLE label_pairs (
    slot BIGINT NOT NULL,
    arm TEXT NOT NULL,
    cohort TEXT NOT NULL,
    rule_label TEXT NOT NULL,
    model_label TEXT NOT NULL,
    items BIGINT NOT NULL,
    PRIMARY KEY (slot, arm, cohort, rule_label, model_label)
);

-- By groups of users, for intervals whose units are independent.
CREATE TABLE agreement_groups (
    slot BIGINT NOT NULL,
    cohort TEXT NOT NULL,
    user_group BIGINT NOT NULL,
    judged BIGINT NOT NULL,
    agreed BIGINT NOT NULL,
    PRIMARY KEY (slot, cohort, user_group)
);

-- Answers on which the other side disagrees, until their feedback comes. The user is a pseudonym.
CREATE TABLE disputes (
    event_id TEXT NOT NULL PRIMARY KEY,
    arm TEXT NOT NULL,
    cohort TEXT NOT NULL,
    rule_label TEXT NOT NULL,
    model_label TEXT NOT NULL,
    bucket TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE INDEX disputes_by_time ON disputes (created_at);

-- Joins feedback to what it is about.
CREATE INDEX feedback_by_event ON feedback (event_id);

ALTER TABLE suggestion_events ADD COLUMN cohort TEXT NOT NULL DEFAULT 'none';
