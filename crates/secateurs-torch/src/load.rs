//! Loading libtorch into the process.

use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use crate::dl::{self, Library};
use crate::search::{self, Looked, Surroundings};
use crate::{TCH_VERSION, TORCH_VERSION, batch_norm, trampolines};

/// The loaded libtorch.
#[derive(Clone, Debug)]
pub struct Libtorch {
    /// The folder of `libtorch_cpu.so`.
    pub folder: PathBuf,
    /// The compiled C++ glue.
    pub shim: PathBuf,
    /// What the library states, e.g. `2.11.0`.
    pub version: String,
    /// Whether the GPU part is loaded too.
    pub cuda: Cuda,
}

/// The state of libtorch's GPU part. Whether a GPU can be used is for [`tch::Cuda::is_available`] to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cuda {
    /// `libtorch_cuda.so` is loaded.
    Loaded,
    /// This libtorch has no `libtorch_cuda.so`.
    NotInstalled,
    /// There is no NVIDIA driver (`libcuda.so.1`), so it was not tried.
    NoDriver,
    /// It is there but does not open, for this reason.
    Failed(String),
}

impl fmt::Display for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cuda::Loaded => f.write_str("libtorch's GPU part is loaded"),
            Cuda::NotInstalled => {
                f.write_str("this libtorch has no GPU part: `pip install torch==2.11.0` has one")
            }
            Cuda::NoDriver => f.write_str("there is no NVIDIA driver (libcuda.so.1)"),
            Cuda::Failed(reason) => write!(f, "libtorch's GPU part does not open: {reason}"),
        }
    }
}

/// Why libtorch could not be loaded.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// No libtorch of the right version is installed.
    #[error("no libtorch {TORCH_VERSION} was found:{}\n{REMEDY}", list(.0))]
    NotFound(Vec<Looked>),
    /// libtorch's C++ glue is not installed.
    #[error("libtorch is at {}, but the glue to it was not found:{}\n{REMEDY}", .folder.display(), list(.looked))]
    NoShim {
        /// Where libtorch is.
        folder: PathBuf,
        /// Where the glue was looked for.
        looked: Vec<Looked>,
    },
    /// A library does not open.
    #[error("{} does not open: {reason}\n{REMEDY}", .file.display())]
    Open {
        /// The library.
        file: PathBuf,
        /// The system's message.
        reason: String,
    },
    /// A library is not what its name promises.
    #[error("{} {reason}\n{REMEDY}", .file.display())]
    Unfit {
        /// The library.
        file: PathBuf,
        /// What is wrong, as the rest of a sentence.
        reason: String,
    },
}

const REMEDY: &str = "`cargo xtask setup` in the source of secateurs installs libtorch and the glue; or set SECATEURS_TORCH to a \
     folder that holds both (libtorch_cpu.so from `pip install torch==2.11.0`, and libtch-0.24.0.so).";

fn list(looked: &[Looked]) -> String {
    looked.iter().fold(String::new(), |mut text, place| {
        let _ = write!(text, "\n  {place}");
        text
    })
}

/// Loads libtorch, once per process; costs nothing when it is loaded.
///
/// Must come before the first call of [`tch`]. The outcome is kept: a later call after a failure fails in the same
/// way.
pub fn load() -> Result<&'static Libtorch, LoadError> {
    static LOADED: OnceLock<Result<Libtorch, LoadError>> = OnceLock::new();
    LOADED.get_or_init(|| load_from(&Surroundings::of_process())).as_ref().map_err(Clone::clone)
}

fn load_from(around: &Surroundings) -> Result<Libtorch, LoadError> {
    let (torch, folder) = open_libtorch(around)?;
    let version = version_of(torch, &folder.join("libtorch_cpu.so"))?;
    // Before the first call: libtorch looks once for its GPU part.
    let cuda = open_cuda(&folder);
    let file = search::shim(around).map_err(|looked| LoadError::NoShim { folder: folder.clone(), looked })?;
    let shim = open(&file)?;
    connect(shim, &file)?;
    Ok(Libtorch { folder, shim: file, version, cuda })
}

fn open(file: &Path) -> Result<Library, LoadError> {
    Library::open(file).map_err(|reason| LoadError::Open { file: file.to_owned(), reason })
}

