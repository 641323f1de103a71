//! The trait that every op implements, and what it is given.
//!
//! An op is one file in [`crate::ops`]: a struct with its attributes; what comes out ([`Op::infer`]); how its axes depend
//! on each other ([`Op::axes`]) and what becomes of it when indices go ([`Op::shrink`]); what it costs ([`Op::macs`]); how
//! it runs (`Op::eval`); and its test cases.

use std::any::Any;
use std::fmt;

use secateurs_onnx::{ElementType, Tensor};
#[cfg(feature = "torch")]
use secateurs_torch::tch;

use crate::attribute::{Attribute, Attributes};
use crate::axes::AxisMap;
use crate::dim::Dim;
use crate::fact::{DisplayShape, Fact, Shape};
use crate::rows::{RowOps, Rows, Way};
use crate::shrink::{Kept, Shrunk};

/// An operation with its attributes.
pub trait Op: Any + fmt::Debug + Send + Sync + CloneOp {
    /// The ONNX op type, such as `Conv`.
    fn name(&self) -> &str;

    /// The ONNX domain; empty for the standard ops.
    fn domain(&self) -> &str {
        ""
    }

    /// The attributes as the file has them, defaults left out where the file may leave them out.
    fn attributes(&self) -> Vec<(&str, Attribute)>;

    /// Element types, shapes and, for small integers, contents of the outputs.
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>, OpError>;

    /// How the axes of inputs and outputs depend on each other. Never a guess: what is not understood is
    /// [`Role::Blocked`](crate::axes::Role::Blocked) with its reason.
    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap;

    /// How attributes and control inputs change when indices of atoms go (every role but
    /// [`Role::Blocked`](crate::axes::Role::Blocked) can). The default is not at all.
    fn shrink(&self, _kept: &Kept) -> Result<Shrunk, OpError> {
        Ok(Shrunk::default())
    }

    /// Multiply–accumulate operations of one run.
    fn macs(&self, _inputs: &Inputs, _outputs: &[Fact]) -> Dim {
        Dim::from(0)
    }

    /// What the op uses an input for.
    fn role(&self, _input: usize) -> InputRole {
        InputRole::Data
    }

    /// How the op computes where a session mixes precisions. Views follow their input, others compute in full unless they say
    /// otherwise.
    fn mixed(&self) -> Mixed {
        if self.is_view() { Mixed::Follow } else { Mixed::Full }
    }

    /// That the op multiplies its inputs 0 and 1 and adds a bias, if it does nothing else.
    fn affine(&self) -> Option<Affine> {
        None
    }

