//! Groups: units that share spaces, with the parameters that they are made of.

use std::collections::{HashMap, HashSet};

use super::CouplingOptions;
use super::cells::Cells;
use super::disjoint::DisjointSets;
use super::kind::{Features, UnitKind};
use super::reason::Reason;
use super::selection::Selection;
use super::spaces::Spaces;
use super::units::Search;
use crate::graph::{Graph, NodeId, ValueId};
use crate::op::InputRole;
use crate::ops::DequantizeLinear;
use crate::shrink::Subset;

/// The groups of a graph, and what cannot be pruned.
pub struct Coupling {
    /// The groups, in the order in which their first parameters are used.
    pub groups: Vec<Group>,
    /// Axes of parameters, of two indices or more, of which no unit takes anything.
    pub barred: Vec<Barred>,
    pub(crate) spaces: Spaces,
}

/// Units of one kind on the same axes.
#[derive(Clone, Debug)]
pub struct Group {
    /// What a unit is.
    pub kind: UnitKind,
    /// The units, in the order of their indices on the first parameter's axis.
    pub units: Vec<Unit>,
    /// The axes of parameters that lose indices with a unit, in the order of first use.
    pub parameters: Vec<ParameterAxis>,
    /// Why the smaller model differs from the original with the units zeroed, if it does.
    pub inexact: Option<Reason>,
}

/// An axis of a parameter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ParameterAxis {
    /// The parameter.
    pub value: ValueId,
    /// Its axis.
    pub axis: usize,
    /// Whether the parameter's layer makes the unit here, as the rows of a weight; false where it consumes it.
    pub made: bool,
    pub(crate) space: u32,
}

/// The smallest part of a group that can go.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The indices that go, ascending, by space.
    pub(crate) indices: Vec<(u32, Vec<usize>)>,
}

impl Group {
    /// The parameters that units are made of, running statistics left out: those in which they are made, or where there is none all that they
    /// are part of.
    pub fn made_of(&self, statistics: &HashSet<ValueId>) -> Vec<&ParameterAxis> {
        let weights = || self.parameters.iter().filter(|p| !statistics.contains(&p.value));
        let made: Vec<&ParameterAxis> = weights().filter(|p| p.made).collect();
        if made.is_empty() { weights().collect() } else { made }
    }
}

impl Unit {
    /// The indices of a parameter's axis that go with the unit, ascending.
    pub fn indices(&self, parameter: &ParameterAxis) -> &[usize] {
        self.of(parameter.space)
    }

    pub(crate) fn of(&self, space: u32) -> &[usize] {
        match self.indices.binary_search_by_key(&space, |(s, _)| *s) {
            Ok(at) => &self.indices[at].1,
            Err(_) => &[],
        }
    }
}

/// An axis of a parameter that cannot be pruned.
#[derive(Clone, Debug)]
pub struct Barred {
    /// The parameter.
    pub value: ValueId,
    /// Its axis.
    pub axis: usize,
    /// Why.
    pub reason: Reason,
}

impl Graph {
    /// The groups of coupled axes.
    pub fn coupling(&self, options: &CouplingOptions) -> Coupling {
        Coupling::new(self, options)
    }
}

/// A place where units are looked for: an axis of a parameter, or of an input where the model is open.
#[derive(Clone, Copy)]
struct Seed {
    value: ValueId,
    axis: usize,
    space: u32,
}

impl Coupling {
    fn new(graph: &Graph, options: &CouplingOptions) -> Coupling {
        let spaces = Spaces::new(graph, options);
        let features = Features::new(graph, &spaces);
        let seeds = seeds(graph, &spaces, options);
        let preferred = features.unit_like();
        let mut cells = Cells::new(&spaces);
        // What can go exactly goes first; what is left may mix. Of what goes exactly, the factors that the split wants go first, wherever
        // the others have parameters of their own, as frequencies of rotary embeddings belong to dimensions of heads.
        let mut exact = cells.clone();
        exact.bar_inexact();
        let mut wanted = exact.clone();
        let mut owned = vec![false; cells.root.len()];
        let mut found = Vec::new();
        if wanted.bar_other_split(&preferred, options.split) {
            let search = Search::new(&mut wanted, &spaces, &preferred, options.split, owned);
            owned = take(search, &seeds, &mut found);
        }
        owned = take(Search::new(&mut exact, &spaces, &preferred, options.split, owned), &seeds, &mut found);
        sort(&mut found, &cells, &seeds);
        let exact = found.len();
        take(Search::new(&mut cells, &spaces, &preferred, options.split, owned), &seeds, &mut found);
        let groups = group(&spaces, &cells, &features, &seeds, found, exact);
        let mut barred = barred(&spaces, &cells, &seeds, &groups);
        barred.extend(integers(graph, &spaces, &groups));
        Coupling { groups, barred, spaces }
    }

