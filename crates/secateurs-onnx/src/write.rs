//! Writing models: whole files or none.
//!
//! A model is written under a temporary name in the folder of its destination, synchronised and renamed, so
//! that at any time the destination is the old model or the new one. With external data there are two files,
//! and no way to rename both at once. So new data never takes the name of a file that exists: it goes to the
//! first free name of `model.onnx.data`, `model.onnx.1.data`, …, and once the model is in place, the data of the
//! model that it replaced is removed.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use prost::Message;
use tempfile::NamedTempFile;

use crate::{
    Error, Model, Site, decode,
    external::{Place, map},
    for_each_tensor, for_each_tensor_mut,
    proto::{ModelProto, StringStringEntryProto, TensorProto, tensor_proto::DataLocation},
    tensor_proto::is_external,
};

/// Protobuf's own limit for a message.
const MESSAGE_LIMIT_BYTES: u64 = i32::MAX as u64;
/// Above this, weights go outside whatever the options say. Below the limit, as tools need room for changes.
const INLINE_LIMIT_BYTES: u64 = 1_900_000_000;
/// What goes outside then, the threshold of `onnx.save`.
const FORCED_THRESHOLD_BYTES: usize = 1024;
/// Tensors from this size on are aligned as the options say, as PyTorch's exporter does.
const LARGE_TENSOR_BYTES: usize = 1 << 20;
/// Smaller ones to a cache line, so that any element type is aligned in the map.
const SMALL_ALIGNMENT: u64 = 64;

/// How to write a model.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// Which weights go to a second file.
    pub external_data: ExternalData,
    /// Offsets in that file of tensors of 1 MiB and more are multiples of this many bytes.
    pub alignment: u64,
}

impl Default for WriteOptions {
    /// As in the source; aligned to 64 KiB, which suits the pages of every system and Windows' granularity for
    /// maps, and is what PyTorch's exporter does.
    fn default() -> Self {
        WriteOptions { external_data: ExternalData::AsInSource, alignment: 1 << 16 }
    }
}

/// Which initializers have their data in a second file. Above 1.9 GB, those of 1024 bytes and more always have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExternalData {
    /// Those that had when the model was read, even if their data has changed since.
    #[default]
    AsInSource,
    /// None.
    Inline,
    /// Those of at least this size, and no others.
    Always {
        /// Their size.
        threshold_bytes: usize,
    },
}

/// Writes a model to `path`, and its external data, if any, to `path` with `.data` added. The message that is
/// written equals the one that was read, except where external data lies.
pub fn write(model: &Model, path: &Path, options: &WriteOptions) -> Result<(), Error> {
    stage(model, path, options)?.commit()
}

/// A model that is written whole, but not yet under its name, so that it can be tried first. Dropped, it is gone.
#[derive(Debug)]
pub struct Staged {
    file: NamedTempFile,
    data: Unused,
    path: PathBuf,
}

/// A file of external data that has its name already, as the model must name it, and goes unless the model is put in place.
#[derive(Debug)]
struct Unused(Option<PathBuf>);

impl Drop for Unused {
    fn drop(&mut self) {
        if let Some(data) = &self.0 {
            let _ = fs::remove_file(data);
        }
    }
}

impl Staged {
    /// The file under its temporary name, in the folder of its destination.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The bytes of the model and its external data.
    pub fn size_bytes(&self) -> u64 {
        let size = |path: &Path| fs::metadata(path).map_or(0, |m| m.len());
        size(self.path()) + self.data.0.as_deref().map_or(0, size)
    }

