//! Units that are provably dead: what the masked twin would zero is zero already, or meets zeros, whatever the input.
//!
//! Which slices of values no input changes (they are *settled*) follows from axis maps and from what ops say of zeros
//! ([`Op::annihilates`](crate::op::Op::annihilates)); one run then says which of them are zero. Numbers are taken to be finite.

use std::collections::{BTreeSet, HashMap, HashSet};

use secateurs_onnx::Tensor as HostTensor;
use secateurs_torch::tch::Tensor;

use super::consumed::{UnitIndex, owners, positions};
use super::mask::holders;
use crate::axes::{AtomId, Axis, AxisMap, Role, Segment, has_atom};
use crate::coupling::Coupling;
use crate::error::GraphError;
use crate::graph::{Graph, NodeId, ValueId};
use crate::op::InputRole;
use crate::rows::Rows;
use crate::session::{Session, Walk, to_device};

impl Coupling {
    /// For each group the units whose removal changes no output, ascending, as far as that can be proven; none of inexact groups. `inputs`
    /// are those of any one run: they say at which sizes, and not which units. The session's graph is the coupling's
    /// ([`Session::as_it_is`]).
    pub fn dead(&self, session: &Session, inputs: &[HostTensor]) -> Result<Vec<Vec<usize>>, GraphError> {
        let graph = session.graph();
        let device = session.options().device;
        let tensors = inputs.iter().map(|tensor| to_device(tensor, device, session.floats()));
        let tensors: Vec<Tensor> =
            tensors.collect::<Result<_, _>>().map_err(|e| GraphError::Run(e.to_string()))?;
        let mut analysis = Analysis {
            graph,
            coupling: self,
            owners: owners(self),
            settled: graph.inputs.iter().map(|&input| (input, Slices::default())).collect(),
            alive: Vec::new(),
        };
        let mut walk = session.walk(&tensors)?;
        let mut run: HashSet<NodeId> = HashSet::new();
        while let Some(node) = walk.node() {
            run.insert(node);
            let read = analysis.read(node, &walk)?;
            analysis.consume(node, &read)?;
            let settled = analysis.made(node, &read)?;
            let outputs = walk.step(&[])?;
            for ((value, settled), tensor) in graph.nodes[node].outputs.iter().zip(settled).zip(&outputs) {
                if let Some(value) = value {
                    analysis.settled.insert(*value, Slices::new(settled, tensor)?);
                }
            }
        }
        // What is folded before a run is not looked into.
        graph.order.iter().filter(|id| !run.contains(id)).for_each(|&id| analysis.keep_consumed(id));
        analysis.keep_outputs();
        Ok(analysis.dead())
    }
}

/// A unit: its group, and its number there.
type UnitId = (usize, usize);
/// Places where something is made of a unit, each with the units that go with it.
type Readers = Vec<Vec<UnitId>>;

struct Analysis<'g> {
    graph: &'g Graph,
    coupling: &'g Coupling,
    /// The units that indices of each space go with.
    owners: HashMap<u32, Vec<UnitIndex>>,
    /// What is settled of computed values and inputs; constants are settled altogether.
    settled: HashMap<ValueId, Slices>,
    /// What keeps units alive.
    alive: Vec<Alive>,
}

/// A unit that is dead only if the ones that make something of it are: for each of these places the units that go with it.
struct Alive {
    unit: UnitId,
    read_by: Readers,
}

/// By axis which indices hold settled slices, and which of those hold zeros; no index of an axis where nothing is settled along it.
#[derive(Default)]
struct Slices {
    settled: Vec<Vec<bool>>,
    zero: Vec<Vec<bool>>,
}

impl Slices {
    fn new(settled: Vec<Vec<bool>>, tensor: &Tensor) -> Result<Slices, GraphError> {
        let own = |(k, settled): (usize, &Vec<bool>)| match settled.contains(&true) {
            true => {
                let zeros = zeros(tensor, k)?.into_iter().zip(settled);
                Ok(zeros.map(|(zero, settled)| zero && *settled).collect())
            }
            false => Ok(Vec::new()),
        };
        let zero = settled.iter().enumerate().map(own).collect::<Result<_, GraphError>>()?;
        Ok(Slices { settled, zero })
    }
}

/// What a node reads.
struct Read {
    inputs: Vec<Option<ReadInput>>,
}