    /// The indices of an axis of a value that are left when only `selection` stays; `None` where all are.
    pub fn kept_indices(&self, selection: &Selection, value: ValueId, axis: usize) -> Option<Vec<usize>> {
        let space = self.spaces.value_axis(value, axis)?;
        self.kept(selection)[space as usize].as_ref().map(|subset| subset.indices.to_vec())
    }

    /// What goes when only `selection` stays: for each space the kept indices, `None` where all stay.
    pub(crate) fn kept(&self, selection: &Selection) -> Vec<Option<Subset>> {
        let mut removed: HashMap<u32, Vec<bool>> = HashMap::new();
        for (group, kept) in self.groups.iter().zip(&selection.kept) {
            for (i, unit) in group.units.iter().enumerate() {
                if kept.binary_search(&i).is_ok() {
                    continue;
                }
                for (space, indices) in &unit.indices {
                    let cells = self.spaces.spaces[*space as usize].cells;
                    let gone = removed.entry(*space).or_insert_with(|| vec![false; cells]);
                    indices.iter().for_each(|&i| gone[i] = true);
                }
            }
        }
        let mut kept = vec![None; self.spaces.spaces.len()];
        for (space, gone) in removed {
            let indices: Vec<usize> = (0..gone.len()).filter(|&i| !gone[i]).collect();
            kept[space as usize] = Some(Subset { indices: indices.into(), of: gone.len() });
        }
        kept
    }
}

impl Coupling {
    /// For each atom of a node the kept indices, `None` where all stay.
    pub(crate) fn atoms_kept(&self, kept: &[Option<Subset>], node: NodeId) -> Vec<Option<Subset>> {
        let atoms = 0..self.spaces.maps[node].atoms.len();
        atoms.map(|atom| kept[self.spaces.atom(node, atom) as usize].clone()).collect()
    }
}

fn seeds(graph: &Graph, spaces: &Spaces, options: &CouplingOptions) -> Vec<Seed> {
    let mut seeds = Vec::new();
    let uses = graph.uses();
    let mut add = |value: ValueId, axis: usize, space: Option<u32>| {
        if let Some(space) = space {
            seeds.push(Seed { value, axis, space });
        }
    };
    let shape = |value: ValueId| graph.values[value].fact.known_shape().unwrap_or_default();
    for parameter in graph.parameters() {
        for (axis, _) in shape(parameter.value).into_iter().enumerate().filter(|(_, n)| *n > 1) {
            for at in &uses[parameter.value] {
                let Some(input) = at.input else { continue };
                add(parameter.value, axis, spaces.axis(graph, at.node, input, axis));
            }
        }
    }
    if options.open {
        for &value in graph.inputs.iter().chain(&graph.outputs) {
            for axis in 0..graph.values[value].fact.rank().unwrap_or(0) {
                add(value, axis, spaces.value_axis(value, axis));
            }
        }
    }
    let mut seen = HashSet::new();
    seeds.retain(|seed| seen.insert((seed.value, seed.axis, seed.space)));
    seeds
}

/// Finds the units of all seeds; returns the classes that belong to units.
fn take(mut search: Search, seeds: &[Seed], found: &mut Vec<Vec<u32>>) -> Vec<bool> {
    for seed in seeds {
        for cell in search.cells_of(seed.space) {
            found.extend(search.unit(cell));
        }
    }
    search.into_owned()
}

/// Puts units into the order of the first parameters that they are part of, and of their indices there.
fn sort(found: &mut [Vec<u32>], cells: &Cells, seeds: &[Seed]) {
    let mut first: HashMap<u32, usize> = HashMap::new();
    for (number, seed) in seeds.iter().enumerate() {
        first.entry(seed.space).or_insert(number);
    }
    found.sort_by_cached_key(|unit| {
        let place = |cell: &u32| Some((*first.get(&cells.space_of[*cell as usize])?, *cell));
        unit.iter().filter_map(place).min()
    });
}

