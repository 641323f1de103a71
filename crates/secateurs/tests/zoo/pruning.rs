//! Pruned to half of the units of every group, chosen at random: the smaller model is valid and equals its masked twin in both
//! engines, and a wrong choice of one unit does not.
//!
//! `SECATEURS_PRUNING_COVERAGE=FILE` writes what was seen as JSON lines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use secateurs::methods::method;
use secateurs::pipeline::{Applied, PlanOptions, apply, macs_sizes, plan};
use secateurs::plan::{Plan, PlannedSplit};
use secateurs::runtime::relative_difference;
use secateurs::search::{Budget, Limit, Resource, Scope, SelectOptions};
use secateurs_graph::cost::Cost;
use secateurs_graph::coupling::{Coupling, CouplingOptions, Group, Reason, Selection, Split, UnitKind};
use secateurs_graph::session::{Precision, Session, SessionOptions};
use secateurs_graph::{Bindings, Graph};
use secateurs_onnx::{ElementType, Tensor, WriteOptions, write};
use serde_json::{Value, json};

use crate::models::{BATCHES, ZooModel, check_all, in_order, onnx_runtime, zoo};
use crate::python::Script;

const SEEDS: u64 = 5;
const LEAST_REMOVED: f64 = 0.25;
/// Groups in one of which a wrong dimension must be noticed.
const TRIES: usize = 40;
/// In the interpreter's 64-bit mode nothing but the order of sums differs.
const TOLERANCE_DOUBLE: f64 = 1e-9;
/// In ONNX Runtime; or this many times what the engines differ by on the original.
const TOLERANCE: f64 = 1e-4;
const TIMES_ENGINES: f64 = 3.0;

/// Each output's values, for each batch size.
type Outputs = Vec<Vec<(String, Tensor)>>;

#[test]
fn every_pruned_zoo_model_is_valid_and_equals_its_masked_twin_and_one_wrong_unit_is_noticed() {
    let checker = Script::start("check.py");
    check_all("SECATEURS_PRUNING_COVERAGE", |zoo| check(zoo, &checker));
}

/// Of every transformer the heads of all layers and the neurons between them can go, and half of them do.
#[test]
fn heads_and_neurons_of_every_transformer_are_halved() {
    const TRANSFORMERS: [&str; 12] = [
        "hf_albert",
        "hf_bert__dynamo",
        "hf_bert__legacy",
        "hf_gpt2",
        "hf_llama_gqa",
        "hf_t5_encoder",
        "hf_whisper",
        "tv_vit",
        "timm_deit",
        "tv_swin",
        "timm_levit",
        "timm_mobilevit",
    ];
    let Some(zoo) = zoo() else { return };
    let all = std::env::var("ZOO").is_err();
    for name in TRANSFORMERS {
        let Some(model) = zoo.iter().find(|model| model.name.starts_with(name)) else {
            assert!(!all, "there is no {name}");
            continue;
        };
        let graph = Graph::read(&model.path).unwrap();
        let coupling = graph.coupling(&CouplingOptions::default());
        let (plan, _) = pruned(&graph, 0, PlannedSplit::Outer).unwrap_or_else(|e| panic!("{name}: {e}"));
        let kept = plan.resolve(&graph, &coupling).unwrap().kept;
        for kind in [UnitKind::AttentionHead, UnitKind::Neuron] {
            let own = coupling
                .groups
                .iter()
                .zip(&kept)
                .filter(|(group, _)| group.kind == kind && group.inexact.is_none());
            let own: Vec<[usize; 2]> = own.map(|(group, kept)| [group.units.len(), kept.len()]).collect();
            assert!(!own.is_empty(), "{name} has no {kind} that can go");
            // Half, rounded either way.
            assert!(own.iter().all(|[of, kept]| of.abs_diff(2 * kept) <= 1), "{name}, {kind}: {own:?}");
        }
    }
}

