//! Where the samples of a batch lie in every value.
//!
//! Samples are the first axis of the model's inputs. From there axis maps say where they go: to another axis where an op
//! transposes, into a product with others where one merges axes (`[samples·tokens, channels]`).

#[cfg(feature = "torch")]
use secateurs_torch::tch::{TchError, Tensor};
use slotmap::SecondaryMap;

use crate::axes::{AtomId, Axis, AxisMap, Segment};
use crate::dim::Dim;
use crate::fact::Fact;
use crate::graph::{Graph, ValueId};
use crate::op::InputRole;

/// An axis whose indices are a row-major product `outer × samples × inner`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SampleAxis {
    /// The axis.
    pub axis: usize,
    /// The product of what lies outside the samples.
    pub outer: Dim,
    /// The product of what lies inside them.
    pub inner: Dim,
}

impl SampleAxis {
    pub(crate) fn whole(axis: usize) -> SampleAxis {
        SampleAxis { axis, outer: 1.into(), inner: 1.into() }
    }

    /// Whether each index of the axis is a sample.
    pub fn is_whole(&self) -> bool {
        self.outer.is(1) && self.inner.is(1)
    }

    /// The sizes of the three factors, for an axis of `size` indices and so many samples; `None` where these do not fit.
    pub fn factors(&self, size: i64, samples: i64) -> Option<[i64; 3]> {
        let rest = (samples > 0 && size % samples == 0).then(|| size / samples)?;
        let (outer, inner) = match (self.outer.known(), self.inner.known()) {
            (_, Some(inner)) => (rest.checked_div(inner)?, inner),
            (Some(outer), None) => (outer, rest.checked_div(outer)?),
            (None, None) => return None,
        };
        (outer * samples * inner == size).then_some([outer, samples, inner])
    }
}

/// The first `count` of so many samples that a tensor holds; `None` where they cannot be told apart.
#[cfg(feature = "torch")]
pub fn first_samples(
    tensor: &Tensor,
    place: Option<&SampleAxis>,
    samples: usize,
    count: usize,
) -> Result<Option<Tensor>, TchError> {
    if count == samples {
        return Ok(Some(tensor.shallow_clone()));
    }
    let Some(place) = place else { return Ok(None) };
    let Some(factors) = place.factors(tensor.size()[place.axis], samples as i64) else { return Ok(None) };
    let axis = place.axis as i64;
    let own = tensor.f_unflatten(axis, factors)?.f_narrow(axis + 1, 0, count as i64)?;
    own.f_flatten(axis, axis + 2).map(Some)
}

/// For each value the axis of the samples; none for values that have none, or in which samples cannot be told apart.
pub fn sample_axes(graph: &Graph) -> SecondaryMap<ValueId, SampleAxis> {
    let mut found = SecondaryMap::new();
    for &input in &graph.inputs {
        if graph.values[input].fact.rank() > Some(0) {
            found.insert(input, SampleAxis::whole(0));
        }
    }
    let samples = Samples::of(graph);
    for &id in &graph.order {
        let node = &graph.nodes[id];
        let outputs = graph.output_facts(node);
        let map = graph.axis_map(node);
        let atom = node.inputs.iter().enumerate().find_map(|(i, value)| {
            let place = found.get((*value)?)?;
            samples.atom(place, &map, i)
        });
        for (i, output) in node.outputs.iter().enumerate() {
            let Some(value) = *output else { continue };
            let by_map = atom.as_ref().and_then(|atom| atom.place(map.outputs.get(i)?.as_deref()?, &map));
            if let Some(axis) = by_map.or_else(|| by_size(&outputs[i], &samples)) {
                found.insert(value, axis);
            }
        }
    }
    found
}

/// The sizes that stand for how many samples there are: inputs may name their first axis apart.
pub(crate) struct Samples(Vec<Dim>);

