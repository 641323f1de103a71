//! Data: samples from files in the form that a model takes.
//!
//! [`Dataset::open`] reads folders of images, NumPy archives and text files; [`Dataset::loader`] gives their
//! batches in any order, read ahead on other threads.

mod arrays;
mod cast;
mod dataset;
mod error;
mod hugging_face;
mod images;
mod labels;
mod loader;
mod npy;
pub mod npz;
mod options;
mod preprocess;
mod records;
mod resize;
mod signature;
#[cfg(test)]
mod tests;
mod text;
mod transform;

pub(crate) use cast::from_f32;
pub use dataset::{Batch, Dataset};
pub use error::{DataError, Result};
pub use loader::{Loader, shuffled};
pub use options::DataOptions;
pub use preprocess::{ChannelOrder, Layout, Preprocess, Preset, Resize, Size};
pub use resize::Resample;
pub use signature::InputSpec;