/// Dimensions of heads in place of heads: as exact. Exchanged dimensions of queries and keys of random weights change the outputs little, so that
/// a wrong unit of some group must be noticed.
#[test]
fn dimensions_of_the_heads_of_every_transformer_go_exactly() {
    let checker = Script::start("check.py");
    let found = Mutex::new(0);
    check_all("SECATEURS_HEAD_DIM_COVERAGE", |zoo| {
        let graph = Graph::read(&zoo.path).map_err(|e| e.to_string())?;
        let inner = CouplingOptions { split: Split::Inner, ..CouplingOptions::default() };
        let has = |group: &Group| group.kind == UnitKind::HeadDim && group.inexact.is_none();
        if !graph.coupling(&inner).groups.iter().any(has) {
            return Ok(json!(null));
        }
        *found.lock().unwrap() += 1;
        exactly(zoo, &checker, 1, TRIES, PlannedSplit::Inner)
    });
    let found = found.into_inner().unwrap();
    assert!(
        found >= 10 || zoo().is_none_or(|zoo| zoo.len() < 27),
        "only {found} models have dimensions of heads that can go"
    );
}

/// Half of the units of every group, at random.
pub fn pruned(graph: &Graph, seed: u64, split: PlannedSplit) -> Result<(Plan, Applied), String> {
    let budget = Budget::new(vec![Limit::share(Resource::Units, 0.5)]).unwrap();
    let options = PlanOptions {
        method: method("random").unwrap(),
        seed,
        budget,
        select: SelectOptions { scope: Scope::Layer, ..SelectOptions::default() },
        split,
        ..PlanOptions::default()
    };
    let plan = plan(graph, &options).map_err(|e| format!("no plan: {e}"))?;
    let applied = apply(graph, &plan).map_err(|e| format!("cannot be applied: {e}"))?;
    Ok((plan, applied))
}

pub fn write_graph(graph: &Graph, path: &Path) -> Result<(), String> {
    write(&graph.to_model(), path, &WriteOptions::default()).map_err(|e| e.to_string())
}

fn check(zoo: &ZooModel, checker: &Script) -> Result<Value, String> {
    exactly(zoo, checker, SEEDS, 1, PlannedSplit::Outer)
}

/// Prunes a model with so many seeds, each exactly. A wrong unit must be noticed in one of `tries` groups, as trained units can be dead on
/// random inputs.
pub fn exactly(
    zoo: &ZooModel,
    checker: &Script,
    seeds: u64,
    tries: usize,
    split: PlannedSplit,
) -> Result<Value, String> {
    let bench = Bench::new(zoo)?;
    let coupling =
        bench.graph.coupling(&CouplingOptions { split: split.into(), ..CouplingOptions::default() });
    let (mut least, mut largest) = (None::<Cost>, [0f64; 2]);
    let before = bench.graph.cost();
    for seed in 0..seeds {
        let at = |e: String| format!("seed {seed}: {e}");
        let (plan, applied) = pruned(&bench.graph, seed, split).map_err(at)?;
        if !applied.exact {
            return Err(at("the plan is not exact".into()));
        }
        let smaller = bench.file("smaller.onnx");
        write_graph(&applied.graph, &smaller).map_err(at)?;
        checker.ask(&smaller).map_err(at)?;
        let found = bench.differences(&smaller, &applied.masked).map_err(at)?;
        if bench.within(&found).iter().any(Result::is_err) {
            bench.within_rounding(&found, &applied.masked).map_err(at)?;
        }
        largest = [0, 1].map(|i| found[i].values().copied().fold(largest[i], f64::max));
        if seed == 0 {
            let selection = plan.resolve(&bench.graph, &coupling).map_err(|e| at(e.to_string()))?;
            bench.one_wrong_unit_is_noticed(&coupling, &selection, &applied.masked, tries).map_err(at)?;
        }
        if least.as_ref().is_none_or(|cost| cost.params < applied.after.params) {
            least = Some(applied.after);
        }
    }
    let after = least.ok_or("no seed")?;
    let removed = 1.0 - after.params as f64 / before.params as f64;
    if removed < LEAST_REMOVED {
        return Err(format!("only {:.1} % of the parameters went", 100.0 * removed));
    }
    let sizes = macs_sizes(&bench.graph, &Bindings::new());
    let macs = |cost: &Cost| cost.macs.bind(&sizes).known();
    Ok(json!({
        "model": zoo.name, "parameters": [before.params, after.params], "macs": [macs(&before), macs(&after)],
        "difference_double": largest[0], "difference": largest[1],
        "groups": groups(&coupling), "inexact": inexact(&bench.graph, &coupling), "blocked": blocked(&bench.graph, &coupling),
    }))
}

/// A model with what its smaller ones are compared on.
pub struct Bench<'z> {
    zoo: &'z ZooModel,
    pub graph: Graph,
    /// The tolerance of each output in ONNX Runtime.
    tolerances: Differences,
    folder: tempfile::TempDir,
}

