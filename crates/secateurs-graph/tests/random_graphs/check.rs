//! What must hold after any surgery.

use std::collections::HashSet;
use std::sync::Arc;

use secateurs_graph::attribute::Attribute;
use secateurs_graph::coupling::{Costs, Coupling, CouplingOptions, Remaining, Selection, Split};
use secateurs_graph::patch::Patch;
use secateurs_graph::session::{Mask, Precision, Session, SessionOptions, to_device, to_host};
use secateurs_graph::surgery::Ports;
use secateurs_graph::{Graph, GraphError, NodeId, ValueId};
use secateurs_onnx::{Model, Tensor, encode};
use secateurs_torch::tch::{self, Device};

use crate::choice;
use crate::net::Feed;
use crate::rng::Rng;

/// What a graph lost.
pub struct Lost {
    pub any: bool,
    pub exact: bool,
    /// Whether the original, nothing zeroed, computes something else: else the comparison would say little.
    pub mattered: bool,
    /// Whether what stayed was computed in other forms, in part.
    pub implanted: bool,
    /// Whether inputs or outputs shrank.
    pub resized: bool,
}

/// Removes random units, first those that go exactly, then of all.
pub fn check(model: &Model, feeds: &[Feed], split: Split, seed: u64) -> Result<Lost, String> {
    let mut graph = Graph::from_model(model.clone()).map_err(|e| format!("the graph: {e}"))?;
    // Half of the graphs keep what no output depends on.
    if seed.is_multiple_of(2) {
        let mut patch = Patch::new();
        patch.remove_dead();
        patch.apply(&mut graph).map_err(|e| format!("the graph without dead nodes: {e}"))?;
    }
    let graph = Arc::new(graph);
    // Inputs and outputs shrink in a third of the graphs, each or not.
    let mut rng = Rng::new(!seed);
    let ports = graph.inputs.iter().chain(&graph.outputs).copied();
    let resizable: Vec<ValueId> = ports.filter(|_| seed.is_multiple_of(3) && rng.percent(60)).collect();
    let shrink: Vec<&str> = resizable.iter().map(|&port| graph.values[port].name.as_str()).collect();
    let options = CouplingOptions { split, resizable: resizable.clone(), ..CouplingOptions::default() };
    let coupling = graph.coupling(&options);
    let mut lost = Lost { any: false, exact: false, mattered: false, implanted: false, resized: false };
    for exact in [true, false] {
        let mut rng = Rng::new(seed ^ u64::from(exact));
        let selection = random(&coupling, exact, &mut rng);
        if selection == Selection::all(&coupling) {
            continue;
        }
        let tell = |why: String| {
            let gone = removed(&graph, &coupling, &selection);
            format!("{split:?}, exact: {exact}, resizable {shrink:?}: {why}\n{gone}{:?}", *graph)
        };
        if exact {
            lost.implanted |= implants(&graph, &coupling, &selection, feeds, &mut rng).map_err(tell)?;
        }
        lost.resized |= !coupling.ports(&graph, &selection).is_whole();
        lost.mattered |= trial(&graph, &coupling, &selection, feeds, exact).map_err(tell)?;
        lost.any = true;
        lost.exact |= exact;
    }
    Ok(lost)
}

/// A random part of the units, never all of an axis; now and then a single one.
pub fn random(coupling: &Coupling, exact: bool, rng: &mut Rng) -> Selection {
    let mut selection = Selection::all(coupling);
    let mut remaining = Remaining::new(coupling);
    let share = *rng.pick(&[10, 40, 70, 100]);
    for (g, group) in coupling.groups.iter().enumerate() {
        if exact && group.inexact.is_some() {
            continue;
        }
        // Whichever goes first, the last one of an axis stays.
        for unit in rng.shuffled(group.units.len()) {
            if rng.percent(share) && remaining.remove(g, unit) {
                selection.kept[g].retain(|&u| u != unit);
            }
        }
    }
    selection
}

