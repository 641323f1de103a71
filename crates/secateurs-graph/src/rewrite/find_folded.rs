//! Where batch norms stood before an exporter folded them.

use slotmap::SecondaryMap;

use super::constant;
use super::fold_batch_norm::Site;
use crate::graph::{Graph, Node, NodeId, Source, Use, ValueId};
use crate::op::InputRole;
use crate::ops::{BatchNormalization, Conv, ConvTranspose, GlobalAveragePool, Mul, Pow, ReduceMean, Sqrt};

/// The outputs of convolutions that most likely had a batch norm behind them, for
/// [`insert_batch_norms`](super::insert_batch_norms), in the order in which they are made.
///
/// A folded batch norm leaves a bias behind. So these are the `Conv` and `ConvTranspose` that have a constant bias and a constant
/// weight that nothing else reads (a batch norm behind each use of a shared weight would have split it), except
///
/// - what a normalization reads, or is all that reads its activation: it takes the batch norm's place;
/// - heads, from which an output of the graph is reached by linear ops and a last softmax or sigmoid alone: their bias is their own,
///   and their scale must not follow the batch;
/// - what sees a single position (squeeze–excite): a batch has no statistics of space there, and such layers have biases of their
///   own. Behind ops that only reshape, the position counts as seen through them. A transposed convolution that makes many positions
///   of one is none of these.
///
/// There are none at all in a model
///
/// - of which a convolution is followed by a batch norm that could be folded, or a batch norm computes its statistics (a model that
///   trains, or standardizes its weights): nothing was folded, biases are the model's own. Other batch norms, as those behind sums in
///   pre-activation nets, say nothing;
/// - that normalizes over layers, groups or instances, or by root mean squares, in one op or several: its convolutions (patch
///   embeddings, depthwise ones) have biases of their own, and those that had a batch norm besides cannot be told from them. A
///   layer norm of a single position, as that of a classifier's input, does not count.
pub fn find_folded(graph: &Graph) -> Vec<ValueId> {
    let finder = Finder { graph, uses: graph.uses() };
    if finder.keeps_batch_norms() || finder.normalizes_otherwise() {
        return Vec::new();
    }
    graph.order.iter().filter_map(|&id| finder.place(id)).collect()
}

/// Normalizations over positions, which a model has in the place of batch norms.
const OTHER_NORMALIZATIONS: &[&str] =
    &["GroupNormalization", "InstanceNormalization", "MeanVarianceNormalization"];

/// Normalizations position by position.
const LAYER_NORMALIZATIONS: &[&str] = &[
    "LayerNormalization",
    "RMSNormalization",
    "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
];

/// Normalizations that only keep a batch norm from the convolution that they read.
const LOCAL_NORMALIZATIONS: &[&str] = &["BatchNormalization", "LRN", "LpNormalization"];

/// Ops through which a head stays one: linear in what flows, whatever the op's other operands are, and without weights, so that what
/// precedes them is the model's last layer. No op knows that of itself, as nothing else asks it.
const LINEAR: &[&str] = &[
    "Add",
    "AveragePool",
    "Concat",
    "DepthToSpace",
    "Dropout",
    "Expand",
    "Gather",
    "GlobalAveragePool",
    "Mean",
    "Neg",
    "Pad",
    "ReduceMean",
    "ReduceSum",
    "Resize",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Sub",
    "Sum",
    "Tile",
    "Upsample",
];

/// Activations that make probabilities and the like of what a head gives.
const SQUASHING: &[&str] = &["ArgMax", "LogSoftmax", "Sigmoid", "Softmax", "Tanh"];

struct Finder<'g> {
    graph: &'g Graph,
    uses: SecondaryMap<ValueId, Vec<Use>>,
}

