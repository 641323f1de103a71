//! NumPy archives: `.npz` (a ZIP of arrays, stored or deflated) and single `.npy` files.
//!
//! Files come from anywhere: nothing is allocated on the word of a header alone.

use std::fs::File;
use std::io::{BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use secateurs_onnx::Tensor;
use zip::ZipArchive;
use zip::write::SimpleFileOptions;

use super::error::{DataError, Result};
use super::npy;
use crate::whole;

/// Deflate cannot pack more than this many bytes into one; an entry that says so lies.
const MAX_DEFLATE_RATIO: u64 = 1_040;

/// Reads all arrays of an `.npz` file in its order, or the array of an `.npy` file under the name `x`.
pub fn read(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let mut archive = Archive::open(path)?;
    archive.names().into_iter().map(|name| archive.read(&name).map(|tensor| (name, tensor))).collect()
}

/// An open `.npz` or `.npy` file.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Npy(BufReader<File>),
    Npz(Box<ZipArchive<BufReader<File>>>),
}

impl Archive {
    /// Opens a file of either kind, told apart by its first bytes.
    pub fn open(path: &Path) -> Result<Archive> {
        let file = File::open(path).map_err(DataError::io(path))?;
        let mut reader = BufReader::new(file);
        let mut start = [0; 6];
        let known = reader.read_exact(&mut start).is_ok();
        reader.rewind().map_err(DataError::io(path))?;
        let content = if known && start.starts_with(b"\x93NUMPY") {
            Content::Npy(reader)
        } else {
            Content::Npz(Box::new(ZipArchive::new(reader).map_err(|e| DataError::Array {
                path: path.to_owned(),
                array: None,
                message: format!("not a NumPy archive, or a damaged one: {e}"),
            })?))
        };
        Ok(Archive { path: path.to_owned(), content })
    }

    /// The names of the arrays, without `.npy`.
    pub fn names(&self) -> Vec<String> {
        match &self.content {
            Content::Npy(_) => vec!["x".to_owned()],
            Content::Npz(zip) => zip
                .file_names()
                .filter_map(|name| name.ok().and_then(|name| name.strip_suffix(".npy").map(str::to_owned)))
                .collect(),
        }
    }

    /// Reads one array.
    pub fn read(&mut self, name: &str) -> Result<Tensor> {
        let path = self.path.clone();
        let error =
            |message: String| DataError::Array { path: path.clone(), array: Some(name.to_owned()), message };
        match &mut self.content {
            Content::Npy(reader) => {
                let length = reader.get_ref().metadata().map_err(DataError::io(&self.path))?.len();
                reader.rewind().map_err(DataError::io(&self.path))?;
                read_array(reader, length, length).map_err(error)
            }
            Content::Npz(zip) => {
                let mut entry = zip.by_name(&format!("{name}.npy")).map_err(|e| error(e.to_string()))?;
                let (length, packed) = (entry.size(), entry.compressed_size());
                read_array(&mut entry, length, packed).map_err(error)
            }
        }
    }
}

/// Reads an array of `length` bytes (header and data) that take `packed` bytes in the file.
fn read_array(reader: &mut impl Read, length: u64, packed: u64) -> Result<Tensor, String> {
    let read = |e: std::io::Error| format!("is damaged: {e}");
    if length > packed.saturating_mul(MAX_DEFLATE_RATIO).saturating_add(1024) {
        return Err(format!("is damaged: {packed} bytes cannot unpack to {length}"));
    }
    let mut head = vec![0; npy::PREAMBLE];
    reader.read_exact(&mut head).map_err(read)?;
    let data_start = npy::data_start(&head)?;
    head.resize(data_start.max(npy::PREAMBLE), 0);
    reader.read_exact(&mut head[npy::PREAMBLE..]).map_err(read)?;
    let header = npy::header(&head)?;
    let expected = header.data_start as u64 + header.data_len as u64;
    if expected != length {
        return Err(format!(
            "is damaged: its shape {:?} needs {expected} bytes with the header, {length} are there",
            header.shape
        ));
    }
    let mut data = Vec::new();
    data.try_reserve_exact(header.data_len)
        .map_err(|_| format!("needs {} bytes of memory", header.data_len))?;
    reader.take(header.data_len as u64).read_to_end(&mut data).map_err(read)?;
    if data.len() != header.data_len {
        return Err(format!("is damaged: {} of {} bytes are there", data.len(), header.data_len));
    }
    // One read past the end lets the ZIP reader compare the checksum.
    if reader.read(&mut [0]).map_err(read)? != 0 {
        return Err("is damaged: there are bytes after its data".to_owned());
    }
    npy::tensor(header, data)
}

