//! Why a configuration is refused.

/// A configuration that cannot be used. It is reported in one sentence, which never contains the salt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}; {fix}")]
pub struct ConfigError {
    /// The field at fault, e.g. `limits.flush_ms`.
    pub field: String,
    /// The rule that it breaks, with its value.
    pub rule: String,
    /// What to do.
    pub fix: String,
}

pub(super) fn fault<T>(
    field: impl Into<String>,
    rule: impl Into<String>,
    fix: impl Into<String>,
) -> Result<T, ConfigError> {
    Err(ConfigError { field: field.into(), rule: rule.into(), fix: fix.into() })
}