impl Bench<'_> {
    pub fn new(zoo: &ZooModel) -> Result<Bench<'_>, String> {
        let graph = Graph::read(&zoo.path).map_err(|e| e.to_string())?;
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut bench = Bench { zoo, graph, tolerances: Differences::new(), folder };
        let theirs = bench.in_onnx_runtime(&zoo.path)?;
        let ours = bench.interpreted(bench.graph.clone(), SessionOptions::default())?;
        for (output, by) in differences(&theirs, &ours)? {
            bench.tolerances.insert(output, TOLERANCE.max(TIMES_ENGINES * by));
        }
        Ok(bench)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn in_onnx_runtime(&self, path: &Path) -> Result<Outputs, String> {
        let mut model = onnx_runtime(path)?;
        let run = |&batch: &usize| {
            let inputs: Vec<_> = self.zoo.example_inputs(batch).into_iter().collect();
            model.run(&inputs).map_err(|e| format!("batch {batch}: {e}"))
        };
        BATCHES.iter().map(run).collect()
    }

    fn interpreted(&self, graph: Graph, options: SessionOptions) -> Result<Outputs, String> {
        let graph = Arc::new(graph);
        let session = Session::new(graph.clone(), options).map_err(|e| e.to_string())?;
        let names: Vec<String> = graph.outputs.iter().map(|&v| graph.values[v].name.clone()).collect();
        let run = |&batch: &usize| {
            let inputs = in_order(&graph, &self.zoo.example_inputs(batch));
            let outputs = session.run(&inputs).map_err(|e| format!("batch {batch}: {e}"))?;
            let double = outputs.iter().all(|o| o.element_type() == ElementType::Float64);
            assert_eq!(double, options.precision == Precision::Double, "a run in 64 bits gives 64 bits");
            Ok(names.iter().cloned().zip(outputs).collect())
        };
        BATCHES.iter().map(run).collect()
    }

    /// How much a smaller file differs from its twin, in the interpreter and in ONNX Runtime.
    pub fn differences(&self, smaller: &Path, masked: &Graph) -> Result<[Differences; 2], String> {
        let double = SessionOptions { precision: Precision::Double, ..SessionOptions::default() };
        let again = Graph::read(smaller).map_err(|e| e.to_string())?;
        let ours =
            differences(&self.interpreted(again, double)?, &self.interpreted(masked.clone(), double)?)?;
        let twin = self.file("masked.onnx");
        write_graph(masked, &twin)?;
        let theirs = differences(&self.in_onnx_runtime(smaller)?, &self.in_onnx_runtime(&twin)?)?;
        Ok([ours, theirs])
    }

    /// Whether each engine finds no more than rounding; what is more, in words.
    pub fn within(&self, [ours, theirs]: &[Differences; 2]) -> [Result<(), String>; 2] {
        let check = |engine, found: &Differences, tolerance: &dyn Fn(&str) -> f64| {
            let beyond = found.iter().find(|(output, by)| by.is_nan() || **by > tolerance(output));
            beyond.map_or(Ok(()), |(output, by)| Err(format!("{engine}: '{output}' differs by {by:.1e}")))
        };
        [
            check("interpreter", ours, &|_| TOLERANCE_DOUBLE),
            check("ONNX Runtime", theirs, &|output| self.tolerances[output]),
        ]
    }

    /// The same where rounding counts for more: in ONNX Runtime as many times what the engines differ by on the twin.
    pub fn within_rounding(&self, found: &[Differences; 2], masked: &Graph) -> Result<(), String> {
        let [ours, _] = self.within(found);
        ours?;
        let theirs = self.in_onnx_runtime(&self.file("masked.onnx"))?;
        let engines = differences(&self.interpreted(masked.clone(), SessionOptions::default())?, &theirs)?;
        let beyond = found[1].iter().find(|(output, by)| {
            by.is_nan() || **by > self.tolerances[*output].max(TIMES_ENGINES * engines[*output])
        });
        beyond.map_or(Ok(()), |(output, by)| Err(format!("ONNX Runtime: '{output}' differs by {by:.1e}")))
    }

    /// The negative control: the same check fails in both engines where one unit was exchanged for another.
    fn one_wrong_unit_is_noticed(
        &self,
        coupling: &Coupling,
        selection: &Selection,
        masked: &Graph,
        tries: usize,
    ) -> Result<(), String> {
        let prunable = |&g: &usize| {
            let group = &coupling.groups[g];
            selection.kept[g].len() < group.units.len() && group.kind != UnitKind::UnusedRow
        };
        // The more parameters share a unit, the less can hide it.
        let mut groups: Vec<usize> = (0..coupling.groups.len()).filter(prunable).collect();
        groups.sort_by_key(|&g| coupling.groups[g].parameters.len());
        groups.reverse();
        let mut unnoticed = "nothing went".to_owned();
        for &group in groups.iter().take(tries) {
            let mut selection = selection.clone();
            let kept = &mut selection.kept[group];
            let gone = (0..coupling.groups[group].units.len()).find(|unit| !kept.contains(unit));
            kept[0] = gone.ok_or("nothing went")?;
            kept.sort_unstable();
            let mut wrong = self.graph.clone();
            let surgery = coupling.surgery(&self.graph, &selection).map_err(|e| e.to_string())?;
            surgery.apply(&mut wrong).map_err(|e| e.to_string())?;
            let path = self.file("wrong.onnx");
            write_graph(&wrong, &path)?;
            let found = self.differences(&path, masked)?;
            match self.within(&found) {
                [Err(_), Err(_)] => return Ok(()),
                _ => {
                    unnoticed = format!(
                        "a wrong unit of group {group} goes unnoticed: the outputs differ by {found:?}"
                    );
                }
            }
        }
        Err(unnoticed)
    }
}

