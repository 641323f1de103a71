//! NumPy's `.npz`: a zip archive of `.npy` files.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::DeflateEncoder;

/// An array to write.
pub struct Array<'a> {
    /// Its name in the archive.
    pub name: &'a str,
    /// NumPy's type, e.g. `|u1` or `<i8`.
    pub descr: &'a str,
    /// Its dimensions.
    pub shape: &'a [usize],
    /// The elements, little-endian, in C order.
    pub bytes: &'a [u8],
}

/// The archive as bytes; `compress` makes it smaller, else a reader can map it.
pub fn archive(arrays: &[Array], compress: bool) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for array in arrays {
        let name = format!("{}.npy", array.name);
        let mut content = npy_header(array);
        content.extend_from_slice(array.bytes);
        let crc = crc32fast::hash(&content);
        let packed = if compress {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&content)?;
            encoder.finish()?
        } else {
            content.clone()
        };
        // The fields that the local header and the directory share (PKWARE's APPNOTE 4.3.7, 4.3.12).
        let mut entry = Vec::new();
        put16(&mut entry, 20); // version needed: 2.0
        put16(&mut entry, 0); // flags
        put16(&mut entry, if compress { 8 } else { 0 }); // method
        put32(&mut entry, 0x0021_0000); // 1 January 1980, so that the same arrays give the same file
        put32(&mut entry, crc);
        put32(&mut entry, size(packed.len())?);
        put32(&mut entry, size(content.len())?);
        put16(&mut entry, name.len() as u16);
        put16(&mut entry, 0); // extra field

        let offset = size(out.len())?;
        put32(&mut out, 0x0403_4b50);
        out.extend_from_slice(&entry);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&packed);

        put32(&mut directory, 0x0201_4b50);
        put16(&mut directory, 20); // version made by
        directory.extend_from_slice(&entry);
        directory.extend_from_slice(&[0; 10]); // comment, disk, attributes
        put32(&mut directory, offset);
        directory.extend_from_slice(name.as_bytes());
    }
    let (offset, length) = (size(out.len())?, size(directory.len())?);
    out.extend_from_slice(&directory);
    put32(&mut out, 0x0605_4b50);
    put32(&mut out, 0); // disks
    put16(&mut out, arrays.len() as u16);
    put16(&mut out, arrays.len() as u16);
    put32(&mut out, length);
    put32(&mut out, offset);
    put16(&mut out, 0); // comment
    Ok(out)
}

/// The arrays of 32-bit floats and 64-bit integers of an archive that is not compressed, as numbers in C order.
pub fn read(path: &Path) -> Result<Vec<(String, Vec<f64>)>> {
    let bytes = std::fs::read(path)?;
    let end = bytes.len().checked_sub(22).context("is no archive")?;
    let number = |at: usize, width: usize| -> Result<usize> {
        let field = bytes.get(at..at + width).context("the archive is cut off")?;
        Ok(field.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let mut entry = number(end + 16, 4)?;
    let mut arrays = Vec::new();
    for _ in 0..number(end + 10, 2)? {
        if number(entry + 10, 2)? != 0 {
            bail!("the archive is compressed");
        }
        let (length, name, extra) = (number(entry + 20, 4)?, number(entry + 28, 2)?, number(entry + 30, 2)?);
        let local = number(entry + 42, 4)?;
        let start = local + 30 + number(local + 26, 2)? + number(local + 28, 2)?;
        let file = bytes.get(start..start + length).context("the archive is cut off")?;
        let named = bytes.get(entry + 46..entry + 46 + name).context("the archive is cut off")?;
        let named = String::from_utf8_lossy(named).trim_end_matches(".npy").to_owned();
        arrays.push((named.clone(), npy_numbers(file).with_context(|| named)?));
        entry += 46 + name + extra + number(entry + 32, 2)?;
    }
    Ok(arrays)
}

fn npy_numbers(file: &[u8]) -> Result<Vec<f64>> {
    let length = file.get(8..10).context("is no array")?;
    let data = 10 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    let (header, data) = (file.get(10..data).context("is no array")?, &file[data..]);
    let header = String::from_utf8_lossy(header);
    Ok(if header.contains("'<f4'") {
        data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect()
    } else if header.contains("'<i8'") {
        data.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as f64).collect()
    } else {
        bail!("its elements are neither 32-bit floats nor 64-bit integers: {header}")
    })
}

/// Version 1.0 of NumPy's format: the header ends at a multiple of 64.
fn npy_header(array: &Array) -> Vec<u8> {
    let shape: String = array.shape.iter().map(|size| format!("{size}, ")).collect();
    let mut text = format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({shape}), }}", array.descr);
    const PREFIX: usize = 10;
    text += &" ".repeat(63 - (PREFIX + text.len()) % 64);
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    put16(&mut header, text.len() as u16);
    header.extend_from_slice(text.as_bytes());
    header
}

fn size(bytes: usize) -> Result<u32> {
    u32::try_from(bytes).context("an archive above 4 GB needs zip64, which is not written here")
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_npy_header_ends_at_a_multiple_of_64() {
        for size in [1, 10, 12345, 123_456_789] {
            let array = Array { name: "x", descr: "|u1", shape: &[size, 3], bytes: &[] };
            assert_eq!(npy_header(&array).len() % 64, 0);
        }
    }

    #[test]
    fn the_directory_points_at_each_entry() {
        let x = Array { name: "x", descr: "|u1", shape: &[3], bytes: &[1, 2, 3] };
        let y = Array { name: "y", descr: "<i8", shape: &[1], bytes: &[1, 0, 0, 0, 0, 0, 0, 0] };
        for compress in [false, true] {
            let bytes = archive(&[x.clone_ref(), y.clone_ref()], compress).unwrap();
            let end = bytes.len() - 22;
            let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            let directory = u32_at(end + 16);
            assert_eq!(directory + u32_at(end + 12), end);
            let second = directory + 46 + "x.npy".len();
            for entry in [directory, second] {
                assert_eq!(u32_at(u32_at(entry + 42)), 0x0403_4b50);
            }
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let (x, y) = ([1.5f32, -2.0], [7i64]);
        let [x_bytes, y_bytes] = [x.map(f32::to_le_bytes).concat(), y.map(i64::to_le_bytes).concat()];
        let x = Array { name: "x", descr: "<f4", shape: &[2], bytes: &x_bytes };
        let y = Array { name: "y", descr: "<i8", shape: &[1], bytes: &y_bytes };
        let path = std::env::temp_dir().join(format!("secateurs-xtask-{}.npz", std::process::id()));
        std::fs::write(&path, archive(&[x, y], false).unwrap()).unwrap();
        let arrays = read(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(arrays.unwrap(), [("x".to_owned(), vec![1.5, -2.0]), ("y".to_owned(), vec![7.0])]);
    }

    impl Array<'_> {
        fn clone_ref(&self) -> Array<'_> {
            Array { name: self.name, descr: self.descr, shape: self.shape, bytes: self.bytes }
        }
    }
}
