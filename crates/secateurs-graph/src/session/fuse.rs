//! Patterns that exporters decompose and there is one kernel for: linear layers, GELU, attention, and ReLUs behind batch norms.
//!
//! Only evaluation sees them; the graph stays as it is. A value inside a pattern is not computed, so a run with taps does
//! not fuse.

use secateurs_torch::tch::Tensor;
use slotmap::SecondaryMap;

use crate::graph::{Graph, Node, NodeId, Source, Use, ValueId};
use crate::infer::Facts;
use crate::op::{Mixed, OpError};

/// Nodes that run as one kernel, in the place of the last of them.
pub(super) struct Fusion {
    /// The node whose output is the pattern's.
    pub last: NodeId,
    /// The other nodes, which do not run.
    pub absorbed: Vec<NodeId>,
    /// What the kernel reads.
    pub inputs: Vec<ValueId>,
    pub kernel: Kernel,
}

/// One kernel for a pattern.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kernel {
    /// `MatMul(x, w) + b`: inputs x [… k], w [k, n], b [n].
    Linear,
    /// `x · Φ(x)` by `Erf`: input x.
    Gelu,
    /// `softmax(scale · q kᵀ + mask) v`: inputs q, kᵀ, v and the mask if there is one.
    Attention { scale: f64 },
    /// A ReLU that this node computes along, with the node's inputs.
    Rectified(NodeId),
}

impl Kernel {
    /// How it computes where precisions are mixed.
    pub fn mixed(self) -> Mixed {
        match self {
            Kernel::Linear | Kernel::Attention { .. } => Mixed::Low,
            Kernel::Gelu | Kernel::Rectified(_) => Mixed::Follow,
        }
    }

    pub fn run(self, inputs: &[&Tensor]) -> Result<Tensor, OpError> {
        Ok(match (self, inputs) {
            (Kernel::Linear, [x, w, b]) => x.f_linear(&w.f_tr()?, Some(*b))?,
            (Kernel::Gelu, [x]) => x.f_gelu("none")?,
            (Kernel::Attention { scale }, [q, k_transposed, v, mask @ ..]) => {
                let k = k_transposed.f_transpose(-1, -2)?;
                Tensor::f_scaled_dot_product_attention(
                    q,
                    &k,
                    v,
                    mask.first().copied(),
                    0.0,
                    false,
                    scale,
                    false,
                )?
            }
            _ => return Err(OpError::invalid("a fused kernel with the wrong number of inputs")),
        })
    }
}

/// The patterns among the live nodes; no node is in two of them.
pub(super) fn find(graph: &Graph, live: &SecondaryMap<NodeId, ()>, facts: &Facts) -> Vec<Fusion> {
    let finder = Finder { graph, facts, live, uses: graph.uses() };
    let mut taken = SecondaryMap::<NodeId, ()>::new();
    let mut found = Vec::new();
    for &id in &graph.order {
        if !live.contains_key(id) {
            continue;
        }
        let fusion = match graph.nodes[id].op.name() {
            "Softmax" => finder.attention(id),
            "Erf" => finder.gelu(id),
            "Add" => finder.linear(id),
            "Relu" => finder.rectified(id),
            _ => None,
        };
        let Some(fusion) = fusion else { continue };
        let nodes = || fusion.absorbed.iter().chain([&fusion.last]);
        if nodes().all(|n| live.contains_key(*n) && !taken.contains_key(*n)) {
            for &node in nodes() {
                taken.insert(node, ());
            }
            found.push(fusion);
        }
    }
    found
}

struct Finder<'g> {
    graph: &'g Graph,
    facts: &'g Facts,
    live: &'g SecondaryMap<NodeId, ()>,
    uses: SecondaryMap<ValueId, Vec<Use>>,
}