fn trial(
    graph: &Arc<Graph>,
    coupling: &Coupling,
    selection: &Selection,
    feeds: &[Feed],
    exact: bool,
) -> Result<bool, String> {
    let mut smaller = (**graph).clone();
    let patch = coupling.surgery(graph, selection).map_err(|e| format!("no surgery: {e}"))?;
    patch.apply(&mut smaller).map_err(|e| format!("surgery leaves no graph: {e}"))?;
    let ports = coupling.ports(graph, selection);
    same_ports(graph, &ports, &smaller)?;
    costs_as_foreseen(graph, coupling, selection, &smaller)?;
    read_again(&smaller, "the smaller model")?;
    let run = |graph: &Graph, round: u64, what: &str| {
        run(graph, &fed_all(feeds, round)).map_err(|e| format!("{what} does not run: {e}"))
    };
    let run_smaller = |round: u64| {
        let feed = ports.inputs(&fed_all(feeds, round)).map_err(|e| e.to_string())?;
        self::run(&smaller, &feed).map_err(|e| format!("the smaller model does not run: {e}"))
    };
    let left = |outputs: &[Tensor]| ports.outputs(outputs).map_err(|e| e.to_string());
    if !exact {
        run_smaller(0)?;
        return Ok(false);
    }
    let mut masked = (**graph).clone();
    let patch = coupling.masking(graph, selection).map_err(|e| format!("no mask: {e}"))?;
    patch.apply(&mut masked).map_err(|e| format!("masking leaves no graph: {e}"))?;
    read_again(&masked, "the masked twin")?;
    let tolerance = if rounds(graph, &smaller) { 1e-6 } else { 1e-9 };
    // A tie, or a number next to a pole, may fall either way: what is wrong is wrong for all inputs.
    let mut wrong = Vec::new();
    for round in 0..3 {
        let (a, b) = (run_smaller(round)?, run(&masked, round, "the masked twin")?);
        let b = left(&b)?;
        if round == 0 {
            masks_are_the_twin(graph, coupling, selection, feeds, &b)?;
        }
        let Err(why) = close(&a, &b, tolerance) else {
            return Ok(close(&left(&run(graph, round, "the original")?)?, &b, tolerance).is_err());
        };
        // As much as a change of the inputs in their last bit may change the outputs times 10⁶: ill-conditioned.
        let nudged = left(&run(&masked, round + 1000, "the masked twin")?)?;
        if close(&a, &b, 1e-6 * difference(&nudged, &b)).is_ok() {
            return Ok(false);
        }
        wrong.push(why);
    }
    Err(wrong.join("; "))
}

/// Some of what stays is computed in other forms: the model is whole and computes what the equivalent weights do. False where there
/// is no place for that.
fn implants(
    graph: &Arc<Graph>,
    coupling: &Coupling,
    selection: &Selection,
    feeds: &[Feed],
    rng: &mut Rng,
) -> Result<bool, String> {
    let Some(choice) = choice::random(graph, coupling, selection, rng) else { return Ok(false) };
    let told = format!("implants {:?}, {:?}", choice.implanted, choice.forms);
    let fail = |why: String| format!("{told}: {why}");
    let carried = coupling
        .carry_out(graph, &choice, |request| Ok::<_, GraphError>(Some(choice::random_start(request, rng))))
        .map_err(|e| fail(e.to_string()))?;
    let ports = coupling.ports(graph, &choice.selection);
    same_ports(graph, &ports, &carried.graph).map_err(fail)?;
    let mut costs = Costs::new(graph, coupling, &Default::default());
    costs.set_forms(&choice.forms).map_err(|e| fail(e.to_string()))?;
    as_foreseen(graph, &costs, &Remaining::of_choice(coupling, &choice), &carried.graph).map_err(fail)?;
    read_again(&carried.graph, "the model with implants").map_err(fail)?;
    let tolerance = if rounds(graph, &carried.graph) { 1e-6 } else { 1e-9 };
    let run = |graph: &Graph, feed: Result<Vec<Tensor>, GraphError>| {
        feed.and_then(|feed| run(graph, &feed)).map_err(|e| fail(format!("it does not run: {e}")))
    };
    let masked = |round: u64| {
        let outputs = run(&carried.masked, Ok(fed_all(feeds, round)))?;
        ports.outputs(&outputs).map_err(|e| fail(e.to_string()))
    };
    let mut wrong = Vec::new();
    for round in 0..3 {
        let (a, b) = (run(&carried.graph, ports.inputs(&fed_all(feeds, round)))?, masked(round)?);
        let Err(why) = close(&a, &b, tolerance) else { return Ok(true) };
        let nudged = masked(round + 1000)?;
        if close(&a, &b, 1e-6 * difference(&nudged, &b)).is_ok() {
            return Ok(true);
        }
        wrong.push(why);
    }
    Err(fail(wrong.join("; ")))
}

