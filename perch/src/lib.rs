//! The operator's command and the guard.
