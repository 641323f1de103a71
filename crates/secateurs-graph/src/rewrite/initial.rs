//! All parameters as they are before training.

use slotmap::SecondaryMap;

use super::{is_trainable, numbers};
use crate::error::GraphError;
use crate::fact::Fact;
use crate::graph::{Graph, Node, Source, Use, ValueId};
use crate::op::{Initial, InputRole};
use crate::patch::Patch;
use crate::surgery::constants::floats;

/// What random numbers are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Law {
    /// Normal, of mean 0 and standard deviation 1.
    Normal,
    /// Uniform in −1..1.
    Uniform,
}

/// What a parameter was given.
#[derive(Clone, PartialEq, Debug)]
pub struct Started {
    /// The constant.
    pub value: ValueId,
    /// Its name.
    pub name: String,
    /// What it holds now; [`Initial::Keep`] if it was left as it was.
    pub initial: Initial,
}

/// Gives all parameters and running statistics what they start training from, and says of each what that was, in the order of
/// [`Graph::parameters`].
///
/// The op that computes with a parameter knows what that is ([`Op::initial`](crate::op::Op::initial)), also behind ops that move its
/// elements or, as weight standardization does, compute a weight of as many elements from it. Operands of sums and products, of which the op
/// knows nothing, are looked at in their place:
///
/// - a vector added to a linear layer, or to a normalization times a vector, is a bias: 0;
/// - a vector that multiplies a normalization (in one op or in several) is its scale: 1;
/// - a table that is added, as positions are, or resized, and tokens that are joined or repeated start as embeddings do.
///
/// Embeddings, tables and tokens are kept where they look computed and not trained: masks, ramps, sinusoids. So is all else: scales of
/// layers, learned temperatures, constants of formulas.
///
/// `random(i, law, n)` must give `n` independent numbers for parameter `i`.
pub fn reinitialize(
    graph: &mut Graph,
    random: &mut dyn FnMut(u64, Law, usize) -> Vec<f64>,
) -> Result<Vec<Started>, GraphError> {
    let places = Places { graph, uses: graph.uses(), fixed: fixed(graph) };
    let (mut patch, mut started) = (Patch::new(), Vec::new());
    for (i, parameter) in graph.parameters().iter().enumerate() {
        let value = parameter.value;
        let mut initial = places.initial(value)?;
        let Some(tensor) = graph.tensor(value) else { continue };
        if !is_trainable(tensor.element_type()) {
            initial = Initial::Keep;
        }
        let n = tensor.len();
        let mut draw = |law, scale: f64| random(i as u64, law, n).into_iter().map(|x| x * scale).collect();
        let elements: Option<Vec<f64>> = match initial {
            Initial::Keep => None,
            Initial::Constant(number) => Some(vec![number; n]),
            Initial::Normal { std } => Some(draw(Law::Normal, std)),
            Initial::Uniform { bound } => Some(draw(Law::Uniform, bound)),
        };
        if let Some(elements) = elements {
            patch.set_tensor(value, floats(tensor.element_type(), tensor.shape().to_vec(), &elements)?);
        }
        started.push(Started { value, name: graph.values[value].name.clone(), initial });
    }
    patch.apply(graph)?;
    Ok(started)
}

/// Ops whose output holds elements of their data inputs and nothing else, besides [views](crate::op::Op::is_view).
const MOVING: &[&str] = &["Concat", "Expand", "Gather", "GatherND", "Slice", "Split", "Tile"];

/// The values that depend on constants and known sizes alone.
fn fixed(graph: &Graph) -> SecondaryMap<ValueId, ()> {
    let known = |v: ValueId| graph.values[v].fact.known_ints().is_some();
    let constants = graph.values.keys().filter(|&v| graph.tensor(v).is_some() || known(v));
    let mut fixed: SecondaryMap<ValueId, ()> = constants.map(|v| (v, ())).collect();
    for node in graph.order.iter().map(|&id| &graph.nodes[id]) {
        let mut inputs = node.inputs.iter().flatten().chain(&node.captures);
        if inputs.all(|v| fixed.contains_key(*v)) {
            fixed.extend(node.outputs.iter().flatten().map(|v| (*v, ())));
        }
    }
    fixed
}