impl Samples {
    pub fn of(graph: &Graph) -> Samples {
        let shapes = graph.inputs.iter().filter_map(|&input| graph.values[input].fact.shape.as_deref());
        let shapes: Vec<&[Dim]> = shapes.filter(|shape| !shape.is_empty()).collect();
        // Numbers tell little, and what another axis is named after are no samples.
        let is_own =
            |size: &Dim| size.known().is_none() && !shapes.iter().any(|shape| shape[1..].contains(size));
        let firsts = shapes.iter().map(|shape| &shape[0]).enumerate();
        Samples(firsts.filter(|(i, size)| *i == 0 || is_own(size)).map(|(_, size)| size.clone()).collect())
    }

    /// The atom that holds the samples of an input of a node, which lie in it at this place.
    pub fn atom(&self, place: &SampleAxis, map: &AxisMap, input: usize) -> Option<SampleAtom> {
        let [Segment::Product(atoms)] = &map.inputs.get(input)?.as_ref()?.get(place.axis)?[..] else {
            return None;
        };
        let size =
            |atoms: &[AtomId]| atoms.iter().fold(Dim::from(1), |n, atom| n * map.atoms[atom.0].size.clone());
        (0..atoms.len()).find_map(|at| {
            let outer = place.outer.divide_exactly(&size(&atoms[..at]))?;
            let inner = place.inner.divide_exactly(&size(&atoms[at + 1..]))?;
            let held = self.lie_in(&map.atoms[atoms[at].0].size, &outer, &inner);
            held.then_some(SampleAtom { atom: atoms[at], outer, inner })
        })
    }

    /// Whether so many are all samples: as many as an input has, or as inputs have that are broadcast.
    fn are(&self, size: &Dim) -> bool {
        size.maximum_of().iter().all(|size| self.0.contains(size))
    }

    /// Whether so many are `outer × samples × inner`.
    fn lie_in(&self, size: &Dim, outer: &Dim, inner: &Dim) -> bool {
        let around = outer.clone() * inner.clone();
        self.0.iter().any(|samples| *size == around.clone() * samples.clone())
            || size.divide_exactly(&around).is_some_and(|samples| self.are(&samples))
    }
}

/// The values that depend on what is fed to the graph, other than by its sizes.
pub fn fed(graph: &Graph) -> SecondaryMap<ValueId, ()> {
    let mut fed: SecondaryMap<ValueId, ()> = graph.inputs.iter().map(|&input| (input, ())).collect();
    for &id in &graph.order {
        let node = &graph.nodes[id];
        let reads = |(i, value): (usize, &Option<ValueId>)| {
            value.is_some_and(|value| fed.contains_key(value)) && node.op.role(i) != InputRole::Sizes
        };
        let captures = node.captures.iter().any(|&value| fed.contains_key(value));
        if captures || node.inputs.iter().enumerate().any(reads) {
            node.outputs.iter().flatten().for_each(|&value| {
                fed.insert(value, ());
            });
        }
    }
    fed
}

/// The atom of a node that holds the samples, and how they lie in it.
#[derive(Clone, PartialEq)]
pub(crate) struct SampleAtom {
    pub atom: AtomId,
    outer: Dim,
    inner: Dim,
}

impl SampleAtom {
    /// Where it lies in an output of these axes.
    pub fn place(&self, axes: &[Axis], map: &AxisMap) -> Option<SampleAxis> {
        axes.iter().enumerate().find_map(|(axis, segments)| {
            let [Segment::Product(atoms)] = &segments[..] else { return None };
            let at = atoms.iter().position(|atom| *atom == self.atom)?;
            let product = |start: &Dim, atoms: &[AtomId]| {
                atoms.iter().fold(start.clone(), |n, atom| n * map.atoms[atom.0].size.clone())
            };
            Some(SampleAxis {
                axis,
                outer: product(&self.outer, &atoms[..at]),
                inner: product(&self.inner, &atoms[at + 1..]),
            })
        })
    }
}

/// The only axis of as many indices as there are samples, where that number is a symbol.
fn by_size(fact: &Fact, samples: &Samples) -> Option<SampleAxis> {
    let shape = fact.shape.as_ref()?;
    let mut equal =
        (0..shape.len()).filter(|&axis| shape[axis].known().is_none() && samples.are(&shape[axis]));
    let axis = equal.next()?;
    equal.next().is_none().then(|| SampleAxis::whole(axis))
}

