//! Where batch norms stood before an exporter folded them.

use slotmap::SecondaryMap;

use super::constant;
use super::fold_batch_norm::Site;
use crate::graph::{Graph, Node, NodeId, Source, Use, ValueId};
use crate::op::InputRole;
use crate::ops::{Conv, ConvTranspose, GlobalAveragePool, Mul, Pow, ReduceMean, Sqrt};

/// The outputs of convolutions that most likely had a batch norm behind them, for
/// [`insert_batch_norms`](super::insert_batch_norms), in the order in which they are made.
///
/// A folded batch norm leaves a bias behind. So these are the `Conv` and `ConvTranspose` that have a constant bias and a constant
/// weight that nothing else reads (a batch norm behind each use of a shared weight would have split it), except
///
/// - what a normalization reads: it takes the batch norm's place;
/// - heads, from which an output of the graph is reached by linear ops and a last softmax or sigmoid alone: their bias is their own,
///   and their scale must not follow the batch;
/// - what sees a single position (squeeze–excite): a batch has no statistics of space there, and such layers have biases of their
///   own. Behind ops that only reshape, the position counts as seen through them.
///
/// There are none at all in a model
///
/// - of which a convolution is followed by a batch norm that could be folded: nothing was folded, biases are the model's own. (Batch
///   norms that cannot be folded, as those behind sums in pre-activation nets, say nothing);
/// - that normalizes over layers, groups or instances, or by root mean squares, in one op or several: its convolutions (patch
///   embeddings, depthwise ones) have biases of their own, and those that had a batch norm besides cannot be told from them.
pub fn find_folded(graph: &Graph) -> Vec<ValueId> {
    let finder = Finder { graph, uses: graph.uses() };
    if finder.keeps_batch_norms() || finder.normalizes_otherwise() {
        return Vec::new();
    }
    graph.order.iter().filter_map(|&id| finder.place(id)).collect()
}

/// Normalizations that a model has in the place of batch norms.
const OTHER_NORMALIZATIONS: &[&str] = &[
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "MeanVarianceNormalization",
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
        let sites = self.graph.order.iter().filter_map(|&id| Site::find(self.graph, &self.uses, id));
        sites.map(|site| &self.graph.nodes[site.into]).any(|layer| layer.op.downcast::<Conv>().is_some())
    }

    fn normalizes_otherwise(&self) -> bool {
        self.nodes().any(|node| OTHER_NORMALIZATIONS.contains(&node.op.name()) || self.is_mean_square(node))
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
        (plain && !self.is_normalized(y) && !self.sees_one_position(x) && !self.is_head(y)).then_some(y)
    }

    fn is_normalized(&self, value: ValueId) -> bool {
        let view = |node: &Node| node.op.is_view() && node.outputs[0].is_some_and(|v| self.is_normalized(v));
        self.readers(value).any(|node| LOCAL_NORMALIZATIONS.contains(&node.op.name()) || view(node))
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