/// The graph, and what the places at which its parameters are read tell of them.
struct Places<'g> {
    graph: &'g Graph,
    uses: SecondaryMap<ValueId, Vec<Use>>,
    fixed: SecondaryMap<ValueId, ()>,
}

impl<'g> Places<'g> {
    /// What the first reader says that says anything.
    fn initial(&self, value: ValueId) -> Result<Initial, GraphError> {
        let Some(tensor) = self.graph.tensor(value) else { return Ok(Initial::Keep) };
        let mut initial = Initial::Keep;
        // Values computed from this one, and whether they hold its elements, unchanged.
        let mut open = vec![(value, true)];
        let mut seen = SecondaryMap::<ValueId, ()>::new();
        while let Some((at, moved)) = open.pop() {
            if initial != Initial::Keep {
                break;
            }
            if seen.insert(at, ()).is_some() {
                continue;
            }
            for reader in &self.uses[at] {
                let node = &self.graph.nodes[reader.node];
                let Some(input) = reader.input else { continue };
                if node.outputs.iter().flatten().any(|v| self.fixed.contains_key(*v)) {
                    let moves = node.op.is_view() || MOVING.contains(&node.op.name());
                    let moved = moved && moves && node.op.role(input) == InputRole::Data;
                    open.extend(node.outputs.iter().flatten().map(|v| (*v, moved)));
                } else if initial == Initial::Keep {
                    let matrix = !is_vector(&self.graph.values[value].fact);
                    let weight = node.op.role(input) == InputRole::Parameter && matrix;
                    let complete = element_count(&self.graph.values[at].fact) == Some(tensor.len());
                    if moved || (weight && complete) {
                        initial = self.said_by(node, input, at);
                    }
                }
            }
        }
        let computed = initial == Initial::EMBEDDING && looks_computed(tensor.shape(), &numbers(tensor)?);
        Ok(if computed { Initial::Keep } else { initial })
    }

    /// What a node says of a constant that it reads.
    fn said_by(&self, node: &Node, input: usize, value: ValueId) -> Initial {
        let said = node.op.initial(input, &node.op_inputs(&self.graph.input_facts(node)));
        if said != Initial::Keep || node.op.role(input) != InputRole::Data {
            return said;
        }
        let fact = &self.graph.values[value].fact;
        let vector = is_vector(fact);
        let other = node.inputs.iter().flatten().find(|v| **v != value).copied();
        match (node.op.name(), other) {
            ("Add", Some(other)) if vector && (self.is_product(other) || self.is_scaled_norm(other)) => {
                Initial::Constant(0.0)
            }
            ("Mul", Some(other)) if vector && self.is_norm(other) => Initial::Constant(1.0),
            ("Add", _) if !vector => Initial::EMBEDDING,
            ("Concat" | "Expand" | "GatherND" | "Resize" | "Tile", _) if fact.rank() >= Some(2) => {
                Initial::EMBEDDING
            }
            _ => Initial::Keep,
        }
    }

    /// The node that makes a value, behind views.
    fn maker(&self, mut value: ValueId) -> Option<&'g Node> {
        loop {
            let Source::Node(id, _) = self.graph.values[value].source else { return None };
            let node = &self.graph.nodes[id];
            if !node.op.is_view() {
                return Some(node);
            }
            value = node.inputs.first().copied().flatten()?;
        }
    }

    fn input(&self, node: &Node, i: usize) -> Option<&'g Node> {
        self.maker(node.inputs.get(i).copied().flatten()?)
    }

    /// Whether a value is a linear layer: a product with a weight.
    fn is_product(&self, value: ValueId) -> bool {
        let Some(node) = self.maker(value) else { return false };
        let facts = self.graph.input_facts(node);
        let is_weight = |(i, value): (usize, &Option<ValueId>)| {
            value.is_some_and(|v| self.fixed.contains_key(v))
                && node.op.role(i) == InputRole::Parameter
                && matches!(node.op.initial(i, &node.op_inputs(&facts)), Initial::Normal { .. })
        };
        node.inputs.iter().enumerate().any(is_weight)
    }

    /// Whether a value is divided by a root, as layer and root-mean-square norms divide in several ops, or comes from an op that
    /// normalizes.
    fn is_norm(&self, value: ValueId) -> bool {
        let Some(node) = self.maker(value) else { return false };
        let is_root = |i: usize| {
            let Some(node) = self.input(node, i) else { return false };
            match node.op.name() {
                "Sqrt" => true,
                "Add" | "Clip" | "Max" | "Reciprocal" | "Div" => {
                    (0..node.inputs.len()).any(|i| self.input(node, i).is_some_and(|n| n.op.name() == "Sqrt"))
                }
                _ => false,
            }
        };
        match node.op.name() {
            "Div" => is_root(1),
            "Mul" => is_root(0) || is_root(1),
            name => name.ends_with("Normalization"),
        }
    }

    /// Whether a value is a normalization times a constant.
    fn is_scaled_norm(&self, value: ValueId) -> bool {
        let Some(node) = self.maker(value).filter(|node| node.op.name() == "Mul") else { return false };
        let operands: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
        operands.iter().any(|v| self.fixed.contains_key(*v)) && operands.iter().any(|v| self.is_norm(*v))
    }
}