/// Puts units that share a space into one group. Sums and products of spaces do not count: in a concatenation the parts are
/// groups of their own.
fn group(
    spaces: &Spaces,
    cells: &Cells,
    features: &Features,
    seeds: &[Seed],
    found: Vec<Vec<u32>>,
    exact: usize,
) -> Vec<Group> {
    let mut composite = vec![false; spaces.spaces.len()];
    for c in &spaces.composites {
        composite[c.total as usize] = true;
    }
    let units: Vec<Unit> = found.iter().map(|unit| by_space(cells, unit)).collect();
    let mut joined = DisjointSets::new(units.len());
    let mut first: HashMap<(u32, bool), usize> = HashMap::new();
    for (i, unit) in units.iter().enumerate() {
        let simple: Vec<u32> =
            unit.indices.iter().map(|(s, _)| *s).filter(|s| !composite[*s as usize]).collect();
        let all = || unit.indices.iter().map(|(s, _)| *s).collect();
        for space in if simple.is_empty() { all() } else { simple } {
            let other = *first.entry((space, i < exact)).or_insert(i);
            joined.union(i as u32, other as u32);
        }
    }
    let mut seeds_in: HashMap<u32, Vec<usize>> = HashMap::new();
    for (i, seed) in seeds.iter().enumerate() {
        seeds_in.entry(seed.space).or_default().push(i);
    }
    // Units are found in the order of parameters, and so are groups.
    let mut sets: Vec<Vec<usize>> = Vec::new();
    let mut set_of: HashMap<u32, usize> = HashMap::new();
    for i in 0..units.len() {
        let set = *set_of.entry(joined.find(i as u32)).or_insert_with(|| {
            sets.push(Vec::new());
            sets.len() - 1
        });
        sets[set].push(i);
    }
    let mut units: Vec<Option<Unit>> = units.into_iter().map(Some).collect();
    let groups = sets.into_iter().filter_map(|set| {
        let inexact = set.iter().find_map(|&i| {
            let reason = |cell: &u32| cells.inexact[cells.root[*cell as usize] as usize];
            found[i].iter().find_map(reason).map(|r| cells.reasons[r as usize].clone())
        });
        let units: Vec<Unit> = set.iter().filter_map(|&i| units[i].take()).collect();
        let mut touched: Vec<u32> = units.iter().flat_map(|u| u.indices.iter().map(|(s, _)| *s)).collect();
        touched.sort_unstable();
        touched.dedup();
        if !features.takes_part(&touched) {
            return None;
        }
        let mut own: Vec<usize> = touched.iter().filter_map(|s| seeds_in.get(s)).flatten().copied().collect();
        own.sort_unstable();
        let parameter = |&i: &usize| {
            let Seed { value, axis, space } = seeds[i];
            ParameterAxis { value, axis, made: features.makes(value, axis), space }
        };
        let parameters = own.iter().map(parameter).collect();
        Some(Group { kind: features.kind(&touched), units, parameters, inexact })
    });
    groups.collect()
}

fn by_space(cells: &Cells, unit: &[u32]) -> Unit {
    let mut indices: Vec<(u32, Vec<usize>)> = Vec::new();
    for &cell in unit {
        let space = cells.space_of[cell as usize];
        match indices.last_mut() {
            Some((last, own)) if *last == space => own.push(cells.index(cell)),
            _ => indices.push((space, vec![cells.index(cell)])),
        }
    }
    Unit { indices }
}

/// The axes of quantized weights that go with no parameter of floats: units are found by these.
fn integers(graph: &Graph, spaces: &Spaces, groups: &[Group]) -> Vec<Barred> {
    let units = groups.iter().flat_map(|group| &group.units);
    let taken: HashSet<u32> = units.flat_map(|unit| unit.indices.iter().map(|(space, _)| *space)).collect();
    let mut seen = HashSet::new();
    let mut barred = Vec::new();
    for &id in &graph.order {
        let node = &graph.nodes[id];
        for (input, value) in node.inputs.iter().enumerate() {
            let dequantized = input == 0 && node.op.downcast::<DequantizeLinear>().is_some();
            let weight = dequantized || node.op.role(input) == InputRole::Parameter;
            let Some(value) = value.filter(|_| weight) else { continue };
            let Some(tensor) = graph.tensor(value).filter(|tensor| tensor.element_type().is_integer()) else {
                continue;
            };
            for axis in (0..tensor.shape().len()).filter(|&axis| tensor.shape()[axis] > 1) {
                let space = spaces.axis(graph, id, input, axis);
                if space.is_none_or(|space| !taken.contains(&space)) && seen.insert((value, axis)) {
                    barred.push(Barred { value, axis, reason: Reason::Integers });
                }
            }
        }
    }
    barred
}

fn barred(spaces: &Spaces, cells: &Cells, seeds: &[Seed], groups: &[Group]) -> Vec<Barred> {
    let taken: HashSet<(ValueId, usize)> =
        groups.iter().flat_map(|g| &g.parameters).map(|p| (p.value, p.axis)).collect();
    let mut barred: Vec<Barred> = Vec::new();
    for seed in seeds {
        let known = barred.last().is_some_and(|b| b.value == seed.value && b.axis == seed.axis);
        if known || taken.contains(&(seed.value, seed.axis)) {
            continue;
        }
        let reason = spaces.spaces[seed.space as usize].barred.clone().or_else(|| {
            let root = cells.root[cells.cell(seed.space, 0)? as usize] as usize;
            cells.barred[root].map(|r| cells.reasons[r as usize].clone())
        });
        barred.push(Barred {
            value: seed.value,
            axis: seed.axis,
            reason: reason.unwrap_or(Reason::Constants),
        });
    }
    barred
}