    /// Pairs of inputs `(a, b)` of which the first, where it is zero, leaves nothing of the second: both operands of a product, the scale of
    /// a norm and its data. It is said of output 0. Numbers are taken to be finite.
    fn annihilates(&self) -> &'static [(usize, usize)] {
        if self.affine().is_some() { PRODUCT } else { &[] }
    }

    /// Whether indices that the op mixes ([`Role::Mixed`](crate::axes::Role::Mixed)) count by their place, as neighbours do.
    fn is_ordered(&self) -> bool {
        false
    }

    /// Where the rows of the op lie, if each index of an output axis comes from a row of its own in input `weight`; why not, if not.
    fn rows(&self, _weight: usize, _inputs: &Inputs) -> Result<Rows, &'static str> {
        Err("it does not compute its channels by rows of a weight")
    }

    /// The ops that compute rows of so many groups in this way; why there are none, if there are none. Asked only of ops that have
    /// [`Op::rows`].
    fn rows_by(&self, _way: Way, _groups: usize, _inputs: &Inputs) -> Result<RowOps, &'static str> {
        Err("it does not compute its channels by rows of a weight")
    }

    /// What a constant at an input starts training from.
    fn initial(&self, _input: usize, _inputs: &Inputs) -> Initial {
        Initial::Keep
    }

    /// Whether evaluation can cut off what it computes at 0, in the place of a ReLU that alone reads it.
    fn rectifies(&self) -> bool {
        false
    }

    /// The axis of output 0, which has this rank, that its channels lie along.
    fn channel_axis(&self, rank: usize) -> usize {
        rank.saturating_sub(1)
    }

    /// Whether 2-d convolutions of this op run faster with the channels innermost in memory.
    fn prefers_channels_last(&self) -> bool {
        false
    }

    /// The axis that the op looks up indices on, if it does nothing else.
    fn table(&self, _inputs: &Inputs) -> Option<Table> {
        None
    }

    /// Whether the output holds the elements of input 0 under another shape, layout or type and nothing else.
    fn is_view(&self) -> bool {
        false
    }

    /// The tensor that the op holds, if it is a constant.
    fn constant(&self) -> Option<&Tensor> {
        None
    }

    /// `[groups, positions, channels · taps]`, taps innermost: what the [`rows`](Op::rows) of each group, which `w` holds, multiply at
    /// every position of the output, from the data `x`.
    #[cfg(feature = "torch")]
    fn patches(
        &self,
        rows: &Rows,
        _taps: crate::rows::Taps,
        x: &tch::Tensor,
        _w: &tch::Tensor,
    ) -> Result<tch::Tensor, OpError> {
        let x = x.f_movedim_int(rows.data_axis as i64, -1)?;
        let (groups, channels) = (rows.groups as i64, rows.channels as i64);
        Ok(x.f_reshape([-1, groups, channels])?.f_transpose(0, 1)?)
    }

    /// The outputs for these inputs.
    #[cfg(feature = "torch")]
    fn eval(&self, args: &Args) -> Result<Vec<tch::Tensor>, OpError>;
}

/// What [`Op::annihilates`] says of a product of inputs 0 and 1.
pub const PRODUCT: &[(usize, usize)] = &[(0, 1), (1, 0)];
/// What [`Op::annihilates`] says of data 0 that are scaled by input 1, whatever else is done with them.
pub const SCALED: &[(usize, usize)] = &[(1, 0)];

/// What an op uses an input for: decides what counts as a parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InputRole {
    /// A value, as the operands of an addition; a constant there is a parameter if it has more than one element.
    Data,
    /// A weight; a constant there is a parameter, however small.
    Parameter,
    /// A running statistic, stored but not trained.
    Statistic,
    /// Sizes, indices, thresholds and the like.
    Control,
    /// A tensor of which only the sizes or the type are read.
    Sizes,
}

/// How an op computes in a session of mixed precision (bfloat16 beside 32 bits), as PyTorch's autocast has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mixed {
    /// In the low precision: matrix products and convolutions.
    Low,
    /// As [`Low`](Mixed::Low), but in 32 bits where the last axis of input 0 has a single index: what sums over nothing gains no speed, and
    /// rounding hurts where positions are multiplied by the frequencies of rotary embeddings.
    Product,
    /// In whatever comes; where inputs differ, in the higher precision.
    Follow,
    /// In 32 bits.
    Full,
}

/// What a run does differently while a model is trained.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct TrainingMode {
    /// `BatchNormalization` normalises by the batch and moves its running statistics towards those of the batch.
    pub batch_statistics: bool,
    /// How far they move, from 0 to 1; as the node says (1 − ONNX's momentum) where it is left out.
    pub statistics_rate: Option<f64>,
    /// `Dropout` drops, by libtorch's generator.
    pub dropout: bool,
}

/// An op that is linear in input 0 and in input 1, and adds a multiple of another input: a convolution, a matrix product.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Affine {
    /// The input that is added, present or not; `None` if the op has no such input.
    pub bias: Option<usize>,
    /// What the op multiplies it by.
    pub bias_factor: f64,
}

/// A table that an op looks up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Table {
    /// The input that holds the indices.
    pub indices: usize,
    /// The length of the axis that they are on, where it is known.
    pub rows: Option<i64>,
}

/// What a parameter starts training from.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Initial {
    /// What it is: no trained parameter, or one that nothing is known of.
    Keep,
    /// This number everywhere.
    Constant(f64),
    /// Independent normal numbers of mean 0.
    Normal {
        /// Their standard deviation.
        std: f64,
    },
    /// Independent uniform numbers in ±bound.
    Uniform {
        /// The largest of them.
        bound: f64,
    },
}