    /// Puts the model in place.
    pub fn commit(self) -> Result<(), Error> {
        let Staged { file, mut data, path } = self;
        let folder = folder_of(&path);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let stale = stale_data(&path, folder, name);
        let io = |cause| Error::Io { action: "write", path: path.clone(), cause };
        file.persist(&path).map_err(|error| io(error.error))?;
        data.0 = None;
        sync_folder(folder);
        for stale in stale {
            // Worth no error: the model is in place, and the file only takes room.
            let _ = fs::remove_file(stale);
        }
        Ok(())
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a model as [`write()`] does, up to the last step.
pub fn stage(model: &Model, path: &Path, options: &WriteOptions) -> Result<Staged, Error> {
    let io = |action| move |cause| Error::Io { action, path: path.to_owned(), cause };
    let not_a_name =
        || io("write")(io::Error::new(io::ErrorKind::InvalidInput, "it does not end in a file name"));
    let file_name = path.file_name().and_then(|name| name.to_str()).ok_or_else(not_a_name)?;
    if path.is_dir() {
        return Err(Error::NotAFile { path: path.to_owned(), kind: "a folder" });
    }
    let folder = folder_of(path);
    if !folder.is_dir() {
        let cause = io::Error::new(io::ErrorKind::NotFound, "no such folder; make it first");
        return Err(Error::Io { action: "write into", path: folder.to_owned(), cause });
    }

    let threshold = match options.external_data {
        ExternalData::Always { threshold_bytes } => Some(threshold_bytes),
        mode if inline_bytes(model, mode) > INLINE_LIMIT_BYTES => Some(FORCED_THRESHOLD_BYTES),
        _ => None,
    };
    let goes_outside = |site: Site<'_>, tensor: &TensorProto, size_bytes: usize| match (threshold, site) {
        (Some(threshold), Site::Initializer) => size_bytes >= threshold,
        _ if options.external_data != ExternalData::AsInSource => false,
        (_, Site::Initializer) => is_outside(tensor) || model.was_external(tensor.name()),
        _ => is_outside(tensor),
    };
    let mut data = DataFile::new(folder, file_name, options.alignment)?;
    let moved = relocate(model, |site, tensor, bytes| {
        if goes_outside(site, tensor, bytes.len()) { data.push(bytes).map(Some) } else { Ok(None) }
    })?;
    let encoded = encode_message(moved.as_ref().unwrap_or(&model.proto), &path.display().to_string())?;

    let mut file = temporary(folder)?;
    file.write_all(&encoded).and_then(|()| file.as_file().sync_all()).map_err(io("write"))?;
    Ok(Staged { file, data: Unused(data.persist()?), path: path.to_owned() })
}

/// The model as one message with all data inside, for a runtime that reads from memory. Fails above 2 GB.
pub fn encode(model: &Model) -> Result<Bytes, Error> {
    let inline = relocate(model, |_, _, _| Ok(None))?;
    encode_message(inline.as_ref().unwrap_or(&model.proto), model.file()).map(Bytes::from)
}

fn encode_message(proto: &ModelProto, file: &str) -> Result<Vec<u8>, Error> {
    let size_bytes = proto.encoded_len() as u64;
    if size_bytes > MESSAGE_LIMIT_BYTES {
        return Err(Error::TooLarge {
            file: file.to_owned(),
            size_bytes,
            limit_bytes: MESSAGE_LIMIT_BYTES,
            advice: "write it to a file with external data, with weights as initializers",
        });
    }
    Ok(proto.encode_to_vec())
}

/// The size of the message, when what these options leave inside is inside.
fn inline_bytes(model: &Model, mode: ExternalData) -> u64 {
    let mut total = model.proto.encoded_len() as u64;
    for_each_tensor(&model.proto, |site, tensor| {
        let size_bytes = || model.tensor(tensor).map_or(0, |tensor| tensor.bytes().len() as u64);
        if is_outside(tensor) {
            total += if mode == ExternalData::Inline { size_bytes() } else { 0 };
        } else if mode == ExternalData::AsInSource
            && site == Site::Initializer
            && model.was_external(tensor.name())
        {
            total -= size_bytes().min(total);
        }
    });
    total
}

fn is_outside(tensor: &TensorProto) -> bool {
    is_external(tensor) == Ok(true)
}

/// The message with tensors moved: `place` gets the bytes of each numeric tensor and says where in another file
/// it put them, or `None` to have them inside. `None` when everything stays as it is.
fn relocate(
    model: &Model,
    mut place: impl FnMut(Site<'_>, &TensorProto, &Bytes) -> Result<Option<[StringStringEntryProto; 3]>, Error>,
) -> Result<Option<ModelProto>, Error> {
    // Places in the order of the walk, because the copy (which may be large, for typed fields) is only made when
    // something moves.
    let mut places = Vec::new();
    let mut result = Ok(());
    for_each_tensor(&model.proto, |site, proto| {
        let mut next = || -> Result<_, Error> {
            let tensor = model.tensor(proto)?;
            if tensor.strings().is_some() {
                return Ok(Move::Stay);
            }
            Ok(match place(site, proto, tensor.bytes())? {
                Some(entries) => Move::Outside(entries),
                None if is_outside(proto) => Move::Inside(tensor.bytes().clone()),
                None => Move::Stay,
            })
        };
        if result.is_ok() {
            match next() {
                Ok(place) => places.push(place),
                Err(error) => result = Err(error),
            }
        }
    });
    result?;
    if places.iter().all(|place| matches!(place, Move::Stay)) {
        return Ok(None);
    }
    let mut proto = model.proto.clone();
    let mut places = places.into_iter();
    for_each_tensor_mut(&mut proto, |_, tensor| match places.next() {
        Some(Move::Outside(entries)) => {
            clear_data(tensor);
            tensor.external_data = entries.into();
            tensor.data_location = Some(DataLocation::External as i32);
        }
        Some(Move::Inside(bytes)) => {
            clear_data(tensor);
            tensor.raw_data = Some(bytes);
        }
        Some(Move::Stay) | None => {}
    });
    Ok(Some(proto))
}

enum Move {
    Stay,
    Inside(Bytes),
    Outside([StringStringEntryProto; 3]),
}

fn clear_data(tensor: &mut TensorProto) {
    tensor.external_data.clear();
    tensor.data_location = None;
    tensor.raw_data = None;
    tensor.float_data = Vec::new();
    tensor.double_data = Vec::new();
    tensor.int32_data = Vec::new();
    tensor.int64_data = Vec::new();
    tensor.uint64_data = Vec::new();
}

/// The second file. It comes into being with the first tensor.
struct DataFile<'a> {
    folder: &'a Path,
    name: String,
    alignment: u64,
    file: Option<BufWriter<NamedTempFile>>,
    len: u64,
}

impl<'a> DataFile<'a> {
    fn new(folder: &'a Path, model_name: &str, alignment: u64) -> Result<Self, Error> {
        let names = (0u32..).map(|i| data_name(model_name, i));
        // Links that lead nowhere count as taken.
        let free = |name: &String| fs::symlink_metadata(folder.join(name)).is_err();
        let name = names.take(10_000).find(free).ok_or_else(|| Error::Io {
            action: "find a free name for external data in",
            path: folder.to_owned(),
            cause: io::ErrorKind::AlreadyExists.into(),
        })?;
        Ok(DataFile { folder, name, alignment: alignment.max(1), file: None, len: 0 })
    }

