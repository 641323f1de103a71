//! Graphs inside attributes: branches of `If`, bodies of `Loop` and `Scan`.

use std::fmt;
use std::sync::Arc;

use secateurs_onnx::Model;
use secateurs_onnx::proto::{AttributeProto, ValueInfoProto};
use slotmap::SecondaryMap;

use crate::dim::Dim;
use crate::fact::Fact;
use crate::graph::{Graph, ValueId};
use crate::infer::Facts;
use crate::load::captured_names;
use crate::op::{Inputs, OpError};

/// A graph in an attribute. What it reads from outside becomes inputs behind its own.
#[derive(Clone)]
pub struct Subgraph {
    proto: Arc<AttributeProto>,
    captures: Arc<[String]>,
    /// Why it cannot be read, where it cannot: its node is carried through and cannot run.
    graph: Result<Arc<Graph>, Arc<str>>,
}

impl PartialEq for Subgraph {
    fn eq(&self, other: &Subgraph) -> bool {
        self.proto == other.proto
    }
}

impl fmt::Debug for Subgraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.proto.g.fmt(f)
    }
}

impl Subgraph {
    /// The subgraph of an attribute of this model.
    pub fn read(model: &Model, proto: &AttributeProto) -> Subgraph {
        let captures: Arc<[String]> = captured_names(std::slice::from_ref(proto)).into();
        let mut graph = proto.g.clone().unwrap_or_default();
        let outer =
            captures.iter().map(|name| ValueInfoProto { name: Some(name.clone()), ..Default::default() });
        graph.input.extend(outer);
        let graph = Graph::from_model(model.with_graph(graph));
        let graph = graph.map(Arc::new).map_err(|e| e.to_string().into());
        Subgraph { proto: Arc::new(proto.clone()), captures, graph }
    }

    /// As the file has it.
    pub fn to_proto(&self, name: &str) -> AttributeProto {
        AttributeProto { name: Some(name.into()), ..(*self.proto).clone() }
    }

    /// The graph.
    pub fn graph(&self) -> Result<&Arc<Graph>, OpError> {
        let fail = |e: &Arc<str>| OpError::Unsupported(format!("a subgraph that cannot be read: {e}"));
        self.graph.as_ref().map_err(fail)
    }

    /// How many inputs it has of its own.
    pub fn inputs(&self) -> usize {
        self.graph.as_ref().map_or(0, |graph| graph.inputs.len().saturating_sub(self.captures.len()))
    }

    /// What it says of its own outputs, given facts of its own inputs. What does not fit is no fault here: a branch may be one
    /// that is never taken.
    pub fn infer(&self, own: &[Fact], outside: &Inputs) -> Vec<Fact> {
        let Ok(graph) = &self.graph else { return Vec::new() };
        let inferred = self.facts(graph, own, outside);
        let output = |id: &ValueId| {
            inferred.get(*id).cloned().unwrap_or_else(|| {
                let element_type = graph.values[*id].fact.element_type;
                Fact { element_type, ..Fact::unknown() }
            })
        };
        graph.outputs.iter().map(output).collect()
    }

    /// Multiply–accumulates of one run of it.
    pub fn macs(&self, own: &[Fact], outside: &Inputs) -> Dim {
        match &self.graph {
            Ok(graph) => graph.macs_at(&self.facts(graph, own, outside)),
            Err(_) => Dim::unknown(),
        }
    }

    fn facts(&self, graph: &Graph, own: &[Fact], outside: &Inputs) -> Facts {
        let outer =
            |name: &String| outside.captures.iter().find(|(known, _)| known == name).map(|(_, fact)| *fact);
        let given = own.iter().map(Some).chain(self.captures.iter().map(outer));
        let mut facts = SecondaryMap::<ValueId, Fact>::new();
        for (&id, fact) in graph.inputs.iter().zip(given) {
            let declared = &graph.values[id].fact;
            let fact = fact.unwrap_or(declared);
            let element_type = fact.element_type.or(declared.element_type);
            let shape = fact.shape.clone().or_else(|| declared.shape.clone());
            facts.insert(id, Fact { element_type, shape, content: fact.content.clone() });
        }
        graph.infer(&facts).unwrap_or_default()
    }

    /// Its outputs for these inputs of its own.
    #[cfg(feature = "torch")]
    pub fn run(
        &self,
        own: &[secateurs_torch::tch::Tensor],
        args: &crate::op::Args,
    ) -> Result<Vec<secateurs_torch::tch::Tensor>, OpError> {
        let graph = self.graph()?;
        if own.len() != self.inputs() {
            return Err(OpError::Invalid(format!(
                "{} values for a body of {} inputs",
                own.len(),
                self.inputs()
            )));
        }
        let mut inputs: Vec<_> = own.iter().map(|tensor| tensor.shallow_clone()).collect();
        for name in self.captures.iter() {
            let outer = args.captures.iter().find(|(known, _)| known == name);
            let missing =
                || OpError::Invalid(format!("'{name}', which its subgraph reads, is not known here"));
            inputs.push(outer.ok_or_else(missing)?.1.shallow_clone());
        }
        args.bodies.run(graph, &inputs)
    }

    /// For tests: the graph of a model as an attribute.
    #[cfg(any(test, feature = "harness"))]
    pub fn of(model: &Model) -> Subgraph {
        Subgraph::read(model, &AttributeProto::from_graph("body", model.graph().clone()))
    }
}

/// What is true of a value that is one or the other.
pub fn either(a: &Fact, b: &Fact) -> Fact {
    let shape = match (&a.shape, &b.shape) {
        (Some(a), Some(b)) if a.len() == b.len() => {
            let dims = a
                .iter()
                .zip(b)
                .map(|(a, b)| if a == b || !a.is_determined() { a.clone() } else { Dim::unknown() });
            Some(dims.collect())
        }
        _ => None,
    };
    let content = a.content.clone().filter(|content| b.content.as_ref() == Some(content));
    Fact { element_type: a.element_type.or(b.element_type), shape, content }
}