impl<'g> Finder<'g> {
    fn nodes(&self) -> impl Iterator<Item = &'g Node> {
        self.graph.order.iter().map(|&id| &self.graph.nodes[id])
    }

    fn readers(&self, value: ValueId) -> impl Iterator<Item = &'g Node> {
        self.uses[value].iter().map(|at| &self.graph.nodes[at.node])
    }

    fn producer(&self, value: ValueId) -> Option<&'g Node> {
        match self.graph.values[value].source {
            Source::Node(node, _) => Some(&self.graph.nodes[node]),
            _ => None,
        }
    }

    fn keeps_batch_norms(&self) -> bool {
        let given = |v: Option<ValueId>| v.is_some_and(|v| constant(self.graph, v).is_some());
        let computes = |node: &Node| {
            let op = node.op.downcast::<BatchNormalization>();
            op.is_some_and(|op| !op.is_inference() || !node.inputs.iter().skip(3).all(|v| given(*v)))
        };
        if self.nodes().any(computes) {
            return true;
        }
        let sites = self.graph.order.iter().filter_map(|&id| Site::find(self.graph, &self.uses, id));
        sites.map(|site| &self.graph.nodes[site.into]).any(|layer| layer.op.downcast::<Conv>().is_some())
    }

    fn normalizes_otherwise(&self) -> bool {
        self.nodes().any(|node| {
            let over_layers = LAYER_NORMALIZATIONS.contains(&node.op.name()) || self.is_mean_square(node);
            OTHER_NORMALIZATIONS.contains(&node.op.name())
                || over_layers
                    && node.inputs.first().copied().flatten().is_some_and(|v| self.has_positions(v))
        })
    }

    /// Whether a value has more than a batch of vectors.
    fn has_positions(&self, value: ValueId) -> bool {
        let shape = self.graph.values[value].fact.shape.as_deref();
        shape.is_none_or(|shape| shape.iter().skip(1).filter(|dim| !dim.is(1)).count() > 1)
    }

    /// Whether a node averages squares of which the root is taken: a layer or root-mean-square norm in parts.
    fn is_mean_square(&self, node: &Node) -> bool {
        if node.op.downcast::<ReduceMean>().is_none() {
            return false;
        }
        let square = |node: &Node| {
            let squares = node.op.downcast::<Mul>().is_some() && node.inputs[0] == node.inputs[1];
            squares || node.op.downcast::<Pow>().is_some()
        };
        let squared = node.inputs[0].and_then(|v| self.producer(v)).is_some_and(square);
        // ε is added on the way.
        let behind = |value: Option<ValueId>| value.into_iter().flat_map(|v| self.readers(v));
        let rooted = |node: &Node| node.op.downcast::<Sqrt>().is_some();
        let mut readers = behind(node.outputs[0]);
        squared && readers.any(|n| rooted(n) || n.op.name() == "Add" && behind(n.outputs[0]).any(rooted))
    }

    /// The output of a convolution that had a batch norm.
    fn place(&self, id: NodeId) -> Option<ValueId> {
        let node = &self.graph.nodes[id];
        if node.op.downcast::<Conv>().is_none() && node.op.downcast::<ConvTranspose>().is_none() {
            return None;
        }
        let (Some(&Some(x)), Some(&Some(weight)), Some(&Some(bias)), &[Some(y)]) =
            (node.inputs.first(), node.inputs.get(1), node.inputs.get(2), &node.outputs[..])
        else {
            return None;
        };
        let own = self.uses[weight].len() == 1;
        let constant = |value| constant(self.graph, value).is_some();
        let plain = own && constant(weight) && constant(bias);
        let seen = if node.op.downcast::<Conv>().is_some() { x } else { y };
        (plain && !self.sees_one_position(seen) && !self.is_head(y) && !self.is_normalized(y)).then_some(y)
    }

    /// Whether a normalization reads a value, or is all that reads a function of its single elements.
    fn is_normalized(&self, value: ValueId) -> bool {
        let normalizes = |id: NodeId| LOCAL_NORMALIZATIONS.contains(&self.graph.nodes[id].op.name());
        if self.uses[value].iter().any(|at| normalizes(at.node)) {
            return true;
        }
        let shape = &self.graph.values[value].fact.shape;
        let (mut functions, mut ends) = (SecondaryMap::<ValueId, ()>::new(), Vec::new());
        functions.insert(value, ());
        for &id in &self.graph.order {
            let node = &self.graph.nodes[id];
            let mut inputs = node.inputs.iter().flatten().filter(|v| self.graph.tensor(**v).is_none());
            if !node.inputs.iter().flatten().any(|v| functions.contains_key(*v)) {
                continue;
            }
            let same = |v: &ValueId| node.op.is_view() || self.graph.values[*v].fact.shape == *shape;
            let pointwise = node.op.affine().is_none() && node.outputs.iter().flatten().all(same);
            match inputs.all(|v| functions.contains_key(*v)) && pointwise && !normalizes(id) {
                true => functions.extend(node.outputs.iter().flatten().map(|v| (*v, ()))),
                false => ends.push(id),
            }
        }
        matches!(ends[..], [end] if normalizes(end))
    }

    fn sees_one_position(&self, mut value: ValueId) -> bool {
        loop {
            let shape = self.graph.values[value].fact.shape.as_deref();
            if shape.is_some_and(|s| s.len() > 2 && s[2..].iter().all(|dim| dim.is(1))) {
                return true;
            }
            match self.producer(value) {
                Some(node) if node.op.downcast::<GlobalAveragePool>().is_some() => return true,
                Some(Node { op, inputs, .. }) if op.is_view() => match inputs[0] {
                    Some(input) => value = input,
                    None => return false,
                },
                _ => return false,
            }
        }
    }

    fn is_head(&self, value: ValueId) -> bool {
        let mut seen = SecondaryMap::<ValueId, ()>::new();
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            if seen.insert(value, ()).is_some() {
                continue;
            }
            if self.graph.outputs.contains(&value) {
                return true;
            }
            for at in &self.uses[value] {
                let node = &self.graph.nodes[at.node];
                if at.input.is_some_and(|i| node.op.role(i) == InputRole::Data) && self.passes(node) {
                    open.extend(node.outputs.iter().flatten());
                }
            }
        }
        false
    }

    fn passes(&self, node: &Node) -> bool {
        let name = node.op.name();
        let scales = || {
            matches!(name, "Mul" | "Div")
                && node.inputs.iter().flatten().any(|v| constant(self.graph, *v).is_some())
        };
        node.op.is_view() || LINEAR.contains(&name) || SQUASHING.contains(&name) || scales()
    }
}