impl Initial {
    /// Embeddings, as BERT (Devlin et al. 2018) and GPT-2 (Radford et al. 2019) draw them.
    pub const EMBEDDING: Initial = Initial::Normal { std: 0.02 };

    /// Normal numbers that keep the variance of what flows through a layer and a ReLU behind it: std = √(2 / fan) (He, Zhang,
    /// Ren and Sun 2015). [`Initial::Keep`] where the fan is not known.
    pub fn he(fan: &Dim) -> Initial {
        match fan.known() {
            Some(fan @ 1..) => Initial::Normal { std: (2.0 / fan as f64).sqrt() },
            _ => Initial::Keep,
        }
    }
}

/// An op that [`crate::ops`] can construct from a node.
pub trait Register: Op + Sized {
    /// The ONNX op type.
    const NAME: &'static str;
    /// The ONNX domain.
    const DOMAIN: &'static str = "";
    /// The opset versions in which its definition changed.
    const SINCE: &'static [i64];

    /// Reads the attributes of a node.
    fn parse(attributes: &mut Attributes, cx: &ParseContext) -> Result<Self, OpError>;

    /// Calls to try the op with, for the common test harness.
    #[cfg(any(test, feature = "harness"))]
    fn cases() -> Vec<crate::harness::Case>;
}

/// What an op's `parse` is told besides the attributes.
#[derive(Clone, Copy, Debug)]
pub struct ParseContext {
    /// The opset version of the op's domain that the model imports.
    pub opset: i64,
    /// How many inputs the node lists, trailing absent ones included.
    pub inputs: usize,
    /// How many outputs the node lists.
    pub outputs: usize,
}

/// Why an op could not be read, inferred or run.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// The model breaks the op's definition.
    #[error("{0}")]
    Invalid(String),
    /// The model is right and we lack something.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// Shapes cannot be told before the model runs; not a fault.
    #[error("the shape is not known before the model runs")]
    Undetermined,
    /// libtorch refused.
    #[cfg(feature = "torch")]
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

impl OpError {
    /// An [`OpError::Invalid`].
    pub fn invalid(text: impl Into<String>) -> OpError {
        OpError::Invalid(text.into())
    }

    /// What inference says where evaluation says this: shapes behind a call that we cannot run are not known, and the model around it is
    /// as good as any.
    pub fn in_inference(self) -> OpError {
        match self {
            OpError::Unsupported(_) => OpError::Undetermined,
            other => other,
        }
    }
}

/// The inputs of an op during inference.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// One fact an input; `None` where an optional input is absent.
    pub facts: &'a [Option<&'a Fact>],
    /// How many outputs the node lists.
    pub outputs: usize,
    /// The outer values that the node's subgraphs read, by name.
    pub captures: &'a [(&'a str, &'a Fact)],
}

impl<'a> Inputs<'a> {
    /// The inputs of a node without subgraphs.
    pub fn new(facts: &'a [Option<&'a Fact>], outputs: usize) -> Inputs<'a> {
        Inputs { facts, outputs, captures: &[] }
    }

    /// How many inputs are listed.
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Whether no input is listed.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// An optional input.
    pub fn get(&self, i: usize) -> Option<&'a Fact> {
        self.facts.get(i).copied().flatten()
    }

    /// A required input.
    pub fn fact(&self, i: usize) -> Result<&'a Fact, OpError> {
        self.get(i).ok_or_else(|| OpError::Invalid(format!("input {i} is missing")))
    }

    /// The shape of a required input; [`OpError::Undetermined`] where it is unknown.
    pub fn shape(&self, i: usize) -> Result<&'a [Dim], OpError> {
        self.fact(i)?.shape.as_deref().ok_or(OpError::Undetermined)
    }

    /// The element type of a required input.
    pub fn element_type(&self, i: usize) -> Result<Option<ElementType>, OpError> {
        Ok(self.fact(i)?.element_type)
    }

    /// The known integers of a required input (axes, sizes, indices); [`OpError::Undetermined`] where they are unknown.
    pub fn ints(&self, i: usize) -> Result<Vec<i64>, OpError> {
        self.fact(i)?.known_ints().ok_or(OpError::Undetermined)
    }

    /// The integers of a required input, possibly symbolic.
    pub fn dims(&self, i: usize) -> Result<&'a [Dim], OpError> {
        self.fact(i)?.ints().ok_or(OpError::Undetermined)
    }
}