struct ReadInput {
    tensor: Tensor,
    /// Whether no input of the model changes any of it.
    constant: bool,
    settled: Vec<Vec<bool>>,
    zero: Vec<Vec<bool>>,
    /// By axis and atom where each index of the atom is.
    places: Vec<HashMap<usize, Vec<Vec<usize>>>>,
}

/// Indices of atoms that part of an output has.
type Given = [(usize, usize)];

impl ReadInput {
    /// The positions of an axis that have the given indices; `None` for all, where the axis has none of their atoms.
    fn positions(&self, axis: usize, given: &Given) -> Option<Vec<usize>> {
        let mut found: Option<Vec<usize>> = None;
        for (atom, index) in given {
            let Some(of_atom) = self.places[axis].get(atom) else { continue };
            let own = of_atom.get(*index).map_or(&[][..], Vec::as_slice);
            found = Some(match found {
                None => own.to_vec(),
                Some(before) => before.into_iter().filter(|at| own.contains(at)).collect(),
            });
        }
        found
    }

    fn all(&self, flags: &[Vec<bool>], given: &Given) -> bool {
        flags.iter().enumerate().filter(|(_, own)| !own.is_empty()).any(|(axis, own)| {
            match self.positions(axis, given) {
                Some(at) => at.iter().all(|&at| own[at]),
                None => own.iter().all(|flag| *flag),
            }
        })
    }

    /// Whether all that has the given indices is settled.
    fn is_settled(&self, given: &Given) -> bool {
        self.constant || self.all(&self.settled, given)
    }

    /// Whether all that has the given indices is zero whatever the input.
    fn is_zero(&self, given: &Given) -> bool {
        self.all(&self.zero, given)
    }

    fn has_settled(&self) -> bool {
        self.settled.iter().any(|own| own.contains(&true))
    }
}