    /// Appends a tensor, and returns the entries that name its place.
    fn push(&mut self, bytes: &[u8]) -> Result<[StringStringEntryProto; 3], Error> {
        let alignment = if bytes.len() >= LARGE_TENSOR_BYTES { self.alignment } else { SMALL_ALIGNMENT };
        let offset = self.len.next_multiple_of(alignment);
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::with_capacity(1 << 20, temporary(self.folder)?)),
        };
        let zeros = io::copy(&mut io::Read::take(io::repeat(0), offset - self.len), file);
        zeros
            .and_then(|_| file.write_all(bytes))
            .map_err(|cause| data_error(self.folder, &self.name, cause))?;
        self.len = offset + bytes.len() as u64;
        let entry =
            |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
        Ok([
            entry("location", self.name.clone()),
            entry("offset", offset.to_string()),
            entry("length", bytes.len().to_string()),
        ])
    }

    /// Puts the file in place, if there is one, and says where.
    fn persist(self) -> Result<Option<PathBuf>, Error> {
        let Some(file) = self.file else { return Ok(None) };
        let error = |cause| data_error(self.folder, &self.name, cause);
        let file = file.into_inner().map_err(|cause| error(cause.into_error()))?;
        file.as_file().sync_all().map_err(error)?;
        let path = self.folder.join(&self.name);
        file.persist(&path).map_err(|cause| error(cause.error))?;
        Ok(Some(path))
    }
}

fn data_error(folder: &Path, name: &str, cause: io::Error) -> Error {
    Error::Io { action: "write", path: folder.join(name), cause }
}

fn data_name(model_name: &str, number: u32) -> String {
    match number {
        0 => format!("{model_name}.data"),
        n => format!("{model_name}.{n}.data"),
    }
}

/// The data files of the model at `path` that bear names of [`data_name`]. When in doubt, none.
fn stale_data(path: &Path, folder: &Path, model_name: &str) -> Vec<PathBuf> {
    let old = fs::metadata(path).is_ok_and(|metadata| metadata.is_file()).then(|| map(path));
    let Some(Ok(Ok(old))) = old.map(|bytes| bytes.map(|bytes| decode::decode(bytes, model_name))) else {
        return Vec::new();
    };
    let ours = |location: &str| {
        let middle = location.strip_prefix(model_name)?.strip_suffix(".data")?;
        let numbered = || middle.strip_prefix('.').is_some_and(|number| number.parse::<u32>().is_ok());
        (middle.is_empty() || numbered()).then(|| folder.join(location))
    };
    let mut stale = Vec::new();
    for_each_tensor(&old, |_, tensor| {
        if is_outside(tensor)
            && let Ok(place) = Place::of(tensor)
        {
            stale.extend(ours(place.location));
        }
    });
    stale.sort();
    stale.dedup();
    stale
}

/// A temporary file next to the destination, with the permissions of any new file.
fn temporary(folder: &Path) -> Result<NamedTempFile, Error> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".secateurs-").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder).map_err(|cause| Error::Io {
        action: "make a file in",
        path: folder.to_owned(),
        cause,
    })
}

/// Makes the renames last through a power cut, where the system allows it.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}
