//! Manifests, sessions, and the registry with its aliases.
