//! What a choice of units costs, without building the smaller model.

use std::collections::HashSet;

use secateurs_onnx::ElementType;

use super::groups::Coupling;
use super::selection::Remaining;
use crate::dim::{Bindings, Dim};
use crate::error::GraphError;
use crate::fact::Fact;
use crate::graph::{Graph, NodeId, Source, Use, ValueId};
use crate::op::{InputRole, Inputs, Op};
use crate::shrink::{Kept, Subset};
use crate::surgery::NodeForm;

mod rows;

use rows::FormedRows;
pub use rows::RowCosts;

/// The cost of any selection of a graph's units.
#[derive(Clone)]
pub struct Costs<'g> {
    graph: &'g Graph,
    coupling: &'g Coupling,
    parameters: Vec<Parameter>,
    constants: Vec<Constant>,
    /// Nodes that compute.
    nodes: Vec<NodeId>,
    bindings: Bindings,
    /// Nodes that compute implanted units in another form.
    formed: Vec<FormedRows>,
    /// Nodes that are counted.
    counted: HashSet<NodeId>,
    /// Parameters and bytes that stay whatever goes: what subgraphs hold or alone read.
    enclosed: [usize; 2],
}

/// A parameter's sizes, and for each use the space of each axis with the edges that the parameter gets to there, maybe behind views.
#[derive(Clone)]
struct Parameter {
    sizes: Vec<usize>,
    uses: Vec<(Vec<Option<u32>>, Vec<Use>)>,
    /// Whether it still counts with a single element: a lone number among data does not.
    counts_alone: bool,
}

/// A stored constant: its sizes, and for each use that may shrink apart from others the space of each axis.
#[derive(Clone)]
struct Constant {
    element_type: ElementType,
    sizes: Vec<usize>,
    uses: Vec<Vec<Option<u32>>>,
}

