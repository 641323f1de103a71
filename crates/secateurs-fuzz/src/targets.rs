//! The targets: what is done with an input. An error is right; a panic, a hang and outsize memory are not.

use std::path::Path;

use bytes::Bytes;
use secateurs::pipeline::apply;
use secateurs::plan::{Asked, Plan, PlannedGroup, PlannedModel, PlannedSplit};
use secateurs::search::Scope;
use secateurs_graph::coupling::{Coupling, CouplingOptions, Remaining, Selection};
use secateurs_graph::surgery::Choice;
use secateurs_graph::{Bindings, Graph, ValueId};
use secateurs_onnx::{Model, encode, for_each_tensor};

use crate::memory;
use crate::rng::Rng;
use crate::seeds::PLAN;

/// A target.
pub struct Target {
    /// Its name, that of its binary and its corpus.
    pub name: &'static str,
    /// What it does with an input.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "reader", run: reader },
    Target { name: "inference", run: inference },
    Target { name: "application", run: application },
];

/// Reads a model, all its tensors, and what is written of it.
pub fn reader(input: &[u8]) {
    memory::limited(input.len(), || {
        let Some(model) = read(input) else { return };
        for_each_tensor(&model.proto, |_, proto| {
            let tensor = model.tensor(proto).expect("it was checked");
            let _ = (tensor.to_f64_vec(), tensor.to_i64_vec());
        });
        for sparse in &model.graph().sparse_initializer {
            let _ = model.sparse_tensor(sparse);
        }
        let written = encode(&model).expect("it is small");
        let again = Model::from_bytes(written.clone(), None).expect("what is written can be read");
        assert!(encode(&again).expect("it is small") == written, "what is read is written as it was");
    });
}

/// Builds the graph, which infers all shapes, binds sizes, and counts.
pub fn inference(input: &[u8]) {
    memory::limited(input.len(), || {
        let Some(mut graph) = read(input).and_then(|model| Graph::from_model(model).ok()) else { return };
        graph.verify().expect("a graph that is loaded is whole");
        let _ = (graph.hash(), graph.cost(), graph.parameters());
        let symbols: Vec<String> = graph
            .values
            .values()
            .flat_map(|value| value.fact.shape.iter().flatten())
            .flat_map(|dim| dim.symbols())
            .map(|name| name.to_string())
            .collect();
        let sizes: Bindings = symbols.into_iter().zip([1, 2, 3, 0, 7].into_iter().cycle()).collect();
        if graph.bind(&sizes).is_ok() {
            graph.verify().expect("a graph whose sizes are bound is whole");
            let _ = graph.cost();
        }
    });
}

/// Applies to a model the plan in its metadata, and choices of units that depend on its bytes.
pub fn application(input: &[u8]) {
    memory::limited(input.len(), || {
        let Some(model) = read(input) else { return };
        let metadata = model.proto.metadata_props.iter().find(|entry| entry.key() == PLAN);
        let text = metadata.map(|entry| entry.value().to_owned());
        let Ok(graph) = Graph::from_model(model) else { return };
        if let Some(text) = text
            && let Ok(mut plan) = Plan::from_bytes(text.as_bytes(), Path::new("plan.json"))
        {
            // Nobody guesses a hash.
            plan.model.hash = graph.hash();
            applied(&graph, &plan);
        }
        let seed = input.iter().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
        });
        let mut rng = Rng::new(seed);
        let split = if rng.one_in(2) { PlannedSplit::Outer } else { PlannedSplit::Inner };
        // Half of the times what can shrink does.
        let mut resizable = Vec::new();
        if rng.one_in(2) {
            let all: Vec<ValueId> = graph.inputs.iter().chain(&graph.outputs).copied().collect();
            let free = coupling(&graph, split, &all);
            resizable = all.into_iter().filter(|&port| free.resizes(&graph, port)).collect();
        }
        let coupling = coupling(&graph, split, &resizable);
        let choice = chosen(&coupling, &mut rng);
        let names = resizable.iter().map(|&port| graph.values[port].name.clone()).collect();
        applied(&graph, &planned(&graph, &coupling, &choice, (split, names)));
    });
}

fn coupling(graph: &Graph, split: PlannedSplit, resizable: &[ValueId]) -> Coupling {
    let options =
        CouplingOptions { split: split.into(), resizable: resizable.to_vec(), ..CouplingOptions::default() };
    graph.coupling(&options)
}

fn read(input: &[u8]) -> Option<Model> {
    Model::from_bytes(Bytes::copy_from_slice(input), None).ok()
}

/// Random units of random groups, never all of an axis.
fn chosen(coupling: &Coupling, rng: &mut Rng) -> Choice {
    let mut selection = Selection::all(coupling);
    let mut remaining = Remaining::new(coupling);
    for (group, kept) in selection.kept.iter_mut().enumerate() {
        if rng.one_in(4) {
            continue;
        }
        kept.retain(|&unit| rng.one_in(2) || remaining.units(group) == 1 || !remaining.remove(group, unit));
    }
    selection.into()
}

fn planned(
    graph: &Graph,
    coupling: &Coupling,
    choice: &Choice,
    (split, resizable): (PlannedSplit, Vec<String>),
) -> Plan {
    Plan {
        format_version: secateurs::plan::FORMAT_VERSION,
        secateurs: String::new(),
        model: PlannedModel {
            file: "input.onnx".into(),
            hash: graph.hash(),
            parameters: 0,
            macs: 0.into(),
            sizes: Default::default(),
        },
        asked: Asked {
            method: "random".into(),
            seed: 0,
            keep: Vec::new(),
            implant: Default::default(),
            max_drop: None,
            scope: Scope::Global,
            split,
            resizable,
            max_removed: 1.0,
            multiple_of: None,
            allow_inexact: true,
            among: Vec::new(),
            count: Vec::new(),
        },
        reached: Default::default(),
        predicted: None,
        frontier: None,
        lossless: None,
        latency: Vec::new(),
        groups: PlannedGroup::of_choice(graph, coupling, choice),
        implants: Vec::new(),
    }
}

/// What a plan makes is a whole model with the original's inputs and outputs, or there is an error.
fn applied(graph: &Graph, plan: &Plan) {
    let Ok(applied) = apply(graph, plan) else { return };
    for made in [&applied.graph, &applied.masked] {
        made.verify().expect("surgery leaves a whole graph");
        let written = encode(&made.to_model()).expect("it is small");
        let again = Model::from_bytes(written, None).expect("what is written can be read");
        let again = Graph::from_model(again).expect("a smaller model is a model");
        let names = |graph: &Graph| {
            let ends = graph.inputs.iter().chain(&graph.outputs);
            ends.map(|&value| graph.values[value].name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&again), names(graph), "inputs and outputs stay");
    }
}