/// Checks an axis counted from either end: in `-rank..rank`, returned in `0..rank`.
pub fn normalize_axis(axis: i64, rank: usize) -> Result<usize, OpError> {
    let signed = rank as i64;
    if axis < -signed || axis >= signed {
        return Err(OpError::Invalid(format!("axis {axis} is out of range for {rank} axes")));
    }
    Ok(if axis < 0 { axis + signed } else { axis } as usize)
}

/// Checks several axes and sorts them; a repeated axis is an error.
pub fn normalize_axes(axes: &[i64], rank: usize) -> Result<Vec<usize>, OpError> {
    let mut normal: Vec<usize> = axes.iter().map(|&a| normalize_axis(a, rank)).collect::<Result<_, _>>()?;
    normal.sort_unstable();
    match normal.windows(2).find(|w| w[0] == w[1]) {
        Some(w) => Err(OpError::Invalid(format!("axis {} is named twice", w[0]))),
        None => Ok(normal),
    }
}

/// The common shape that `shapes` broadcast to (ONNX multidirectional broadcasting).
pub fn broadcast(shapes: &[&[Dim]]) -> Result<Shape, OpError> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut out = vec![Dim::from(1); rank];
    for shape in shapes {
        let skipped = rank - shape.len();
        for (o, dim) in out[skipped..].iter_mut().zip(*shape) {
            *o = match (o.known(), dim.known()) {
                (Some(1), _) => dim.clone(),
                (_, Some(1)) => continue,
                (Some(a), Some(b)) if a != b => {
                    let all: Vec<String> = shapes.iter().map(|s| DisplayShape(s).to_string()).collect();
                    return Err(OpError::Invalid(format!("shapes {} do not broadcast", all.join(" and "))));
                }
                // A size that is not 1 decides over a symbol, which can only be 1 or the same.
                (Some(_), _) => continue,
                (_, Some(_)) => dim.clone(),
                _ => o.max_with(dim),
            };
        }
    }
    Ok(out)
}

/// Whether an output other than the first is wanted: a node may list it without a name, and then nothing is known of it.
pub fn is_wanted(outputs: &[Fact], output: usize) -> bool {
    outputs.get(output).is_some_and(|fact| *fact != Fact::unknown())
}

/// Checks that two sizes can be equal: they are unless both are numbers that differ.
pub fn expect_same(a: &Dim, b: &Dim, what: &str) -> Result<(), OpError> {
    match (a.known(), b.known()) {
        (Some(x), Some(y)) if x != y => Err(OpError::Invalid(format!("{what}: {x} and {y} differ"))),
        _ => Ok(()),
    }
}

/// The inputs of an op during evaluation, with the facts at the shapes of this run (no symbols left).
#[cfg(feature = "torch")]
pub struct Args<'a> {
    /// One tensor an input; `None` where an optional input is absent.
    pub tensors: &'a [Option<&'a tch::Tensor>],
    /// What inference says of the inputs at these shapes.
    pub inputs: Inputs<'a>,
    /// What inference says of the outputs.
    pub outputs: &'a [Fact],
    /// Where the session runs.
    pub device: tch::Device,
    /// The kinds that floats are computed in.
    pub floats: crate::session::Floats,
    /// What is different while training.
    pub training: TrainingMode,
    /// Whether what is computed is cut off at 0; only where [`Op::rectifies`].
    pub rectified: bool,
    /// The outer values that the node's subgraphs read, by name.
    pub captures: &'a [(&'a str, &'a tch::Tensor)],
    /// What runs subgraphs.
    pub bodies: &'a crate::session::Bodies,
}

