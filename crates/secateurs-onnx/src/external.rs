//! External data: the bytes of tensors that lie in other files of the model's folder.
//!
//! A model says which file, so a hostile one could name any file of the machine. Only regular files inside the
//! model's folder are opened, after links are resolved.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use memmap2::Mmap;

use crate::{ExternalError, proto::TensorProto};

/// The files of a model's folder that are open. Each is mapped once.
#[derive(Debug, Default)]
pub(crate) struct Files {
    folder: Option<PathBuf>,
    open: Mutex<HashMap<String, Bytes>>,
}

/// What a tensor's `external_data` entries say.
pub(crate) struct Place<'a> {
    pub location: &'a str,
    pub offset: u64,
    pub length: Option<u64>,
}

impl Place<'_> {
    /// Unknown keys are ignored, among them `checksum` (SHA-1 of the whole file, which nobody checks).
    pub fn of(tensor: &TensorProto) -> Result<Place<'_>, ExternalError> {
        let value =
            |key| tensor.external_data.iter().rfind(|entry| entry.key() == key).map(|entry| entry.value());
        let number = |key| match value(key) {
            None => Ok(None),
            Some(text) => text.trim().parse::<u64>().map(Some).map_err(|_| not_a_number(key, text)),
        };
        let location = value("location").filter(|location| !location.is_empty());
        Ok(Place {
            location: location.ok_or(ExternalError::NoLocation)?,
            offset: number("offset")?.unwrap_or(0),
            length: number("length")?,
        })
    }
}

fn not_a_number(key: &'static str, value: &str) -> ExternalError {
    ExternalError::NotANumber { key, value: value.to_owned() }
}

impl Files {
    pub fn in_folder(folder: Option<&Path>) -> Self {
        Files { folder: folder.map(Path::to_owned), open: Mutex::default() }
    }

    /// The bytes at a place, shared with the file's map. Without a length in the file, `expected` bytes.
    pub fn bytes(&self, place: &Place<'_>, expected: usize) -> Result<Bytes, ExternalError> {
        let file = self.file(place.location)?;
        let length = place.length.unwrap_or(expected as u64);
        let end = place.offset.checked_add(length).filter(|&end| end <= file.len() as u64);
        match end {
            Some(end) => Ok(file.slice(place.offset as usize..end as usize)),
            None => {
                Err(ExternalError::PastEnd { offset: place.offset, length, file_bytes: file.len() as u64 })
            }
        }
    }

    fn file(&self, location: &str) -> Result<Bytes, ExternalError> {
        // A panic elsewhere leaves the map as it was, so a poisoned lock is as good as any.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = open.get(location) {
            return Ok(bytes.clone());
        }
        let path = self.resolve(location)?;
        if !fs::metadata(&path).map_err(ExternalError::Io)?.is_file() {
            return Err(ExternalError::NotAFile);
        }
        let bytes = map(&path).map_err(ExternalError::Io)?;
        open.insert(location.to_owned(), bytes.clone());
        Ok(bytes)
    }

    /// The real path of a location, which is inside the folder or an error.
    fn resolve(&self, location: &str) -> Result<PathBuf, ExternalError> {
        // Both separators and drive letters on every system: a file that is harmless here should not be
        // hostile elsewhere.
        let drive = location.as_bytes().get(1) == Some(&b':');
        if location.starts_with(['/', '\\']) || drive || Path::new(location).is_absolute() {
            return Err(ExternalError::Outside("an absolute path is refused"));
        }
        if location.split(['/', '\\']).any(|part| part == "..") {
            return Err(ExternalError::Outside("a path with `..` is refused"));
        }
        let folder = self.folder.as_ref().ok_or(ExternalError::NoFolder)?;
        let real_folder = folder.canonicalize().map_err(ExternalError::Io)?;
        let real_path = real_folder.join(location).canonicalize().map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => ExternalError::Missing { folder: folder.clone() },
            _ => ExternalError::Io(cause),
        })?;
        if !real_path.starts_with(&real_folder) {
            return Err(ExternalError::Outside("a link that leads out of the model's folder is refused"));
        }
        Ok(real_path)
    }
}

/// A file's memory map. Nothing is read yet: pages come in when their bytes are looked at.
pub(crate) fn map(path: &Path) -> io::Result<Bytes> {
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the map is read-only and private to us; that nobody truncates the file meanwhile cannot be
    // enforced. Our own writing never does: it makes a new file and renames it, which leaves this one as it is.
    let map = unsafe { Mmap::map(&file)? };
    Ok(Bytes::from_owner(map))
}