#[cfg(test)]
mod tests {
    use secateurs_onnx::proto::AttributeProto;
    use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

    use super::*;

    fn places(model: ModelBuilder, name: &str) -> Option<(usize, String, String)> {
        let graph = Graph::from_model(model.build().unwrap()).unwrap();
        let found = sample_axes(&graph);
        let place = found.get(graph.value_named(name).unwrap())?;
        Some((place.axis, place.outer.to_string(), place.inner.to_string()))
    }

    fn place_of(axis: usize, outer: &str, inner: &str) -> Option<(usize, String, String)> {
        Some((axis, outer.into(), inner.into()))
    }

    fn shape(values: &[i64]) -> Tensor {
        Tensor::from_slice(vec![values.len()], values).unwrap()
    }

    /// Tokens first, as `torch.nn.MultiheadAttention` has them, and merged with the samples.
    fn tokens() -> ModelBuilder {
        let perm = |perm: &[i64]| vec![AttributeProto::from_ints("perm", perm)];
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "7", "4"])
            .constant("merged", &shape(&[-1, 4]))
            .constant("heads", &shape(&[7, -1, 2]))
            .constant("w", &Tensor::from_slice(vec![4, 4], &[0.5f32; 16]).unwrap())
            .node_with("Transpose", &["x"], &["t"], perm(&[1, 0, 2]))
            .node("Reshape", &["t", "merged"], &["m"])
            .node("MatMul", &["m", "w"], &["h"])
            .node("Reshape", &["h", "heads"], &["s"])
            .node_with("Transpose", &["s"], &["y"], perm(&[1, 0, 2]))
            .output("y")
    }

    #[test]
    fn samples_are_followed_through_transposes_and_products() {
        assert_eq!(places(tokens(), "t"), place_of(1, "1", "1"));
        assert_eq!(places(tokens(), "m"), place_of(0, "7", "1"));
        assert_eq!(places(tokens(), "h"), place_of(0, "7", "1"));
        assert_eq!(places(tokens(), "s"), place_of(1, "1", "2"));
        assert_eq!(places(tokens(), "y"), place_of(0, "1", "2"));
        assert_eq!(places(tokens(), "w"), None);
    }

    #[test]
    fn samples_of_inputs_that_name_them_apart_are_followed() {
        let net = |first: &str| {
            ModelBuilder::new(17)
                .input("x", ElementType::Float32, &["batch", "tokens", "4"])
                .input("mask", ElementType::Float32, &[first, "1", "4"])
                .constant("merged", &shape(&[-1, 4]))
                .node("Add", &["mask", "x"], &["a"])
                .node("Add", &["a", "x"], &["b"])
                .node("Reshape", &["b", "merged"], &["y"])
                .output("y")
        };
        for first in ["batch", "masks"] {
            assert_eq!(places(net(first), "b"), place_of(0, "1", "1"));
            assert_eq!(places(net(first), "y"), place_of(0, "1", "tokens"));
        }
        // What another axis is named after, and numbers, are no samples.
        assert_eq!(places(net("tokens"), "b"), None);
        assert_eq!(places(net("7"), "b"), None);
    }

    #[test]
    fn factors_are_what_the_sizes_of_a_run_leave() {
        let tokens = Dim::symbol("tokens");
        let outside = SampleAxis { axis: 0, outer: tokens.clone(), inner: 2.into() };
        assert_eq!(outside.factors(3 * 5 * 2, 5), Some([3, 5, 2]));
        let inside = SampleAxis { axis: 0, outer: 1.into(), inner: tokens.clone() };
        assert_eq!(inside.factors(15, 5), Some([1, 5, 3]));
        assert_eq!(inside.factors(16, 5), None);
        assert_eq!(SampleAxis { axis: 0, outer: tokens.clone(), inner: tokens }.factors(45, 5), None);
    }
}