#[cfg(feature = "torch")]
impl<'a> Args<'a> {
    /// An optional input.
    pub fn get(&self, i: usize) -> Option<&'a tch::Tensor> {
        self.tensors.get(i).copied().flatten()
    }

    /// The same run with other inputs, for an op that works by another one.
    pub fn with<'b>(&self, tensors: &'b [Option<&'b tch::Tensor>], inputs: Inputs<'b>) -> Args<'b>
    where
        'a: 'b,
    {
        Args { tensors, inputs, ..*self }
    }

    /// A required input.
    pub fn tensor(&self, i: usize) -> Result<&'a tch::Tensor, OpError> {
        self.get(i).ok_or_else(|| OpError::Invalid(format!("input {i} is missing")))
    }

    /// Integers of a required input: from inference where it knows them, else read from the tensor.
    pub fn ints(&self, i: usize) -> Result<Vec<i64>, OpError> {
        if let Some(known) = self.inputs.get(i).and_then(Fact::known_ints) {
            return Ok(known);
        }
        let flat = self.tensor(i)?.f_to_kind(tch::Kind::Int64)?.f_reshape([-1])?;
        Ok(Vec::<i64>::try_from(flat)?)
    }

    /// Numbers of a required input: from inference where it knows them, else read from the tensor.
    pub fn floats(&self, i: usize) -> Result<Vec<f64>, OpError> {
        if let Some(known) = self.inputs.get(i).and_then(Fact::floats) {
            return Ok(known.to_vec());
        }
        let flat = self.tensor(i)?.f_to_kind(tch::Kind::Double)?.f_reshape([-1])?;
        Ok(Vec::<f64>::try_from(flat)?)
    }

    /// The libtorch kind that a session computes this element type in.
    pub fn kind(&self, element_type: ElementType) -> Result<tch::Kind, OpError> {
        match crate::session::kind_of(element_type) {
            Some(kind) => Ok(self.floats.kind(kind)),
            None => Err(OpError::Unsupported(format!("evaluation of {element_type} tensors"))),
        }
    }

    /// The shape that inference gives output `i`, as numbers.
    pub fn output_shape(&self, i: usize) -> Option<Vec<i64>> {
        self.outputs.get(i)?.known_shape()
    }
}

/// Cloning of boxed ops; implemented for every `Clone` op.
pub trait CloneOp {
    /// A boxed copy.
    fn clone_op(&self) -> Box<dyn Op>;
}

impl<T: Op + Clone> CloneOp for T {
    fn clone_op(&self) -> Box<dyn Op> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Op> {
    fn clone(&self) -> Self {
        (**self).clone_op()
    }
}

impl dyn Op {
    /// This op as a `T`, if it is one.
    pub fn downcast<T: Op>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// What an op's file needs.
pub(crate) mod prelude {
    #[cfg(feature = "torch")]
    pub(crate) use super::Args;
    pub(crate) use super::{
        Affine, Initial, InputRole, Inputs, Mixed, Op, OpError, ParseContext, Register, SCALED, Table,
        broadcast, expect_same, is_wanted, normalize_axes, normalize_axis,
    };
    pub(crate) use crate::attribute::{Attribute, Attributes};
    pub(crate) use crate::axes::{Axis, AxisMap, Role, Segment, product, unit_axis};
    pub(crate) use crate::dim::{Dim, element_count};
    pub(crate) use crate::fact::{Content, Fact, Shape};
    #[cfg(any(test, feature = "harness"))]
    pub(crate) use crate::harness::Case;
    #[cfg(feature = "torch")]
    pub(crate) use crate::rows::Taps;
    pub(crate) use crate::rows::{RowOps, Rows, Way};
    pub(crate) use crate::shrink::{Kept, Shrunk, ShrunkInput};
    pub(crate) use secateurs_onnx::ElementType;
    #[cfg(feature = "torch")]
    pub(crate) use secateurs_torch::tch::{Kind, Tensor};
}
