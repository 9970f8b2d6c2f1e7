//! Transactions, events, labels and feedback on SQLite or PostgreSQL.