fn element_count(fact: &Fact) -> Option<usize> {
    fact.known_shape()?.iter().map(|&n| usize::try_from(n).ok()).product()
}

/// Whether one axis at most has several indices.
fn is_vector(fact: &Fact) -> bool {
    fact.shape.as_ref().is_some_and(|shape| shape.iter().filter(|dim| !dim.is(1)).count() <= 1)
}

/// Whether numbers are a mask (huge ones, or two at most), or a ramp or sinusoid along an axis: there x(t − 1) + x(t + 1) is a multiple
/// of x(t) in every line.
fn looks_computed(shape: &[usize], numbers: &[f64]) -> bool {
    const HUGE: f64 = 1e3;
    let Some(&first) = numbers.first() else { return true };
    let second = numbers.iter().find(|x| **x != first).copied().unwrap_or(first);
    let huge = |x: &f64| x.is_nan() || x.abs() > HUGE;
    if numbers.iter().any(huge) || numbers.iter().all(|x| *x == first || *x == second) {
        return true;
    }
    lines(shape, numbers)
        .any(|mut lines| lines.all(|line| recurrence_error(&line) <= 1e-5 * square_sum(&line, 0.0)))
}

/// Whether numbers change along an axis as a formula has it and no training: in every line a ramp, a sinusoid or a geometric sequence, or
/// the same number all over, but not in all. Numbers as near to one another as those of norms are, whose changes are noise, are no sequence.
pub fn is_sequence(shape: &[usize], numbers: &[f64]) -> bool {
    lines(shape, numbers).any(|mut lines| {
        let mut changes = false;
        lines.all(|line| {
            let own = square_sum(&line, line.iter().sum::<f64>() / line.len() as f64);
            // Numbers of 32 bits are rounded.
            let rounding = 1e-12 * square_sum(&line, 0.0);
            changes |= own > rounding;
            recurrence_error(&line) <= 1e-5 * own + rounding
        }) && changes
    })
}

/// The squared error of the best x(t − 1) + x(t + 1) = c · x(t).
fn recurrence_error(line: &[f64]) -> f64 {
    let sum = |f: &dyn Fn(&[f64]) -> f64| line.windows(3).map(f).sum::<f64>();
    let (cross, square) = (sum(&|w| (w[0] + w[2]) * w[1]), sum(&|w| w[1] * w[1]));
    let factor = if square > 0.0 { cross / square } else { 0.0 };
    sum(&|w| (w[0] + w[2] - factor * w[1]).powi(2))
}

fn square_sum(line: &[f64], center: f64) -> f64 {
    line.iter().map(|x| (x - center).powi(2)).sum()
}

/// For each axis that is long enough to tell, the lines along it.
fn lines<'a>(
    shape: &'a [usize],
    numbers: &'a [f64],
) -> impl Iterator<Item = impl Iterator<Item = Vec<f64>> + 'a> + 'a {
    const SHORTEST: usize = 6;
    (0..shape.len()).filter(|&axis| shape[axis] >= SHORTEST).map(move |axis| {
        let stride: usize = shape[axis + 1..].iter().product();
        let starts = (0..numbers.len()).filter(move |i| (i / stride).is_multiple_of(shape[axis]));
        starts.map(move |at| (0..shape[axis]).map(|i| numbers[at + i * stride]).collect())
    })
}