impl<'g> Costs<'g> {
    /// Prepares a graph whose MACs are counted at these sizes; symbols that are not bound stay.
    pub fn new(graph: &'g Graph, coupling: &'g Coupling, bindings: &Bindings) -> Costs<'g> {
        Costs::of_parts(graph, coupling, bindings, &|_| true)
    }

    /// The same of parts of a graph: of nodes whose name, or that of a constant they read, is counted, and of constants whose name, or that
    /// of a node that computes with them, is.
    pub fn of_parts(
        graph: &'g Graph,
        coupling: &'g Coupling,
        bindings: &Bindings,
        counts: &dyn Fn(&str) -> bool,
    ) -> Costs<'g> {
        let uses = graph.uses();
        let counted: HashSet<NodeId> =
            graph.order.iter().copied().filter(|&id| counts_node(graph, id, counts)).collect();
        let counts_value = |value: ValueId| {
            let reads =
                |at: &Use| readers(graph, &uses, *at).iter().any(|at| counts(&graph.nodes[at.node].name));
            counts(&graph.values[value].name) || uses[value].iter().any(reads)
        };
        let parameters =
            graph.parameters().into_iter().filter(|p| !p.statistic && counts_value(p.value)).map(|p| {
                let shape = graph.values[p.value].fact.known_shape().unwrap_or_default();
                let sizes: Vec<usize> = shape.into_iter().map(|n| n as usize).collect();
                let of_use = |at: &Use| {
                    let (node, i) = (at.node, at.input?);
                    // Who only reads sizes makes no parameter of it.
                    if matches!(graph.nodes[node].op.role(i), InputRole::Control | InputRole::Sizes) {
                        return None;
                    }
                    let spaces = (0..sizes.len()).map(|k| coupling.spaces.axis(graph, node, i, k)).collect();
                    Some((spaces, readers(graph, &uses, *at)))
                };
                let mut found: Vec<(Vec<Option<u32>>, Vec<Use>)> = Vec::new();
                for (spaces, readers) in uses[p.value].iter().filter_map(of_use) {
                    match found.iter_mut().find(|(own, _)| *own == spaces) {
                        Some((_, own)) => own.extend(readers),
                        None => found.push((spaces, readers)),
                    }
                }
                Parameter { sizes, uses: found, counts_alone: p.counts_alone }
            });
        let nodes =
            graph.order.iter().copied().filter(|id| counted.contains(id) && !graph.macs(*id).is(0)).collect();
        let (parameters, bindings) = (parameters.collect(), bindings.clone());
        let constants = constants(graph, coupling, &counts_value);
        let enclosed = graph.enclosed().into_iter().filter(|e| counted.contains(&e.node));
        let enclosed = enclosed.fold([0, 0], |[params, bytes], e| [params + e.params, bytes + e.bytes]);
        Costs {
            graph,
            coupling,
            parameters,
            constants,
            nodes,
            bindings,
            formed: Vec::new(),
            counted,
            enclosed,
        }
    }

    /// From now on these nodes, and no others, compute the implanted units of what remains in these forms.
    pub fn set_forms(&mut self, forms: &[NodeForm]) -> Result<(), GraphError> {
        let formed = forms.iter().map(|form| FormedRows::new(self.graph, self.coupling, form));
        self.formed = formed.collect::<Result<_, _>>()?;
        Ok(())
    }

    /// What rows of a node cost in a form, at what remains.
    pub fn rows(&self, form: &NodeForm, remaining: &Remaining) -> Result<RowCosts, GraphError> {
        let formed = FormedRows::new(self.graph, self.coupling, form)?;
        Ok(formed.costs(self, remaining))
    }

    /// Parameters of the smaller model. A vector whose uses shrink apart is counted for each of them, as surgery clones it.
    pub fn params(&self, remaining: &Remaining) -> usize {
        let replaced: HashSet<Use> =
            self.formed.iter().flat_map(|formed| formed.replaced(self, remaining)).collect();
        let count = |parameter: &Parameter| {
            let mut copies = HashSet::new();
            let read =
                |readers: &[Use]| readers.is_empty() || readers.iter().any(|at| !replaced.contains(at));
            let uses = parameter.uses.iter().filter(|(_, readers)| read(readers));
            let sizes = uses.filter_map(|(spaces, _)| {
                // Units that are implanted move, which parts uses as well.
                let changed = |s: &u32| self.all(*s) != remaining.of(*s) || remaining.implanted(*s) > 0;
                let pruned: Vec<Option<u32>> = spaces.iter().map(|space| space.filter(changed)).collect();
                let sizes =
                    parameter.sizes.iter().zip(&pruned).map(|(n, s)| s.map_or(*n, |s| remaining.of(s)));
                let elements = Some(sizes.product::<usize>()).filter(|n| *n > 1 || parameter.counts_alone);
                copies.insert(pruned).then_some(elements.unwrap_or(0))
            });
            sizes.sum::<usize>()
        };
        let formed = self.formed.iter().filter(|formed| self.counted.contains(&formed.node));
        let own: usize = formed.map(|formed| formed.params(self, remaining)).sum();
        self.parameters.iter().map(count).sum::<usize>() + own + self.enclosed[0]
    }

    /// Bytes of the constants that the smaller model stores: [`Cost::bytes`](crate::cost::Cost::bytes) without building it. Numbers
    /// that surgery adds to put sizes right are not among them, nor are copies of weights of which others read rows that an implant computes.
    pub fn bytes(&self, remaining: &Remaining) -> usize {
        let count = |constant: &Constant| {
            let mut copies = HashSet::new();
            let sizes = constant.uses.iter().filter_map(|spaces| {
                let pruned = |space: &Option<u32>| space.filter(|s| self.all(*s) != remaining.of(*s));
                let pruned: Vec<Option<u32>> = spaces.iter().map(pruned).collect();
                let sizes =
                    constant.sizes.iter().zip(&pruned).map(|(n, s)| s.map_or(*n, |s| remaining.of(s)));
                let bytes = constant.element_type.byte_len(sizes.product()).unwrap_or(0);
                copies.insert(pruned).then_some(bytes)
            });
            sizes.sum::<usize>()
        };
        let whole = self.constants.iter().map(count).sum::<usize>() + self.enclosed[1];
        let formed = self.formed.iter().filter(|formed| self.counted.contains(&formed.node));
        let saved: i64 = formed.map(|formed| formed.saved_bytes(self, remaining)).sum();
        (whole as i64 - saved).max(0) as usize
    }

    /// Multiply–accumulates of the smaller model.
    pub fn macs(&self, remaining: &Remaining) -> Dim {
        let sum = self.nodes.iter().fold(Dim::from(0), |sum, id| sum + self.node_macs(*id, remaining));
        sum.bind(&self.bindings)
    }

    /// The same of one node, in the form in which it computes implanted units.
    fn node_macs(&self, id: NodeId, remaining: &Remaining) -> Dim {
        let macs = self.own_macs(id, remaining);
        match self.formed.iter().find(|formed| formed.node == id) {
            Some(formed) => formed.macs(self, remaining, macs),
            None => macs,
        }
    }

    /// The same with all rows computed by the node itself.
    fn own_macs(&self, id: NodeId, remaining: &Remaining) -> Dim {
        let node = &self.graph.nodes[id];
        let map = &self.coupling.spaces.maps[id];
        // Only sizes matter: any indices will do.
        let atoms: Vec<Option<Subset>> = (0..map.atoms.len())
            .map(|a| {
                let space = self.coupling.spaces.atom(id, a);
                let (of, kept) = (self.all(space), remaining.of(space));
                (kept != of).then(|| Subset { indices: (0..kept).collect(), of })
            })
            .collect();
        if atoms.iter().all(Option::is_none) {
            return self.graph.macs(id);
        }
        let facts = self.graph.input_facts(node);
        let outputs = self.graph.output_facts(node);
        let kept = Kept::new(map, node.op_inputs(&facts), &outputs, &atoms);
        let shrunk = node.op.shrink(&kept).unwrap_or_default();
        let small = |fact: &Fact, shape| Fact { shape, content: None, ..fact.clone() };
        let inputs: Vec<Option<Fact>> = facts
            .iter()
            .enumerate()
            .map(|(i, fact)| fact.map(|fact| small(fact, kept.input_shape(i))))
            .collect();
        let inputs: Vec<Option<&Fact>> = inputs.iter().map(Option::as_ref).collect();
        let outputs: Vec<Fact> =
            outputs.iter().enumerate().map(|(i, fact)| small(fact, kept.output_shape(i))).collect();
        let op: &dyn Op = shrunk.op.as_deref().unwrap_or(node.op.as_ref());
        op.macs(&Inputs::new(&inputs, outputs.len()), &outputs)
    }

    fn all(&self, space: u32) -> usize {
        self.coupling.spaces.spaces[space as usize].cells
    }
}

