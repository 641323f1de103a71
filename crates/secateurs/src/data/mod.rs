//! Data: samples from files in the form that a model takes.
//!
//! [`Dataset::open`] reads folders of images, NumPy archives and text files; [`Dataset::loader`] gives their
//! batches in any order, read ahead on other threads. For training, [`held_out`] sets a part aside to validate with and
//! [`Dataset::stream`] gives the batches of a [`Stream`], shuffled and changed at random by an [`Augment`].
//! [`Dataset::preview`] shows samples as the model sees them.

mod arrays;
mod augment;
mod buckets;
mod cast;
mod color;
mod dataset;
mod error;
mod hugging_face;
mod images;
mod labels;
mod loader;
mod npy;
pub mod npz;
mod options;
mod parquet;
mod preprocess;
mod preview;
mod records;
mod resize;
mod signature;
mod split;
mod stream;
#[cfg(test)]
mod tests;
mod text;
mod token_inputs;
mod transform;
mod view;

pub use augment::{Augment, ColorJitter, RandomResizedCrop};
pub(crate) use cast::from_f32;
pub use dataset::{Batch, Dataset};
pub use error::{DataError, Result};
pub(crate) use images::MAX_DEPTH;
pub use labels::{IGNORED, LabelKind, Labels};
pub(crate) use loader::drawn;
pub use loader::{Loader, shuffled};
pub use options::{DataOptions, TokenLimits};
pub use preprocess::{ChannelOrder, CropMargin, Layout, Preprocess, Preset, Resize, Size};
pub use preview::Preview;
pub use resize::Resample;
pub use signature::InputSpec;
pub use split::{Samples, held_out};
pub use stream::Stream;
#[cfg(test)]
pub(crate) use text::tests::TOKENIZER;