/// Zeroing what is consumed while the original runs gives what the masked twin computes.
fn masks_are_the_twin(
    graph: &Arc<Graph>,
    coupling: &Coupling,
    selection: &Selection,
    feeds: &[Feed],
    twin: &[Tensor],
) -> Result<(), String> {
    let text = |e: &dyn std::fmt::Display| format!("masked while it runs: {e}");
    let options = SessionOptions { precision: Precision::Double, ..SessionOptions::default() };
    let mut session = Session::new(graph.clone(), options).map_err(|e| text(&e))?;
    let consumed = coupling.consumed(graph).map_err(|e| text(&e))?;
    session.unfold(consumed.iter().map(|at| at.node));
    let goes = |group: usize, unit: usize| selection.kept[group].binary_search(&unit).is_err();
    let masks = consumed.iter().map(|at| Mask {
        node: at.node,
        input: at.input,
        axis: at.axis,
        indices: at.removed(goes),
    });
    let masks: Vec<Mask> = masks.filter(|mask| !mask.indices.is_empty()).collect();
    let feed = feeds
        .iter()
        .enumerate()
        .map(|(i, f)| to_device(&fed(f, 0, i as u64), Device::Cpu, session.floats()).map_err(|e| text(&e)));
    let feed = feed.collect::<Result<Vec<_>, _>>()?;
    let run = tch::no_grad(|| session.forward_masked(&feed, &masks)).map_err(|e| text(&e))?;
    let types = graph.outputs.iter().map(|&v| graph.values[v].fact.element_type);
    let outputs = run.outputs.iter().zip(types).map(|(tensor, element_type)| to_host(tensor, element_type));
    let outputs = outputs.collect::<Result<Vec<_>, _>>().map_err(|e| text(&e))?;
    let left = coupling.ports(graph, selection).outputs(&outputs).map_err(|e| text(&e))?;
    close(&left, twin, 1e-9).map_err(|e| text(&e))
}

pub fn run(graph: &Graph, feed: &[Tensor]) -> Result<Vec<Tensor>, GraphError> {
    let options = SessionOptions { precision: Precision::Double, ..SessionOptions::default() };
    Session::new(Arc::new(graph.clone()), options)?.run(feed)
}

pub fn fed_all(feeds: &[Feed], round: u64) -> Vec<Tensor> {
    feeds.iter().enumerate().map(|(i, feed)| fed(feed, round, i as u64)).collect()
}

/// From round 1000 on the same as a thousand before, but for the last bits.
fn fed(feed: &Feed, round: u64, input: u64) -> Tensor {
    match feed {
        Feed::Fixed(tensor) => tensor.clone(),
        Feed::Floats(shape) => {
            let tensor = Rng::new(17 * (round % 1000) + input).tensor(shape, 1.0);
            if round < 1000 {
                return tensor;
            }
            let mut rng = Rng::new(round);
            let values = tensor.to_vec::<f32>().unwrap().into_iter().map(|x| x * (1.0 + 1e-6 * rng.float()));
            Tensor::from_slice(shape.clone(), &values.collect::<Vec<_>>()).unwrap()
        }
    }
}

fn same_ports(graph: &Graph, ports: &Ports, smaller: &Graph) -> Result<(), String> {
    for (old, new, left) in [
        (&graph.inputs, &smaller.inputs, ports.input_shapes(graph)),
        (&graph.outputs, &smaller.outputs, ports.output_shapes(graph)),
    ] {
        let names = |graph: &Graph, ids: &[ValueId]| -> Vec<String> {
            ids.iter().map(|&v| graph.values[v].name.clone()).collect()
        };
        let shapes: Vec<_> = new.iter().map(|&v| smaller.values[v].fact.shape.clone()).collect();
        if names(graph, old) != names(smaller, new) || left != shapes {
            return Err(format!("ports {:?} were to be {left:?} and are {shapes:?}", names(graph, old)));
        }
    }
    Ok(())
}

fn costs_as_foreseen(
    graph: &Graph,
    coupling: &Coupling,
    selection: &Selection,
    smaller: &Graph,
) -> Result<(), String> {
    let remaining = Remaining::of_selection(coupling, selection);
    as_foreseen(graph, &Costs::new(graph, coupling, &Default::default()), &remaining, smaller)
}

