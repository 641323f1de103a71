//! The user's cache: what is fetched and compiled once for all clones.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// `$XDG_CACHE_HOME/secateurs`, or `~/.cache/secateurs`; secateurs-torch looks there too.
pub fn folder() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Ok(cache.context("there is no cache folder: set HOME or XDG_CACHE_HOME")?.join("secateurs"))
}

/// Waits until no other run changes the cache; holds it until the file is dropped.
pub fn lock() -> Result<File> {
    let folder = folder()?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another run of cargo xtask …");
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

/// Makes `target` with `make`, which gets a temporary path next to it, and puts it in place only when it is complete.
pub fn whole(target: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let parent = target.parent().with_context(|| format!("{} lies in no folder", target.display()))?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    // The lock is held: no other run has the same.
    let temporary = parent.join(format!(".{name}.part"));
    remove(&temporary)?;
    let made = make(&temporary).and_then(|()| {
        remove(target)?;
        fs::rename(&temporary, target).with_context(|| format!("cannot put {} in place", target.display()))
    });
    if made.is_err() {
        // The first error is the one to tell.
        let _ = remove(&temporary);
    }
    made
}

/// Removes a file, a link or a folder; it need not exist.
pub fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

/// The SHA-256 of a file, in hexadecimal.
pub fn sha256_of(file: &Path) -> Result<String> {
    let mut reader = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = reader.read(&mut buffer).with_context(|| format!("cannot read {}", file.display()))?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}

/// The SHA-256 of a text, in hexadecimal.
pub fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fails unless the file has this SHA-256.
pub fn check(file: &Path, sha256: &str) -> Result<()> {
    let found = sha256_of(file)?;
    if found != sha256 {
        bail!(
            "{} is not the file it should be: its SHA-256 is {found}, expected {sha256}. \
             Nothing of it was used; if this repeats, a mirror delivers another file.",
            file.display()
        );
    }
    Ok(())
}