/// Whether a node's name is counted, or that of a constant that it reads, maybe through views.
fn counts_node(graph: &Graph, id: NodeId, counts: &dyn Fn(&str) -> bool) -> bool {
    let node = &graph.nodes[id];
    let of_constant = |value: &ValueId| {
        let mut value = *value;
        while let Source::Node(from, _) = graph.values[value].source
            && graph.nodes[from].op.is_view()
            && let Some(Some(next)) = graph.nodes[from].inputs.first()
        {
            value = *next;
        }
        graph.tensor(value).is_some() && counts(&graph.values[value].name)
    };
    counts(&node.name) || node.inputs.iter().flatten().any(of_constant)
}

/// The constants that nodes read or that are outputs; surgery gives uses that shrink apart copies of their own.
fn constants(graph: &Graph, coupling: &Coupling, counts: &dyn Fn(ValueId) -> bool) -> Vec<Constant> {
    let uses = graph.uses();
    let stored =
        graph.values.keys().filter(|id| graph.tensor(*id).is_some() && counts(*id)).filter_map(|id| {
            let tensor = graph.tensor(id)?;
            let rank = tensor.shape().len();
            let mut uses: Vec<Vec<Option<u32>>> = uses[id]
                .iter()
                .map(|at| {
                    let space = |k| coupling.spaces.axis(graph, at.node, at.input?, k);
                    (0..rank).map(space).collect()
                })
                .collect();
            if graph.outputs.contains(&id) {
                uses.push(vec![None; rank]);
            }
            uses.sort_unstable();
            uses.dedup();
            Some(Constant { element_type: tensor.element_type(), sizes: tensor.shape().to_vec(), uses })
        });
    stored.collect()
}

/// The edges at which a constant that is read here is computed with, behind views. A view whose result is an output of the model
/// is such an edge too.
fn readers(graph: &Graph, uses: &slotmap::SecondaryMap<ValueId, Vec<Use>>, at: Use) -> Vec<Use> {
    let node = &graph.nodes[at.node];
    let Some(Some(output)) = node.outputs.first().filter(|_| node.op.is_view() && at.input == Some(0)) else {
        return vec![at];
    };
    let mut found: Vec<Use> = uses[*output].iter().flat_map(|next| readers(graph, uses, *next)).collect();
    if graph.outputs.contains(output) {
        found.push(at);
    }
    found
}
