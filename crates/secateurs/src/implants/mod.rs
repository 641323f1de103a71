//! Implants: what their forms can make of what rows make, and the weights that they start from.
//!
//! Both follow from second moments, streamed over samples of the original model, of what a layer reads at the positions that an implant
//! looks at and of what it makes. A pointwise convolution gets the least-squares fit of its rows with an intercept; a pair of low rank
//! the best approximation of that rank to its rows' fit under the moments of what they read (reduced-rank regression, Izenman 1975).
//!
//! HAP (Yu, Yao, Gholami et al. 2022, section 3.3) calls the implant optimal and lets training fill it from zero.

mod explain;
mod settings;
mod site;
mod start;
#[cfg(test)]
mod tests;

pub(crate) use explain::explain;
pub use explain::{Explained, ExplainedForm};
pub use settings::{ImplantSettings, ImplantShare, ImplantStart};
pub(crate) use site::Stream;
pub(crate) use start::Starts;