impl Analysis<'_> {
    fn read(&self, id: NodeId, walk: &Walk) -> Result<Read, GraphError> {
        let node = &self.graph.nodes[id];
        let map = &self.coupling.spaces.maps[id];
        let one = |(i, value): (usize, &Option<ValueId>)| {
            let Some((value, tensor)) = value.zip(walk.input(i)) else { return Ok(None) };
            let axes = map.inputs.get(i).and_then(Option::as_ref);
            let rank = tensor.size().len();
            let places: Vec<HashMap<usize, Vec<Vec<usize>>>> = (0..rank)
                .map(|k| {
                    axes.and_then(|axes| axes.get(k)).map_or_else(HashMap::new, |axis| places(axis, map))
                })
                .collect();
            let (constant, settled, zero) = match self.settled.get(&value) {
                Some(own) => (false, own.settled.clone(), own.zero.clone()),
                None => (true, Vec::new(), (0..rank).map(|k| zeros(tensor, k)).collect::<Result<_, _>>()?),
            };
            Ok(Some(ReadInput { tensor: tensor.shallow_clone(), constant, settled, zero, places }))
        };
        let inputs = node.inputs.iter().enumerate().map(one).collect::<Result<_, GraphError>>()?;
        Ok(Read { inputs })
    }

    /// What is settled of a node's outputs, by axis.
    fn made(&self, id: NodeId, read: &Read) -> Result<Vec<Vec<Vec<bool>>>, GraphError> {
        let node = &self.graph.nodes[id];
        let map = &self.coupling.spaces.maps[id];
        let nothing = vec![Vec::new(); node.outputs.len()];
        let annihilates = node.op.annihilates();
        let of = |i: usize| read.inputs.get(i).and_then(Option::as_ref);
        let by_zeros = annihilates
            .iter()
            .filter_map(|(a, _)| of(*a))
            .any(|input| input.zero.iter().flatten().any(|z| *z));
        if !node.captures.is_empty()
            || !(by_zeros || read.inputs.iter().flatten().any(ReadInput::has_settled))
        {
            return Ok(nothing);
        }
        let live_rows = self.live_rows(id, read)?;
        let settled = |o: usize, given: &Given, others: &[usize]| {
            let annihilated = |i: usize| {
                o == 0
                    && annihilates
                        .iter()
                        .any(|(a, b)| *b == i && of(*a).is_some_and(|input| input.is_zero(given)))
            };
            let inputs = read.inputs.iter().enumerate().filter_map(|(i, input)| Some((i, input.as_ref()?)));
            let mut inputs = inputs.filter(|(i, _)| node.op.role(*i) != InputRole::Sizes);
            inputs.all(|(i, input)| {
                // What lies in other parts of the output's axis alone.
                let elsewhere = || {
                    let axes = map.inputs.get(i).into_iter().flatten().flatten();
                    axes.filter(|axis| axis.len() == 1).any(|axis| others.iter().any(|a| has_atom(axis, *a)))
                };
                input.is_settled(given) || annihilated(i) || elsewhere()
            })
        };
        let output = |(o, axes): (usize, &Option<Vec<Axis>>)| {
            let Some(axes) = axes else { return Vec::new() };
            let one_axis = |(k, axis): (usize, &Axis)| {
                let Some(parts) = parts(axis, map) else { return Vec::new() };
                let flag = |(at, (given, others)): (usize, &PartIndex)| {
                    let given: Vec<(usize, usize)> =
                        given.iter().copied().filter(|(atom, _)| is_free(map, *atom)).collect();
                    let by_row = |rows: &LiveRows| o == 0 && rows.axis == k && rows.settled(at, read, &given);
                    settled(o, &given, others) || live_rows.as_ref().is_some_and(by_row)
                };
                parts.iter().enumerate().map(flag).collect()
            };
            axes.iter().enumerate().map(one_axis).collect()
        };
        let mut found: Vec<Vec<Vec<bool>>> = map.outputs.iter().enumerate().map(output).collect();
        found.resize_with(node.outputs.len(), Vec::new);
        Ok(found)
    }

    /// Which channels each row of a constant weight multiplies, of a node that computes its output by rows.
    fn live_rows(&self, id: NodeId, read: &Read) -> Result<Option<LiveRows>, GraphError> {
        let node = &self.graph.nodes[id];
        let facts = self.graph.input_facts(node);
        let Ok(rows) = node.op.rows(1, &node.op_inputs(&facts)) else { return Ok(None) };
        let input = |i: usize| read.inputs.get(i).and_then(Option::as_ref);
        let (Some(weight), Some(data)) = (input(rows.weight), input(rows.data)) else { return Ok(None) };
        let size = weight.tensor.size();
        let has = |axis: usize, n: usize| size.get(axis).is_some_and(|own| *own == n as i64);
        let laid_out = has(rows.weight_axis, rows.rows) && has(rows.channel_axis, rows.channels);
        if !weight.constant || !data.has_settled() || !laid_out || rows.groups == 0 {
            return Ok(None);
        }
        let live = nonzero(&weight.tensor, &[rows.weight_axis, rows.channel_axis])?;
        Ok(Some(LiveRows { axis: rows.output_axis, live, rows }))
    }

    /// What a node makes of units that it consumes.
    fn consume(&mut self, id: NodeId, read: &Read) -> Result<(), GraphError> {
        let node = &self.graph.nodes[id];
        let map = &self.coupling.spaces.maps[id];
        for (a, atom) in map.atoms.iter().enumerate() {
            if !atom.role.consumes() {
                continue;
            }
            let Some(own) = self.owners.get(&self.coupling.spaces.atom(id, a)) else { continue };
            let (constants, computed) = holders(self.graph, id, self.coupling, a);
            let input = |i: usize| read.inputs[i].as_ref();
            let is_product = node.op.affine().is_some();
            let in_output = map.outputs.iter().flatten().flatten().any(|axis| has_atom(axis, a));
            // Where the masked twin zeroes the constant, or where either operand's zeros do.
            let constant = constants.first().filter(|_| is_product || computed.is_empty() || !in_output);
            let readers = constant.and_then(|&i| Some((i, input(i)?)));
            let readers = readers.map(|(i, weight)| self.readers(id, i, a, weight)).transpose()?;
            for owner in own {
                let given = [(a, owner.index)];
                let mut zero = computed.iter().map(|&i| input(i).is_some_and(|input| input.is_zero(&given)));
                let meets_zero = match is_product {
                    true => zero.any(|zero| zero),
                    false => !computed.is_empty() && zero.all(|zero| zero),
                };
                if meets_zero {
                    continue;
                }
                let read_by = match &readers {
                    Some(readers) => readers.get(owner.index).cloned().unwrap_or_default(),
                    None => vec![Vec::new()],
                };
                if !read_by.is_empty() {
                    self.alive.push(Alive { unit: (owner.group, owner.unit), read_by });
                }
            }
        }
        Ok(())
    }

    /// Whatever a node consumes stays.
    fn keep_consumed(&mut self, id: NodeId) {
        for (a, atom) in self.coupling.spaces.maps[id].atoms.iter().enumerate() {
            if atom.role.consumes() {
                self.keep(self.coupling.spaces.atom(id, a));
            }
        }
    }

    /// What the model's outputs show stays.
    fn keep_outputs(&mut self) {
        for &output in &self.graph.outputs {
            for axis in 0..self.graph.values[output].fact.rank().unwrap_or(0) {
                if let Some(space) = self.coupling.spaces.value_axis(output, axis) {
                    self.keep(space);
                }
            }
        }
    }

    fn keep(&mut self, space: u32) {
        let own = self.owners.get(&space).into_iter().flatten();
        self.alive.extend(own.map(|o| Alive { unit: (o.group, o.unit), read_by: vec![Vec::new()] }));
    }

    /// For each index of an atom that a constant has, the places where the constant is not zero, each with the units that go with it: those
    /// of an axis of the constant that the output has too, or one place for all.
    fn readers(
        &self,
        id: NodeId,
        input: usize,
        atom: usize,
        weight: &ReadInput,
    ) -> Result<Vec<Readers>, GraphError> {
        let map = &self.coupling.spaces.maps[id];
        let axes = map.inputs[input].as_deref().unwrap_or_default();
        let Some(axis) = axes.iter().position(|axis| has_atom(axis, atom)) else { return Ok(Vec::new()) };
        let units_on = |axis: &Axis| -> HashMap<usize, Vec<UnitId>> {
            let mut found: HashMap<usize, Vec<UnitId>> = HashMap::new();
            for (b, of_atom) in places(axis, map) {
                let Some(own) = self.owners.get(&self.coupling.spaces.atom(id, b)) else { continue };
                if !is_free(map, b) {
                    continue;
                }
                for owner in own {
                    for &at in of_atom.get(owner.index).into_iter().flatten() {
                        found.entry(at).or_default().push((owner.group, owner.unit));
                    }
                }
            }
            found
        };
        let others = axes.iter().enumerate().filter(|(k, _)| *k != axis);
        let other = others.map(|(k, own)| (k, units_on(own))).find(|(_, units)| !units.is_empty());
        let places = &weight.places[axis][&atom];
        let (live, units) = match other {
            Some((k, units)) => (nonzero(&weight.tensor, &[axis, k])?, units),
            None => (
                nonzero(&weight.tensor, &[axis])?.into_iter().map(|own| vec![own[0]]).collect(),
                HashMap::new(),
            ),
        };
        let of_index = |positions: &Vec<usize>| {
            let mut at: BTreeSet<usize> = BTreeSet::new();
            for &position in positions {
                at.extend((0..live[position].len()).filter(|&other| live[position][other]));
            }
            at.into_iter().map(|other| units.get(&other).cloned().unwrap_or_default()).collect()
        };
        Ok(places.iter().map(of_index).collect())
    }

    /// The units that nothing keeps alive.
    fn dead(&self) -> Vec<Vec<usize>> {
        let groups = &self.coupling.groups;
        let mut dead: HashSet<UnitId> = HashSet::new();
        let exact = (0..groups.len()).filter(|&g| groups[g].inexact.is_none());
        let candidates: Vec<UnitId> =
            exact.flat_map(|g| (0..groups[g].units.len()).map(move |u| (g, u))).collect();
        let mut reasons: HashMap<UnitId, Vec<&Alive>> = HashMap::new();
        for alive in &self.alive {
            reasons.entry(alive.unit).or_default().push(alive);
        }
        loop {
            let goes = |unit: &UnitId| {
                let idle = |reader: &Vec<UnitId>| reader.iter().any(|unit| dead.contains(unit));
                !dead.contains(unit)
                    && reasons.get(unit).into_iter().flatten().all(|alive| alive.read_by.iter().all(idle))
            };
            let more: Vec<UnitId> = candidates.iter().copied().filter(goes).collect();
            if more.is_empty() {
                break;
            }
            dead.extend(more);
        }
        let of_group = |g: usize| (0..groups[g].units.len()).filter(|u| dead.contains(&(g, *u))).collect();
        (0..groups.len()).map(of_group).collect()
    }
}

