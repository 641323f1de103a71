//! Opening shared libraries. They are never closed: libtorch does not survive it.

use std::ffi::{CStr, CString, OsStr, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// An open library.
#[derive(Clone, Copy)]
pub(crate) struct Library(*mut c_void);

impl Library {
    /// Opens `name`, a path or a file name that the system looks up. Names bind at once, and stay local: what libtorch
    /// exports (protobuf among others) must not reach other libraries of the process, ONNX Runtime above all.
    pub(crate) fn open(name: &Path) -> Result<Library, String> {
        open(name, libc::RTLD_NOW | libc::RTLD_LOCAL)
    }

    /// The library, if the process has it open already.
    pub(crate) fn already_open(name: &str) -> Option<Library> {
        open(Path::new(name), libc::RTLD_NOW | libc::RTLD_NOLOAD).ok()
    }

    /// The address of a function, in this library or one that it depends on.
    pub(crate) fn symbol(self, name: &CStr) -> Option<*mut c_void> {
        let address = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        (!address.is_null()).then_some(address)
    }
}

/// The file that holds the function at `address`.
pub(crate) fn file_of(address: *const c_void) -> Option<PathBuf> {
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    let found = unsafe { libc::dladdr(address, &mut info) } != 0 && !info.dli_fname.is_null();
    found.then(|| PathBuf::from(OsStr::from_bytes(unsafe { CStr::from_ptr(info.dli_fname) }.to_bytes())))
}

fn open(name: &Path, flags: c_int) -> Result<Library, String> {
    let c_name =
        CString::new(name.as_os_str().as_bytes()).map_err(|_| "its name holds a NUL byte".to_owned())?;
    let handle = unsafe { libc::dlopen(c_name.as_ptr(), flags) };
    if !handle.is_null() {
        return Ok(Library(handle));
    }
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return Err("dlopen failed without a message".to_owned());
    }
    Err(unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned())
}
