//! Decodes response bodies, with a limit on the decoded size.

use async_compression::tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The encodings that the request accepts. A response in another known encoding is read too.
pub(super) const ACCEPTED: &str = "gzip, br, zstd, deflate";
/// Most nested encodings.
const MOST_ENCODINGS: usize = 4;

/// A body that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnpackFault {
    /// The body is not valid in the encoding that its header names.
    #[error("response is not valid {0}")]
    Corrupt(&'static str),
    /// The decoded body is too long.
    #[error("decoded response too long")]
    TooLong,
    /// An unknown encoding, or too many nested ones.
    #[error("unknown content-encoding {0:?}")]
    Unknown(String),
}

/// `body` without the `encodings` of its header (a list, the last applied first), at most `limit` bytes.
///
/// # Errors
/// See [`UnpackFault`].
pub(super) async fn unpack(mut body: Vec<u8>, encodings: &str, limit: usize) -> Result<Vec<u8>, UnpackFault> {
    let unknown = || UnpackFault::Unknown(encodings.chars().take(100).collect());
    let list: Vec<String> = encodings.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
    if list.len() > MOST_ENCODINGS {
        return Err(unknown());
    }
    for encoding in list.iter().rev() {
        let packed = body.as_slice();
        body = match encoding.as_str() {
            "" | "identity" => continue,
            "gzip" | "x-gzip" => {
                let mut decoder = GzipDecoder::new(packed);
                decoder.multiple_members(true);
                read(decoder, "gzip", limit).await?
            }
            "br" => read(BrotliDecoder::new(packed), "br", limit).await?,
            "zstd" => {
                let mut decoder = ZstdDecoder::new(packed);
                decoder.multiple_members(true);
                read(decoder, "zstd", limit).await?
            }
            // RFC 9110 means zlib, and notes that some servers send raw deflate.
            "deflate" => match read(ZlibDecoder::new(packed), "deflate", limit).await {
                Err(UnpackFault::Corrupt(_)) => read(DeflateDecoder::new(packed), "deflate", limit).await?,
                unpacked => unpacked?,
            },
            _ => return Err(unknown()),
        };
    }
    Ok(body)
}

async fn read(decoder: impl AsyncRead + Unpin, name: &'static str, limit: usize) -> Result<Vec<u8>, UnpackFault> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut out = Vec::new();
    decoder.take(most).read_to_end(&mut out).await.map_err(|_| UnpackFault::Corrupt(name))?;
    if out.len() > limit { Err(UnpackFault::TooLong) } else { Ok(out) }
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

    #[tokio::test]
    async fn case_53_what_an_application_packs_is_unpacked() {
        let body = br#"{"items":[]}"#;
        let packed = [
            ("gzip", pack!(GzipEncoder, body)),
            ("x-gzip", [pack!(GzipEncoder, &body[..5]), pack!(GzipEncoder, &body[5..])].concat()),
            ("BR", pack!(BrotliEncoder, body)),
            ("zstd", [pack!(ZstdEncoder, &body[..5]), pack!(ZstdEncoder, &body[5..])].concat()),
            ("deflate", pack!(ZlibEncoder, body)),
            ("deflate", pack!(DeflateEncoder, body)),
            ("br, gzip", pack!(GzipEncoder, &pack!(BrotliEncoder, body))),
            ("", body.to_vec()),
            ("identity", body.to_vec()),
        ];
        for (encoding, bytes) in packed {
            assert_eq!(unpack(bytes, encoding, 100).await.as_deref(), Ok(&body[..]), "{encoding}");
        }
    }

    #[tokio::test]
    async fn a_bomb_a_lie_and_a_stranger_are_refused() {
        let bomb = pack!(GzipEncoder, &vec![0; 4_000_000]);
        assert_eq!(unpack(bomb, "gzip", 1_000).await, Err(UnpackFault::TooLong));
        assert_eq!(unpack(b"{}".to_vec(), "gzip", 1_000).await, Err(UnpackFault::Corrupt("gzip")));
        let error = unpack(b"{}".to_vec(), "compress", 1_000).await.unwrap_err();
        assert!(error.to_string().contains("compress"), "{error}");
        assert!(unpack(b"{}".to_vec(), "br,br,br,br,br", 1_000).await.is_err());
    }
}