impl Finder<'_> {
    fn node(&self, id: NodeId) -> &Node {
        &self.graph.nodes[id]
    }

    fn input(&self, id: NodeId, i: usize) -> Option<ValueId> {
        self.node(id).inputs.get(i).copied().flatten()
    }

    fn output(&self, id: NodeId) -> Option<ValueId> {
        self.node(id).outputs.first().copied().flatten()
    }

    /// The live node that makes a value, if its op is this one.
    fn producer(&self, value: ValueId, op: &str) -> Option<NodeId> {
        match self.graph.values[value].source {
            Source::Node(id, 0) if self.node(id).op.name() == op && self.live.contains_key(id) => Some(id),
            _ => None,
        }
    }

    /// The one node that reads a node's output, if nothing else does.
    fn only_reader(&self, id: NodeId) -> Option<NodeId> {
        let value = self.output(id)?;
        match &self.uses[value][..] {
            [Use { node, input: Some(_) }] if !self.graph.outputs.contains(&value) => Some(*node),
            _ => None,
        }
    }

    /// The only reader, if its op is this one.
    fn next(&self, id: NodeId, op: &str) -> Option<NodeId> {
        self.only_reader(id).filter(|&n| self.node(n).op.name() == op)
    }

    /// The number in a constant of one element.
    fn scalar(&self, value: ValueId) -> Option<f64> {
        match self.facts.get(value)?.floats()? {
            [x] => Some(*x),
            _ => None,
        }
    }

    /// The operand of a two-input node that is not `known`.
    fn other(&self, id: NodeId, known: ValueId) -> Option<ValueId> {
        match (self.input(id, 0)?, self.input(id, 1)?) {
            (a, b) if a == known => Some(b),
            (a, b) if b == known => Some(a),
            _ => None,
        }
    }

    /// A value times a constant: the value and the constant, for `Mul` by it or `Div` by its reciprocal.
    fn scaled(&self, value: ValueId) -> Option<(ValueId, f64, NodeId)> {
        if let Some(id) = self.producer(value, "Div") {
            return Some((self.input(id, 0)?, 1.0 / self.scalar(self.input(id, 1)?)?, id));
        }
        let id = self.producer(value, "Mul")?;
        let (a, b) = (self.input(id, 0)?, self.input(id, 1)?);
        match (self.scalar(a), self.scalar(b)) {
            (_, Some(c)) => Some((a, c, id)),
            (Some(c), _) => Some((b, c, id)),
            _ => None,
        }
    }

    fn linear(&self, add: NodeId) -> Option<Fusion> {
        let (a, b) = (self.input(add, 0)?, self.input(add, 1)?);
        let (matmul, bias) = match (self.producer(a, "MatMul"), self.producer(b, "MatMul")) {
            (Some(matmul), _) => (matmul, b),
            (None, Some(matmul)) => (matmul, a),
            _ => return None,
        };
        self.only_reader(matmul)?;
        let (x, w) = (self.input(matmul, 0)?, self.input(matmul, 1)?);
        let shape = |v| self.facts.get(v)?.known_shape();
        let fits = matches!((&shape(w)?[..], &shape(bias)?[..]), ([_, n], [m]) if n == m);
        (fits && shape(x)?.len() >= 2).then(|| Fusion {
            last: add,
            absorbed: vec![matmul],
            inputs: vec![x, w, bias],
            kernel: Kernel::Linear,
        })
    }

    fn rectified(&self, relu: NodeId) -> Option<Fusion> {
        let Source::Node(id, 0) = self.graph.values[self.input(relu, 0)?].source else { return None };
        let node = self.node(id);
        let inputs: Option<Vec<ValueId>> = node.inputs.iter().copied().collect();
        let fits = node.op.rectifies() && node.captures.is_empty() && self.only_reader(id)? == relu;
        fits.then_some(Fusion {
            last: relu,
            absorbed: vec![id],
            inputs: inputs?,
            kernel: Kernel::Rectified(id),
        })
    }

    /// `0.5 · x · (1 + erf(x / √2))`, multiplied in any order.
    fn gelu(&self, erf: NodeId) -> Option<Fusion> {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-4;
        let (x, scale, div) = self.scaled(self.input(erf, 0)?)?;
        if !near(scale, std::f64::consts::FRAC_1_SQRT_2) || self.only_reader(div)? != erf {
            return None;
        }
        let add = self.next(erf, "Add")?;
        if !near(self.scalar(self.other(add, self.output(erf)?)?)?, 1.0) {
            return None;
        }
        let first = self.next(add, "Mul")?;
        let factor = self.other(first, self.output(add)?)?;
        let mut absorbed = vec![div, erf, add];
        let last = match self.scaled(factor) {
            Some((half_of, half, mul))
                if half_of == x && near(half, 0.5) && self.only_reader(mul) == Some(first) =>
            {
                absorbed.push(mul);
                first
            }
            _ => {
                let second = self.next(first, "Mul")?;
                let rest = self.other(second, self.output(first)?)?;
                let is_half = |v| self.scalar(v).is_some_and(|c| near(c, 0.5));
                if !((factor == x && is_half(rest)) || (is_half(factor) && rest == x)) {
                    return None;
                }
                absorbed.push(first);
                second
            }
        };
        Some(Fusion { last, absorbed, inputs: vec![x], kernel: Kernel::Gelu })
    }

    fn attention(&self, softmax: NodeId) -> Option<Fusion> {
        let last = self.next(softmax, "MatMul")?;
        if self.input(last, 0) != self.output(softmax) {
            return None;
        }
        let rank = |v| self.facts.get(v).and_then(crate::fact::Fact::rank);
        let scores = self.input(softmax, 0)?;
        // The softmax must be over the last axis, that of the keys.
        let sizes = self.facts.get(scores)?.known_shape()?;
        let softmax_axis =
            self.node(softmax).op.attributes().into_iter().find_map(|(name, value)| match value {
                crate::attribute::Attribute::Int(axis) if name == "axis" => Some(axis),
                _ => None,
            });
        let over_keys = match softmax_axis {
            Some(axis) => axis == -1 || axis == sizes.len() as i64 - 1,
            None => self.graph.opset("") >= 13,
        };
        if !over_keys || sizes.len() != 4 {
            return None;
        }
        let mut absorbed = vec![softmax];
        let (mut product, mut mask) = (scores, None);
        if let Some(add) = self.producer(scores, "Add")
            && self.only_reader(add)? == softmax
        {
            absorbed.push(add);
            let (a, b) = (self.input(add, 0)?, self.input(add, 1)?);
            let is_product = |v| self.producer(v, "MatMul").is_some() || self.scaled(v).is_some();
            (product, mask) = if is_product(a) { (a, Some(b)) } else { (b, Some(a)) };
        }
        let mut scale = 1.0;
        if let Some((of, factor, node)) = self.scaled(product) {
            self.only_reader(node)?;
            absorbed.push(node);
            (product, scale) = (of, factor);
        }
        let matmul = self.producer(product, "MatMul")?;
        self.only_reader(matmul)?;
        absorbed.push(matmul);
        let (q, k, v) = (self.input(matmul, 0)?, self.input(matmul, 1)?, self.input(last, 1)?);
        let shape = |v| self.facts.get(v)?.known_shape();
        let (q_shape, k_shape, v_shape) = (shape(q)?, shape(k)?, shape(v)?);
        let same_batch = q_shape.get(..2)? == k_shape.get(..2)? && q_shape.get(..2)? == v_shape.get(..2)?;
        if [q, k, v].into_iter().any(|v| rank(v) != Some(4)) || !same_batch {
            return None;
        }
        if let Some(mask) = mask {
            let float = self.facts.get(mask)?.element_type == self.facts.get(q)?.element_type;
            if !float || rank(mask) != Some(4) {
                return None;
            }
        }
        let inputs = [Some(q), Some(k), Some(v), mask].into_iter().flatten().collect();
        Some(Fusion { last, absorbed, inputs, kernel: Kernel::Attention { scale } })
    }
}