fn as_foreseen(graph: &Graph, costs: &Costs, remaining: &Remaining, smaller: &Graph) -> Result<(), String> {
    let (params, macs, got) = (costs.params(remaining), costs.macs(remaining), smaller.cost());
    // What nothing reads goes, also what nothing reads any more where a size that it gave is frozen.
    let computes = |id: &NodeId| !graph.macs(*id).is(0);
    let whole = graph.nodes.keys().filter(computes).all(|id| smaller.nodes.contains_key(id));
    if macs != got.macs && whole {
        return Err(format!("{macs} MACs foreseen, {} found", got.macs));
    }
    // A constant that is read twice may be cloned; what is never read is gone.
    let shared = graph.uses().values().any(|uses| uses.len() > 1);
    let all = graph.nodes.keys().all(|id| smaller.nodes.contains_key(id));
    if params < got.params || (params != got.params && !shared && all) {
        return Err(format!("{params} parameters foreseen, {} found", got.params));
    }
    Ok(())
}

fn read_again(graph: &Graph, what: &str) -> Result<(), String> {
    let fail = |why: String| format!("{what} cannot be read again: {why}");
    let bytes = encode(&graph.to_model()).map_err(|e| fail(e.to_string()))?;
    let again = Model::from_bytes(bytes, None).map_err(|e| fail(e.to_string()))?;
    let again = Graph::from_model(again).map_err(|e| fail(e.to_string()))?;
    let shapes =
        |g: &Graph| -> Vec<_> { g.outputs.iter().map(|&v| g.values[v].fact.shape.clone()).collect() };
    match shapes(&again) == shapes(graph) {
        true => Ok(()),
        false => Err(fail(format!("its outputs are {:?} and were {:?}", shapes(&again), shapes(graph)))),
    }
}

/// Whether surgery had to write a number of 32 bits: an epsilon, or a scale that was computed from a size.
fn rounds(graph: &Graph, smaller: &Graph) -> bool {
    smaller.nodes.iter().any(|(id, node)| {
        let old = graph.nodes.get(id).map(|n| n.op.attributes()).unwrap_or_default();
        node.op.attributes().iter().any(|new| matches!(new.1, Attribute::Float(_)) && !old.contains(new))
    })
}

/// NaN only where both are; infinities equal.
pub fn close(a: &[Tensor], b: &[Tensor], tolerance: f64) -> Result<(), String> {
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        if a.shape() != b.shape() {
            return Err(format!("output {i} has the shapes {:?} and {:?}", a.shape(), b.shape()));
        }
        let (a, b) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
        let scale = b.iter().filter(|v| v.is_finite()).fold(1e-9f64, |m, v| m.max(v.abs()));
        let same =
            |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * scale;
        if let Some(at) = (0..a.len()).find(|&at| !same(a[at], b[at])) {
            return Err(format!("output {i}, element {at}: {} and {}", a[at], b[at]));
        }
    }
    Ok(())
}

/// The largest relative difference.
fn difference(a: &[Tensor], b: &[Tensor]) -> f64 {
    let pairs = a.iter().zip(b).filter(|(a, b)| a.shape() == b.shape());
    let each = pairs.map(|(a, b)| {
        let (a, b) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
        let scale = b.iter().filter(|v| v.is_finite()).fold(1e-9f64, |m, v| m.max(v.abs()));
        a.iter().zip(&b).map(|(a, b)| (a - b).abs() / scale).filter(|d| d.is_finite()).fold(0.0, f64::max)
    });
    each.fold(0.0, f64::max)
}

/// The parameters that lose indices.
fn removed(graph: &Graph, coupling: &Coupling, selection: &Selection) -> String {
    let mut lines = Vec::new();
    let mut seen = HashSet::new();
    for (group, kept) in coupling.groups.iter().zip(&selection.kept) {
        let gone: Vec<usize> = (0..group.units.len()).filter(|u| !kept.contains(u)).collect();
        for parameter in group.parameters.iter().filter(|_| !gone.is_empty()) {
            let indices: Vec<usize> =
                gone.iter().flat_map(|&u| group.units[u].indices(parameter)).copied().collect();
            let name = &graph.values[parameter.value].name;
            if seen.insert((parameter.value, parameter.axis)) {
                lines.push(format!("{name}[{}] loses {indices:?}\n", parameter.axis));
            }
        }
    }
    lines.concat()
}
