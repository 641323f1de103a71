//! Files that are there whole or not at all.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;

/// What the names of files begin with that are being written.
pub(crate) const TEMPORARY: &str = ".secateurs-";

/// A temporary file in the folder of `path`, with the permissions of an ordinary file.
pub(crate) fn temporary_beside(path: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder(path))
}

/// Writes a file under a temporary name, synchronises and renames it.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    filled(path, |file| file.write_all(bytes))
}

/// The same without waiting for the disk, for what can be made again: a power cut may spoil it.
pub(crate) fn write_unsynchronised(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = temporary_beside(path)?;
    file.write_all(bytes)?;
    file.persist(path).map(drop).map_err(|e| e.error)
}

/// [`write()`] with the bytes of another file.
pub(crate) fn copy(from: &Path, path: &Path) -> io::Result<()> {
    filled(path, |file| io::copy(&mut File::open(from)?, file).map(drop))
}

fn filled(path: &Path, fill: impl FnOnce(&mut NamedTempFile) -> io::Result<()>) -> io::Result<()> {
    let mut file = temporary_beside(path)?;
    fill(&mut file)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    if let Ok(folder) = File::open(folder(path)) {
        // Makes the rename last through a power cut, where the system allows it.
        let _ = folder.sync_all();
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
