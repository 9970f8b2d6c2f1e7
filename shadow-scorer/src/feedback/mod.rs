//! Accepts and rejects, joined to what was served.
