//! What must be removed together: groups of coupled axes and the units that they consist of, from axis maps alone.
//!
//! Three steps, none of which knows an op or an architecture:
//! - `spaces`: axes that ops map to each other one to one share an index *space*; sums and products of spaces stay as
//!   constraints. Spaces that touch what cannot change (the model's inputs and outputs, blocked atoms, sizes of the run)
//!   are barred.
//! - `cells`: an index of a space is a *cell*. Sums and picks make cells equal; a product `(a b)` says that a cell of
//!   the merged axis goes exactly when its row in `a` or its column in `b` goes.
//! - `units`: the smallest sets of cells that satisfy all constraints, found from every index of every parameter.
//!
//! `groups` puts units that share spaces together and names their kind; `cost` says what a choice of units costs.

mod cells;
mod cost;
mod disjoint;
mod frames;
mod groups;
mod kind;
mod layers;
mod reason;
mod selection;
mod spaces;
mod units;

pub use cost::{Costs, RowCosts};
pub use groups::{Barred, Coupling, Group, ParameterAxis, Unit};
pub use kind::UnitKind;
pub use layers::{Layer, LayerModel};
pub use reason::Reason;
pub use selection::{Remaining, Selection};
pub(crate) use spaces::Part;

use crate::graph::ValueId;

/// Which units are looked for where an axis is a product, as heads × head_dim and groups × channels are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Split {
    /// The outer factor where it can go: attention heads, groups of a convolution.
    #[default]
    Outer,
    /// The inner factor where it can go: a dimension of all heads, a channel of all groups.
    Inner,
}

/// How groups are looked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CouplingOptions {
    /// Which units products are split into.
    pub split: Split,
    /// The inputs and outputs of the model that shrink with the units that they carry, as cached keys and values or the states of recurrent
    /// layers do. All others keep their shape.
    pub resizable: Vec<ValueId>,
    /// Whether the model's inputs and outputs may change shape, and their indices are units like those of parameters.
    /// For tests of single ops.
    pub open: bool,
}