/// Writes an `.npz` file of these arrays, uncompressed as `numpy.savez` does; the file is there whole or not at all.
pub fn write(path: &Path, arrays: &[(&str, &Tensor)]) -> Result<()> {
    let array_error = |name: &str, message: String| DataError::Array {
        path: path.to_owned(),
        array: Some(name.to_owned()),
        message,
    };
    let mut temporary = whole::temporary_beside(path).map_err(DataError::io(path))?;
    let mut zip = zip::ZipWriter::new(std::io::BufWriter::new(temporary.as_file_mut()));
    for (name, tensor) in arrays {
        let header = npy::write_header(tensor).map_err(|message| array_error(name, message))?;
        let options = SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored)
            .large_file(tensor.bytes().len() as u64 >= u64::from(u32::MAX) - 65_536);
        zip.start_file(format!("{name}.npy"), options).map_err(|e| array_error(name, e.to_string()))?;
        zip.write_all(&header).and_then(|()| zip.write_all(tensor.bytes())).map_err(DataError::io(path))?;
    }
    let finished = zip.finish().map_err(|e| DataError::Io { path: path.to_owned(), source: e.into() })?;
    finished
        .into_inner()
        .map_err(|e| e.into_error())
        .and_then(|f| f.sync_all())
        .map_err(DataError::io(path))?;
    temporary.persist(path).map_err(|e| DataError::Io { path: path.to_owned(), source: e.error })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::npy::tests::raw;

    fn zipped(method: zip::CompressionMethod, files: &[(&str, &[u8])]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.npz");
        let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
        for (name, bytes) in files {
            zip.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
        (folder, path)
    }

    #[test]
    fn stored_and_deflated_archives_are_read() {
        let array =
            raw(1, "{'descr': '<i2', 'fortran_order': False, 'shape': (3,), }\n", &[1, 0, 2, 0, 3, 0]);
        for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
            let (_folder, path) = zipped(method, &[("x.npy", &array), ("notes.txt", b"no array")]);
            let arrays = read(&path).unwrap();
            assert_eq!(arrays.len(), 1);
            assert_eq!(arrays[0].0, "x");
            assert_eq!(arrays[0].1.to_i64_vec().unwrap(), [1, 2, 3]);
        }
    }

    #[test]
    fn written_arrays_come_back_and_replace_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.npz");
        std::fs::write(&path, "old").unwrap();
        let logits = Tensor::from_slice(vec![2, 2], &[1.0_f32, 2.0, 3.0, f32::NAN]).unwrap();
        let ids = Tensor::from_slice(vec![1], &[-5_i64]).unwrap();
        write(&path, &[("logits", &logits), ("ids", &ids)]).unwrap();
        let back = read(&path).unwrap();
        assert_eq!(back[0].0, "logits");
        assert_eq!(back[0].1.bytes(), logits.bytes());
        assert_eq!(back[1].1.to_i64_vec().unwrap(), [-5]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_single_array_is_x() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.npy");
        std::fs::write(&path, raw(3, "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }\n", &[8, 9]))
            .unwrap();
        assert_eq!(read(&path).unwrap()[0].1.to_i64_vec().unwrap(), [8, 9]);
    }

    #[test]
    fn a_bomb_a_lie_and_a_stump_are_errors() {
        let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 100000, 10), }\n";
        let (_folder, path) =
            zipped(zip::CompressionMethod::Deflated, &[("x.npy", &raw(1, header, &[0; 4096]))]);
        assert!(read(&path).unwrap_err().to_string().contains("array 'x': is damaged"));

        let array = raw(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (4096,), }\n", &[7; 4096]);
        let (_folder, path) = zipped(zip::CompressionMethod::Stored, &[("x.npy", &array)]);
        let whole = std::fs::read(&path).unwrap();
        for keep in [0, 3, 30, 2000, whole.len() - 40, whole.len() - 1] {
            std::fs::write(&path, &whole[..keep]).unwrap();
            assert!(matches!(read(&path), Err(DataError::Array { .. })), "{keep} of {} bytes", whole.len());
        }
        // One wrong byte in the data: the checksum tells.
        let mut damaged = whole.clone();
        damaged[2000] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("no/such.npz")).unwrap_err().to_string();
        assert!(error.contains("no/such.npz"), "{error}");
    }

    #[test]
    fn damage_anywhere_is_an_error_or_harmless_and_never_a_panic() {
        let floats = raw(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n", &[1; 24]);
        let bytes = raw(2, "{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }\n", &[2; 5]);
        let mut rng = crate::rng::Rng::new(0, "damage", 0, 0);
        for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
            let (_folder, path) = zipped(method, &[("x.npy", &floats), ("y.npy", &bytes)]);
            let whole = std::fs::read(&path).unwrap();
            for _ in 0..300 {
                let mut damaged = whole.clone();
                for _ in 0..=rng.below(3) {
                    let at = rng.below(damaged.len());
                    damaged[at] = rng.next_u64() as u8;
                }
                std::fs::write(&path, &damaged).unwrap();
                let _ = read(&path);
            }
        }
        for at in 0..floats.len() {
            for value in [0, 0x27, 0x39, 0xff] {
                let mut damaged = floats.clone();
                damaged[at] = value;
                let length = damaged.len() as u64;
                let _ = read_array(&mut &damaged[..], length, length);
            }
        }
    }
}
