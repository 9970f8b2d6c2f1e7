//! Decompresses the application's response, so that its items can be read before it is replaced. In pure Rust, and limited: a
//! body that would become larger than the limit is not decompressed.

use std::borrow::Cow;
use std::io::Read;

use contract::frame::Encoding;

/// `body` without its content encoding, at most `limit` bytes; `None` if it is larger, or not in that encoding.
#[must_use]
pub fn decode(encoding: Encoding, body: &[u8], limit: usize) -> Option<Cow<'_, [u8]>> {
    let decoded = match encoding {
        Encoding::Identity => return Some(Cow::Borrowed(body)),
        Encoding::Gzip => read(flate2::read::MultiGzDecoder::new(body), limit),
        // The name means zlib, but some servers send a raw deflate stream.
        Encoding::Deflate => read(flate2::read::ZlibDecoder::new(body), limit)
            .or_else(|| read(flate2::read::DeflateDecoder::new(body), limit)),
        Encoding::Brotli => read(brotli_decompressor::Decompressor::new(body, 4_096), limit),
        Encoding::Zstd => zstd(body, limit),
        Encoding::Unknown => None,
    };
    decoded.map(Cow::Owned)
}

/// Decompresses all frames, one after the other.
fn zstd(mut body: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    while !body.is_empty() {
        let frame = ruzstd::decoding::StreamingDecoder::new(&mut body).ok()?;
        unpacked.extend(read(frame, limit.checked_sub(unpacked.len())?)?);
    }
    Some(unpacked)
}

fn read(from: impl Read, limit: usize) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    // One byte above the limit shows that there is more.
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    from.take(most).read_to_end(&mut unpacked).ok()?;
    (unpacked.len() <= limit).then_some(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(body: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn bare(body: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn zstandard(body: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(body, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn brotli(body: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        brotli::CompressorWriter::new(&mut packed, 4_096, 5, 20).write_all(body).unwrap();
        packed
    }

    fn unpacked(encoding: Encoding, body: &[u8]) -> Option<Vec<u8>> {
        decode(encoding, body, 1_000).map(Cow::into_owned)
    }

    #[test]
    fn each_encoding_is_unpacked() {
        let body = br#"{"items":[]}"#;
        assert_eq!(unpacked(Encoding::Identity, body).as_deref(), Some(&body[..]));
        assert_eq!(unpacked(Encoding::Gzip, &gzip(body)).as_deref(), Some(&body[..]));
        assert_eq!(unpacked(Encoding::Deflate, &zlib(body)).as_deref(), Some(&body[..]));
        assert_eq!(unpacked(Encoding::Deflate, &bare(body)).as_deref(), Some(&body[..]));
        assert_eq!(unpacked(Encoding::Zstd, &zstandard(body)).as_deref(), Some(&body[..]));
        assert_eq!(unpacked(Encoding::Brotli, &brotli(body)).as_deref(), Some(&body[..]));
        assert_eq!(unpacked(Encoding::Unknown, body), None);
    }

    #[test]
    fn members_and_frames_follow_one_another() {
        assert_eq!(unpacked(Encoding::Gzip, &[gzip(b"ab"), gzip(b"cd")].concat()).as_deref(), Some(&b"abcd"[..]));
        let frames = [zstandard(b"ab"), zstandard(b"cd")].concat();
        assert_eq!(unpacked(Encoding::Zstd, &frames).as_deref(), Some(&b"abcd"[..]));
    }

    #[test]
    fn what_unpacks_to_more_than_the_limit_is_not_unpacked() {
        let zeros = vec![b' '; 1_000_000];
        for (encoding, packed) in [
            (Encoding::Gzip, gzip(&zeros)),
            (Encoding::Deflate, zlib(&zeros)),
            (Encoding::Brotli, brotli(&zeros)),
            (Encoding::Zstd, zstandard(&zeros)),
        ] {
            assert_eq!(unpacked(encoding, &packed), None, "{encoding:?}");
        }
        assert_eq!(unpacked(Encoding::Gzip, &gzip(&zeros[..1_000])).map(|body| body.len()), Some(1_000));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Brotli, Encoding::Zstd] {
                let _ = decode(encoding, &body, 1_000);
                let mut cut = match encoding {
                    Encoding::Gzip => gzip(b"{\"items\":[1]}"),
                    Encoding::Zstd => zstandard(b"{\"items\":[1]}"),
                    Encoding::Brotli => brotli(b"{\"items\":[1]}"),
                    _ => zlib(b"{\"items\":[1]}"),
                };
                for (at, byte) in cut.iter_mut().zip(&body) {
                    *at ^= byte & 1;
                }
                let _ = decode(encoding, &cut, 1_000);
            }
        }
    }
}
