//! Arrays that numpy reads (`.npy`, format 1.0), written as they come.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A number that an array can hold.
pub(crate) trait Element: Copy {
    /// numpy's name of the type.
    const DESCR: &'static str;
    /// Appends its bytes, lowest first.
    fn write(self, out: &mut impl Write) -> std::io::Result<()>;
}

macro_rules! element {
    ($($type:ty => $descr:literal),+ $(,)?) => {$(
        impl Element for $type {
            const DESCR: &'static str = $descr;
            fn write(self, out: &mut impl Write) -> std::io::Result<()> {
                out.write_all(&self.to_le_bytes())
            }
        }
    )+};
}

element! { f32 => "<f4", i64 => "<i8", u16 => "<u2", u8 => "|u1", i16 => "<i2", u64 => "<u8" }

/// Header of fixed size, so that the length can be filled in at the end.
const HEADER: usize = 128;

/// A one-dimensional array being written. Without [`Array::finish`] the file keeps a length of 0.
#[derive(Debug)]
pub(crate) struct Array<T> {
    out: BufWriter<File>,
    len: u64,
    path: PathBuf,
    of: std::marker::PhantomData<T>,
}

impl<T: Element> Array<T> {
    /// Begins `path`, which is written anew.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(crate) fn create(path: &Path) -> std::io::Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 16, File::create(path)?);
        out.write_all(&header(T::DESCR, 0))?;
        Ok(Self { out, len: 0, path: path.to_owned(), of: std::marker::PhantomData })
    }

    /// Appends one number.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(crate) fn push(&mut self, value: T) -> std::io::Result<()> {
        self.len += 1;
        value.write(&mut self.out)
    }

    /// How many numbers it has.
    #[must_use]
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// Writes the length, and hands back where the array is.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(crate) fn finish(mut self) -> std::io::Result<PathBuf> {
        self.out.flush()?;
        let mut file = self.out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&header(T::DESCR, self.len))?;
        Ok(self.path)
    }
}

fn header(descr: &str, len: u64) -> Vec<u8> {
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({len},), }}").into_bytes();
    text.resize(HEADER - 11, b' ');
    text.push(b'\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(text.len()).unwrap_or_default().to_le_bytes());
    bytes.extend(text);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_states_type_and_length_and_is_aligned() {
        let folder = tempfile::tempdir().unwrap();
        let mut array = Array::<f32>::create(&folder.path().join("a.npy")).unwrap();
        for value in [1.5, f32::NAN, -0.25] {
            array.push(value).unwrap();
        }
        let bytes = std::fs::read(array.finish().unwrap()).unwrap();
        let text = String::from_utf8_lossy(&bytes[10..10 + usize::from(bytes[8])]).into_owned();
        assert!(text.contains("'<f4'") && text.contains("(3,)") && text.ends_with('\n'), "{text:?}");
        let start = 10 + usize::from(bytes[8]);
        assert_eq!(start % 64, 0);
        assert_eq!(bytes[start..start + 4], 1.5_f32.to_le_bytes());
        assert_eq!(bytes.len() - start, 12);
    }
}
