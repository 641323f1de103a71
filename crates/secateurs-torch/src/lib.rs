//! libtorch for secateurs, found and loaded at run time on first use.
//!
//! [`tch`] calls about 2,800 C functions. Linked the usual way they would pull 450 MB of libtorch into every
//! start of the program (0.27 s), also where no tensor is touched. This crate defines all of them as one-instruction jumps
//! through a table that [`load`] fills in, so that a program starts in a millisecond, builds without libtorch and a
//! C++ compiler, and can say what to do where libtorch is missing.
//!
//! ```no_run
//! use secateurs_torch::tch::{Device, Kind, Tensor};
//!
//! secateurs_torch::load()?;
//! let ones = Tensor::f_ones([2, 3], (Kind::Float, Device::Cpu))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A call of [`tch`] before [`load`] ends the program with a message.
//!
//! Where libtorch is looked for, in this order ([`search`]):
//! 1. a process that has libtorch loaded already (a Python module after `import torch`) uses that one;
//! 2. the folder named by `SECATEURS_TORCH`; nothing else is tried where it is set;
//! 3. the folder named by `LIBTORCH`;
//! 4. next to the executable: `libtorch/` and `../lib/secateurs/`;
//! 5. the user's cache, `$XDG_CACHE_HOME/secateurs/torch-2.11.0/` (where `cargo xtask setup` puts it);
//! 6. the active Python's torch.

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!(
    "secateurs-torch reaches libtorch through jumps written for Linux on x86_64 and aarch64; to port it, \
     add the instruction to build.rs and the file names to src/search.rs"
);

mod batch_norm;
mod dl;
mod load;
mod memory;
pub mod search;
mod trampolines;

pub use batch_norm::batch_norm;
pub use load::{Cuda, Libtorch, LoadError, load};
pub use memory::keep_freed_memory;
pub use tch;

/// The version of libtorch that secateurs works with.
pub const TORCH_VERSION: &str = "2.11.0";

/// The version of tch whose C++ glue must be in `libtch-0.24.0.so`.
pub const TCH_VERSION: &str = "0.24.0";
