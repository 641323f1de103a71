//! Exact surgery: the smaller model, and its twin of the original shape in which the removed units are zeroed where they are
//! consumed. Both are a [`Patch`](crate::patch::Patch), found from the coupling alone.

mod choice;
pub(crate) mod constants;
mod consumed;
mod controls;
#[cfg(feature = "torch")]
mod dead;
mod equivalent;
mod implant;
mod made;
mod mask;
mod numbers;
mod origins;
mod permute;
mod place;
mod ports;
mod refit;
mod remove;
mod sites;
mod weights;

pub use choice::{Carried, Choice, Computed, NodeForm, Request};
pub use consumed::{Consumed, UnitIndex};
pub use equivalent::{Equivalent, equivalent};
pub use implant::{Form, Implant, Implanted, RowPart, Start, implant, offers};
pub use made::Made;
pub use origins::UnitNumber;
pub use permute::Permuted;
pub(crate) use place::{Place, RowBias};
pub use ports::Ports;
pub use refit::{Refit, Shift};
pub use sites::Site;
pub use weights::Kept;
