//! Ops whose output channels each come from a row of a constant of their own: how an op's file tells where the rows lie, and by
//! which ops some of them can be computed instead.

use crate::op::Op;

/// Where the rows of an op lie: filters of a convolution, columns of a matrix. Row `i` of `rows` belongs to group
/// `i / (rows / groups)` and sums over the channels of that group.
#[derive(Clone, PartialEq, Debug)]
pub struct Rows {
    /// The input that flows through.
    pub data: usize,
    /// Its channel axis.
    pub data_axis: usize,
    /// The input that holds the rows.
    pub weight: usize,
    /// The weight's axis of rows.
    pub weight_axis: usize,
    /// The weight's axis of the channels of a group.
    pub channel_axis: usize,
    /// The position on each further axis of the weight that a pointwise op takes the place of, by axis.
    pub centre: Vec<(usize, usize)>,
    /// What the product is multiplied by.
    pub factor: f64,
    /// The input that is added, present or not; its last axis has the rows, or one index.
    pub bias: Option<usize>,
    /// The axis of output 0 that has an index a row.
    pub output_axis: usize,
    /// Groups of rows and channels.
    pub groups: usize,
    /// How many rows there are.
    pub rows: usize,
    /// How many channels a group has.
    pub channels: usize,
    /// How many numbers the weight has for each row and channel.
    pub taps: usize,
}

/// Which numbers of the weight for each row and channel are meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taps {
    /// All.
    All,
    /// The one that a pointwise op takes the place of: [`Rows::centre`].
    Centre,
}

/// A way to compute rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// As they are computed.
    Same,
    /// From the channels at one position, where the op looks at several.
    Pointwise,
    /// By the product of two matrices, channels → rank → rows. `own_bias`: what is added is added once, not times the op's
    /// factor.
    Factored {
        /// Whether the bias is a new one.
        own_bias: bool,
    },
}

/// The ops that compute rows. Their weights are laid out as that of the op whose rows they are, with one tap; the bias is the last
/// one's.
#[derive(Clone, Debug)]
pub struct RowOps {
    /// What is cut off the data first.
    pub crops: Vec<Crop>,
    /// One op after the other.
    pub ops: Vec<Box<dyn Op>>,
}

/// Indices cut off both ends of an axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Crop {
    /// The axis of the data.
    pub axis: usize,
    /// How many go at its start.
    pub start: i64,
    /// How many go at its end.
    pub end: i64,
}

impl RowOps {
    /// One op on the data as they are.
    pub fn one(op: impl Op) -> RowOps {
        RowOps { crops: Vec::new(), ops: vec![Box::new(op)] }
    }
}