fn open_libtorch(around: &Surroundings) -> Result<(Library, PathBuf), LoadError> {
    if let Some(torch) = Library::already_open("libtorch_cpu.so") {
        let file = torch.symbol(ABI_VERSION).and_then(|function| dl::file_of(function));
        let folder = file.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
        return Ok((torch, folder));
    }
    let folder = search::libtorch_folder(around).map_err(LoadError::NotFound)?;
    open(&folder.join("libc10.so"))?;
    Ok((open(&folder.join("libtorch_cpu.so"))?, folder))
}

const ABI_VERSION: &CStr = c"aoti_torch_abi_version";

/// What the library itself says; a folder's `version.py` may be missing.
fn version_of(torch: Library, file: &Path) -> Result<String, LoadError> {
    let unfit = |reason| LoadError::Unfit { file: file.to_owned(), reason };
    let function = torch
        .symbol(ABI_VERSION)
        .ok_or_else(|| unfit(format!("is not libtorch {TORCH_VERSION}: it states no version")))?;
    // Major, minor and patch are the highest three bytes (torch/headeronly/version.h).
    let bytes =
        unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> u64>(function)() }.to_be_bytes();
    let version = format!("{}.{}.{}", bytes[0], bytes[1], bytes[2]);
    if version != TORCH_VERSION {
        return Err(unfit(format!("is libtorch {version}, not {TORCH_VERSION}")));
    }
    Ok(version)
}

fn open_cuda(folder: &Path) -> Cuda {
    let file = folder.join("libtorch_cuda.so");
    if Library::already_open("libtorch_cuda.so").is_some() {
        return Cuda::Loaded;
    }
    if !file.is_file() {
        return Cuda::NotInstalled;
    }
    if Library::open(Path::new("libcuda.so.1")).is_err() {
        return Cuda::NoDriver;
    }
    match Library::open(&file) {
        Ok(_) => Cuda::Loaded,
        Err(reason) => Cuda::Failed(reason),
    }
}

/// torch-sys's stream functions, in the order of `Streams` in shim/shim.cpp.
#[repr(C)]
struct Streams([unsafe extern "C" fn(); 7]);

unsafe extern "C" {
    fn tch_write_stream_destructor();
    fn tch_write_stream_write();
    fn tch_read_stream_destructor();
    fn tch_read_stream_stream_position();
    fn tch_read_stream_seek_start();
    fn tch_read_stream_seek_end();
    fn tch_read_stream_read();
}

static STREAMS: Streams = Streams([
    tch_write_stream_destructor,
    tch_write_stream_write,
    tch_read_stream_destructor,
    tch_read_stream_stream_position,
    tch_read_stream_seek_start,
    tch_read_stream_seek_end,
    tch_read_stream_read,
]);

/// Checks the shim and points every function of torch-sys at its counterpart there.
fn connect(shim: Library, file: &Path) -> Result<(), LoadError> {
    let unfit = |reason| LoadError::Unfit { file: file.to_owned(), reason };
    let text = |name| {
        let function = shim.symbol(name)?;
        let text =
            unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> *const c_char>(function)() };
        Some(unsafe { CStr::from_ptr(text) }.to_string_lossy())
    };
    let built_for = (text(c"secateurs_torch_version"), text(c"secateurs_tch_version"));
    match &built_for {
        (Some(torch), Some(tch)) if torch == TORCH_VERSION && tch == TCH_VERSION => {}
        (Some(torch), Some(tch)) => {
            return Err(unfit(format!(
                "was compiled for libtorch {torch} and tch {tch}, not {TORCH_VERSION} and {TCH_VERSION}"
            )));
        }
        _ => return Err(unfit("is not the glue that secateurs needs: it states no version".into())),
    }
    let set_streams = shim
        .symbol(c"secateurs_torch_set_streams")
        .ok_or_else(|| unfit("is out of date: it takes no streams".into()))?;
    let normalize = shim
        .symbol(c"secateurs_normalize")
        .ok_or_else(|| unfit("is out of date: it lacks a batch norm".into()))?;

    let mut addresses = Vec::new();
    let mut missing = Vec::new();
    for (name, slot) in trampolines::slots() {
        let c_name = CString::new(name).expect("symbols.txt holds names");
        match shim.symbol(&c_name) {
            Some(address) => addresses.push((slot, address)),
            None => missing.push(name),
        }
    }
    if let Some(first) = missing.first() {
        return Err(unfit(format!("lacks {} functions, {first} among them", missing.len())));
    }
    unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(&Streams)>(set_streams)(&STREAMS) };
    batch_norm::NORMALIZE.store(normalize, Ordering::Relaxed);
    for (slot, address) in addresses {
        slot.store(address, Ordering::Relaxed);
    }
    Ok(())
}
