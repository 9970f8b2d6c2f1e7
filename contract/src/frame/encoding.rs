//! Content encodings of bodies.

/// How a body is encoded, from its `content-encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// None.
    Identity,
    /// gzip.
    Gzip,
    /// Brotli.
    Brotli,
    /// zstd.
    Zstd,
    /// deflate (zlib).
    Deflate,
    /// Another one, or several: the scorer cannot decode the body.
    Unknown,
}

impl Encoding {
    /// From a `content-encoding` value; absent or empty is identity.
    #[must_use]
    pub fn from_header(value: Option<&[u8]>) -> Self {
        let Some(value) = value else { return Self::Identity };
        let value = value.trim_ascii();
        let is = |name: &str| value.eq_ignore_ascii_case(name.as_bytes());
        if value.is_empty() || is("identity") {
            Self::Identity
        } else if is("gzip") || is("x-gzip") {
            Self::Gzip
        } else if is("br") {
            Self::Brotli
        } else if is("zstd") {
            Self::Zstd
        } else if is("deflate") {
            Self::Deflate
        } else {
            Self::Unknown
        }
    }

    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Identity => 0,
            Self::Gzip => 1,
            Self::Brotli => 2,
            Self::Zstd => 3,
            Self::Deflate => 4,
            Self::Unknown => 255,
        }
    }

    pub(super) const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Identity,
            1 => Self::Gzip,
            2 => Self::Brotli,
            3 => Self::Zstd,
            4 => Self::Deflate,
            _ => Self::Unknown,
        }
    }
}
