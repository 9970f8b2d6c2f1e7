//! Bodies out of their content-encoding, with a bound on what comes out.
//!
//! A few hundred bytes can unpack to gigabytes, so the bound is on the output and is kept while unpacking: nothing past
//! it is ever held.

use std::borrow::Cow;

use async_compression::tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use contract::frame::Encoding;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Why a body stays packed. [`DecodeFault::as_str`] is the label value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFault {
    /// It is not what its encoding says, or cut short.
    #[error("the body is not valid in its content-encoding")]
    Corrupt,
    /// It unpacks to more than the limit.
    #[error("the body unpacks to more than {0} bytes")]
    TooLarge(usize),
    /// An encoding that is not known, or several.
    #[error("the content-encoding is none of gzip, br, zstd, deflate, identity")]
    Unsupported,
}

impl DecodeFault {
    /// The fault as a label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Corrupt => "corrupt",
            Self::TooLarge(_) => "too_large",
            Self::Unsupported => "unsupported",
        }
    }
}

/// The encoding as a label value.
#[must_use]
pub(crate) const fn name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Identity => "identity",
        Encoding::Gzip => "gzip",
        Encoding::Brotli => "br",
        Encoding::Zstd => "zstd",
        Encoding::Deflate => "deflate",
        Encoding::Unknown => "unknown",
    }
}

/// `body` without its encoding, at most `limit` bytes. What has none is handed back as it is.
///
/// # Errors
/// See [`DecodeFault`].
pub(crate) async fn decode(encoding: Encoding, body: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, DecodeFault> {
    let decoded = match encoding {
        Encoding::Identity if body.len() > limit => return Err(DecodeFault::TooLarge(limit)),
        Encoding::Identity => return Ok(Cow::Borrowed(body)),
        Encoding::Gzip => {
            let mut decoder = GzipDecoder::new(body);
            decoder.multiple_members(true);
            unpack(decoder, limit).await?
        }
        Encoding::Brotli => unpack(BrotliDecoder::new(body), limit).await?,
        Encoding::Zstd => unpack(ZstdDecoder::new(body), limit).await?,
        Encoding::Deflate if has_zlib_header(body) => unpack(ZlibDecoder::new(body), limit).await?,
        // RFC 9110 says zlib, and notes that some send it bare; clients take both.
        Encoding::Deflate => unpack(DeflateDecoder::new(body), limit).await?,
        Encoding::Unknown => return Err(DecodeFault::Unsupported),
    };
    Ok(Cow::Owned(decoded))
}

async fn unpack(decoder: impl AsyncRead + Unpin, limit: usize) -> Result<Vec<u8>, DecodeFault> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut out = Vec::new();
    decoder.take(most).read_to_end(&mut out).await.map_err(|_| DecodeFault::Corrupt)?;
    if out.len() > limit { Err(DecodeFault::TooLarge(limit)) } else { Ok(out) }
}

/// RFC 1950: method 8, and the first two bytes together a multiple of 31.
fn has_zlib_header(body: &[u8]) -> bool {
    matches!(body, [method, flags, ..] if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_compression::tokio::write::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
    use tokio::io::AsyncWriteExt as _;

    macro_rules! pack {
        ($encoder:ident, $body:expr) => {{
            let mut encoder = $encoder::new(Vec::new());
            encoder.write_all($body).await.unwrap();
            encoder.shutdown().await.unwrap();
            encoder.into_inner()
        }};
    }

    async fn packed(body: &[u8]) -> Vec<(Encoding, Vec<u8>)> {
        vec![
            (Encoding::Gzip, pack!(GzipEncoder, body)),
            (Encoding::Brotli, pack!(BrotliEncoder, body)),
            (Encoding::Zstd, pack!(ZstdEncoder, body)),
            (Encoding::Deflate, pack!(ZlibEncoder, body)),
            (Encoding::Deflate, pack!(DeflateEncoder, body)),
        ]
    }

    #[tokio::test]
    async fn every_encoding_comes_back() {
        let body = br#"{"items":[{"txn_id":"88","candidates":[{"label":"groceries"}]}]}"#;
        for (encoding, bytes) in packed(body).await {
            assert_eq!(decode(encoding, &bytes, 1_000).await.as_deref(), Ok(&body[..]), "{encoding:?}");
        }
        assert_eq!(decode(Encoding::Identity, body, 1_000).await.as_deref(), Ok(&body[..]));
    }

    #[tokio::test]
    async fn a_bomb_is_stopped_at_the_limit() {
        for (encoding, bytes) in packed(&vec![0; 4_000_000]).await {
            assert!(bytes.len() < 8_000, "{encoding:?} packs it to {}", bytes.len());
            assert_eq!(decode(encoding, &bytes, 100_000).await, Err(DecodeFault::TooLarge(100_000)), "{encoding:?}");
        }
        assert_eq!(decode(Encoding::Identity, b"12345", 4).await, Err(DecodeFault::TooLarge(4)));
    }

    #[tokio::test]
    async fn exactly_the_limit_passes() {
        for (encoding, bytes) in packed(&[7; 5_000]).await {
            assert_eq!(decode(encoding, &bytes, 5_000).await.map(|body| body.len()), Ok(5_000), "{encoding:?}");
        }
    }

    #[tokio::test]
    async fn what_is_cut_short_or_something_else_is_corrupt() {
        for (encoding, bytes) in packed(&[b'x'; 5_000]).await {
            let cut = &bytes[..bytes.len() - 3];
            assert_eq!(decode(encoding, cut, 100_000).await, Err(DecodeFault::Corrupt), "{encoding:?}");
        }
        for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::Deflate] {
            assert_eq!(decode(encoding, b"{\"items\":[]}", 1_000).await, Err(DecodeFault::Corrupt), "{encoding:?}");
        }
        assert_eq!(decode(Encoding::Unknown, b"x", 10).await, Err(DecodeFault::Unsupported));
    }
}