/// Which channels the rows of a weight multiply by something.
struct LiveRows {
    /// The output's axis of rows.
    axis: usize,
    /// By row and channel of its group.
    live: Vec<Vec<bool>>,
    rows: Rows,
}

impl LiveRows {
    /// Whether a row multiplies nothing but what is settled, and what is added to it is settled.
    fn settled(&self, row: usize, read: &Read, given: &Given) -> bool {
        let rows = &self.rows;
        let Some(data) = &read.inputs[rows.data] else { return false };
        let Some(settled) = data.settled.get(rows.data_axis).filter(|own| !own.is_empty()) else {
            return false;
        };
        let first = row / (rows.rows / rows.groups).max(1) * rows.channels;
        let channel = |(channel, live): (usize, &bool)| !live || settled.get(first + channel) == Some(&true);
        let others = read.inputs.iter().enumerate().filter(|(i, _)| ![rows.data, rows.weight].contains(i));
        self.live.get(row).is_some_and(|live| live.iter().enumerate().all(channel))
            && others.filter_map(|(_, input)| input.as_ref()).all(|input| input.is_settled(given))
    }
}

/// Whether an op's output at an index depends on nothing but its inputs there.
fn is_free(map: &AxisMap, atom: usize) -> bool {
    map.atoms[atom].role == Role::Free && map.ties.iter().all(|(a, b)| a.0 != atom && b.0 != atom)
}