/// The largest difference of each output.
pub type Differences = BTreeMap<String, f64>;

fn differences(found: &Outputs, expected: &Outputs) -> Result<Differences, String> {
    let mut largest = Differences::new();
    for (found, expected) in found.iter().zip(expected) {
        let names = |outputs: &[(String, Tensor)]| outputs.iter().map(|o| o.0.clone()).collect::<Vec<_>>();
        if names(found) != names(expected) {
            return Err(format!("the outputs are {:?} instead of {:?}", names(found), names(expected)));
        }
        for ((name, found), (_, expected)) in found.iter().zip(expected) {
            let by = largest.entry(name.clone()).or_default();
            let own = relative_difference(found, expected);
            *by = if own.is_nan() { f64::NAN } else { by.max(own) };
        }
    }
    Ok(largest)
}

/// Groups and units of each kind.
fn groups(coupling: &Coupling) -> BTreeMap<&'static str, [usize; 2]> {
    let mut kinds = BTreeMap::<_, [usize; 2]>::new();
    for group in &coupling.groups {
        let [groups, units] = kinds.entry(group.kind.name()).or_default();
        *groups += 1;
        *units += group.units.len();
    }
    kinds
}

fn inexact(graph: &Graph, coupling: &Coupling) -> Vec<Value> {
    let groups = coupling.groups.iter().filter_map(|group| Some((group, group.inexact.as_ref()?)));
    let line = |(group, reason): (&Group, &Reason)| {
        let parameters = secateurs::plan::parameter_names(graph, group);
        json!({
            "kind": group.kind.name(), "units": group.units.len(), "parameters": parameters, "reason": why(graph, reason),
        })
    };
    groups.map(line).collect()
}

fn blocked(graph: &Graph, coupling: &Coupling) -> Vec<Value> {
    let axes = coupling.barred.iter().map(|barred| {
        let parameter = &graph.values[barred.value].name;
        json!({ "parameter": parameter, "axis": barred.axis, "reason": why(graph, &barred.reason) })
    });
    axes.collect()
}

/// The reason without the names that differ from layer to layer.
fn why(graph: &Graph, reason: &Reason) -> String {
    let op = |node: &secateurs_graph::NodeId| graph.nodes[*node].op.name();
    match reason {
        Reason::Op(node, why) => format!("{}: {why}", op(node)),
        Reason::Captured(node) => format!("{}: a subgraph reads the value", op(node)),
        Reason::Single(node) => format!("{}: an index is used by its position", op(node)),
        Reason::WholeAxis(..) => "removing one index would remove all of an axis".into(),
        Reason::Entangled(..) => "an index cannot go without parts of other units".into(),
        Reason::Input(_)
        | Reason::Output(_)
        | Reason::Size(_)
        | Reason::Large(_)
        | Reason::Constants
        | Reason::Integers => reason.describe(graph),
    }
}