/// By atom of an axis where its indices are; without those of symbolic size.
fn places(axis: &Axis, map: &AxisMap) -> HashMap<usize, Vec<Vec<usize>>> {
    let own: BTreeSet<usize> = axis.iter().flat_map(Segment::atoms).map(|atom| atom.0).collect();
    own.into_iter().filter_map(|atom| Some((atom, positions(axis, map, atom).ok()?))).collect()
}

/// The indices of atoms that an index of an axis has, and the free atoms that only other parts of the axis have.
type PartIndex = (Vec<(usize, usize)>, Vec<usize>);

/// The parts of every index of an axis; `None` for an axis of symbolic size.
fn parts(axis: &Axis, map: &AxisMap) -> Option<Vec<PartIndex>> {
    let mut found = Vec::new();
    for segment in axis {
        let own = segment.atoms();
        let others = axis.iter().flat_map(Segment::atoms).filter(|atom| !own.contains(atom));
        let others: Vec<usize> = others.map(|atom| atom.0).filter(|atom| is_free(map, *atom)).collect();
        match segment {
            Segment::Product(_) => {
                let sizes: Option<Vec<usize>> =
                    own.iter().map(|atom| usize::try_from(map.atoms[atom.0].size.known()?).ok()).collect();
                let sizes = sizes?;
                for flat in 0..sizes.iter().product::<usize>() {
                    let stride = |place: usize| sizes[place + 1..].iter().product::<usize>();
                    let index =
                        |(place, atom): (usize, &AtomId)| (atom.0, flat / stride(place) % sizes[place]);
                    found.push((own.iter().enumerate().map(index).collect(), others.clone()));
                }
            }
            Segment::Pick { atom, indices } => {
                found.extend(indices.iter().map(|&index| (vec![(atom.0, index)], others.clone())));
            }
        }
    }
    Some(found)
}

/// For every index of one axis, or of two, whether the slice there has a number that is not zero; one axis gives columns of one.
fn nonzero(tensor: &Tensor, axes: &[usize]) -> Result<Vec<Vec<bool>>, GraphError> {
    let size = tensor.size();
    let (rows, columns) = (size[axes[0]], axes.get(1).map_or(1, |&k| size[k]));
    let order: Vec<i64> = axes.iter().map(|&k| k as i64).collect();
    let first: Vec<i64> = (0..axes.len() as i64).collect();
    if tensor.numel() == 0 {
        return Ok(vec![vec![false; columns as usize]; rows as usize]);
    }
    let read = || {
        // NaN is not zero.
        let flags = tensor.f_ne(0.0)?.f_movedim(&order, &first)?.f_reshape([rows, columns, -1])?;
        Vec::<bool>::try_from(flags.f_any_dim(2, false)?.f_reshape([-1])?)
    };
    let flat = read().map_err(|e| GraphError::Run(e.to_string()))?;
    Ok(flat.chunks(columns.max(1) as usize).map(<[bool]>::to_vec).collect())
}

/// For every index of an axis whether the slice there is zero.
fn zeros(tensor: &Tensor, axis: usize) -> Result<Vec<bool>, GraphError> {
    Ok(nonzero(tensor, &[axis])?.into_iter().map(|own| !own[0]).collect())
}
