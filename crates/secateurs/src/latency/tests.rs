//! Curves go through what was measured, tables are measured once, and a limit is met by what a clock says of whole models. The clock
//! counts multiply–accumulates in blocks of 8 units, so that nothing depends on the machine.

use std::cell::Cell;
use std::path::Path;

use secateurs_graph::coupling::{Coupling, CouplingOptions, Remaining};
use secateurs_graph::{Bindings, Graph};
use secateurs_onnx::{ElementType, ModelBuilder, Tensor, WriteOptions, write};

use super::curve::Grid;
use super::{LatencyTable, Machine, Times};
use crate::implants::{ImplantSettings, ImplantShare};
use crate::methods::method;
use crate::pipeline::{
    PlanOptions, PlanningError, ROUNDS, Stopwatch, TimedProgress, apply, furthest, plan_timed,
};
use crate::plan::Plan;
use crate::runtime::{LatencyOptions, LatencyRequest, RuntimeError, Timing};
use crate::search::{Budget, SelectError};

/// Dense layers of these widths, `inputs` and 10 outputs; the sizes of the input are given.
fn dense(widths: &[usize], input: &[&str], folder: &Path) -> Graph {
    let mut model = ModelBuilder::new(17).input("v0", ElementType::Float32, input);
    let mut inputs = 32;
    for (i, &width) in widths.iter().chain(&[10]).enumerate() {
        let values: Vec<f32> = (0..inputs * width).map(|j| ((i + 7) * j % 13) as f32 - 6.0).collect();
        let weight = Tensor::from_slice(vec![inputs, width], &values).unwrap();
        let name = |what: &str, i: usize| format!("{what}{i}");
        model = model
            .constant(&name("w", i), &weight)
            .node("MatMul", &[&name("v", i), &name("w", i)], &[&name("h", i)])
            .node("Relu", &[&name("h", i)], &[&name("v", i + 1)]);
        inputs = width;
    }
    let model = model.output(&format!("v{}", widths.len() + 1)).build().unwrap();
    let file = folder.join("model.onnx");
    write(&model, &file, &WriteOptions::default()).unwrap();
    Graph::read(&file).unwrap()
}

/// What the clock says of a file: a time that stays, and one for each product in whole blocks.
fn clocked(file: &Path, overhead: f64) -> f64 {
    let graph = Graph::read(file).unwrap();
    let blocks = |n: i64| (n as u64).div_ceil(8) as f64;
    let nodes = graph.order.iter().map(|&id| &graph.nodes[id]).filter(|node| node.op.name() == "MatMul");
    let each = nodes.map(|node| {
        let weight = graph.values[node.inputs[1].unwrap()].fact.known_shape().unwrap();
        blocks(weight[0]) * blocks(weight[1])
    });
    let products: f64 = each.clone().sum();
    1e-2 * products + if each.count() > 1 { overhead } else { 0.0 }
}

fn timing(ms: f64) -> Timing {
    Timing::from_times(vec![ms])
}

struct Setting {
    graph: Graph,
    coupling: Coupling,
    folder: tempfile::TempDir,
}

impl Setting {
    fn new(widths: &[usize]) -> Setting {
        let folder = tempfile::tempdir().unwrap();
        let graph = dense(widths, &["batch", "32"], folder.path());
        let coupling = graph.coupling(&CouplingOptions::default());
        assert_eq!(coupling.groups.len(), widths.len());
        Setting { graph, coupling, folder }
    }

    fn plan(&self, keep: &[&str], overhead: f64) -> Result<Plan, PlanningError> {
        self.plan_by(&options(keep), &|file| clocked(file, overhead))
    }

    fn plan_by(&self, options: &PlanOptions, clock: &dyn Fn(&Path) -> f64) -> Result<Plan, PlanningError> {
        let mut clock =
            |request: &LatencyRequest| Ok(request.jobs.iter().map(|job| timing(clock(&job.model))).collect());
        let mut stopwatch = Stopwatch {
            options: LatencyOptions::default(),
            batch: 1,
            cache: Some(self.folder.path()),
            rounds: ROUNDS,
            clock: &mut clock,
        };
        plan_timed(&self.graph, options, &mut stopwatch, &mut |_| true)
    }

    fn table(&self, times: &mut Times) -> (LatencyTable, usize) {
        self.table_without(&|_| false, times)
    }

    /// With a clock that refuses some files.
    fn table_without(&self, refuses: &dyn Fn(&Path) -> bool, times: &mut Times) -> (LatencyTable, usize) {
        let calls = Cell::new(0);
        let mut clock = |request: &LatencyRequest| {
            calls.set(calls.get() + request.jobs.len());
            if request.jobs.iter().any(|job| refuses(&job.model)) {
                return Err(RuntimeError::Child { message: "not implemented".into() });
            }
            Ok(request.jobs.iter().map(|job| timing(clocked(&job.model, 0.0))).collect())
        };
        let sizes = Bindings::from([("batch".into(), 1)]);
        let table =
            LatencyTable::measure(&self.graph, &self.coupling, &sizes, times, 1, &mut clock, &mut |_, _| {
                true
            });
        (table.unwrap(), calls.get())
    }
}

fn options(keep: &[&str]) -> PlanOptions {
    PlanOptions {
        method: method("random").unwrap(),
        budget: Budget::new(keep.iter().map(|limit| limit.parse().unwrap()).collect()).unwrap(),
        ..PlanOptions::default()
    }
}

#[test]
fn a_curve_goes_through_the_grid_and_is_linear_between() {
    let grid = Grid::new(&[64, 64]);
    let points = grid.points();
    assert!(points.iter().all(|p| p.len() == 2 && p.iter().all(|w| (1..=64).contains(w))));
    // Linear in both axes where a block that is begun costs a whole one, and kernels for odd widths take half as long again.
    let own = |w: usize| w.next_multiple_of(16) as f64 * if w % 2 == 1 { 1.5 } else { 1.0 };
    let time = |p: &[usize]| own(p[0]) * own(p[1]);
    let curve = grid.curve(points.iter().map(|p| Some(time(p))).collect()).unwrap();
    for widths in [[64, 64], [16, 32], [48, 48], [32, 16], [40, 64], [63, 48], [36, 44], [17, 25], [59, 21]] {
        let (found, expected) = (curve.milliseconds(&widths), time(&widths));
        assert!((found - expected).abs() < 1e-9 * expected, "{widths:?}: {found} and {expected}");
    }
    let small = curve.milliseconds(&[1, 1]);
    assert!(small > 0.0 && small < curve.milliseconds(&[16, 16]));
}

#[test]
fn short_and_many_axes_have_few_points() {
    assert_eq!(Grid::new(&[]).points(), [Vec::<usize>::new()]);
    assert!(Grid::new(&[1, 2]).points().contains(&vec![1, 2]));
    assert!(Grid::new(&[512, 512, 512, 512, 512]).points().len() <= 125 + 5 * 14);
    let grid = Grid::new(&[64]);
    let count = grid.points().len();
    assert!(grid.clone().curve(vec![None; count]).is_none());
    // Widths that the op cannot have are no bargain.
    let mut times = vec![None; count];
    let whole = grid.points().iter().position(|point| point == &[64]).unwrap();
    times[whole] = Some(3.0);
    assert_eq!(grid.curve(times).unwrap().milliseconds(&[32]), 3.0);
}

#[test]
fn layers_alone_compute_what_they_do_in_the_model() {
    let setting = Setting::new(&[64, 48]);
    let layers = setting.coupling.layers(&setting.graph);
    assert_eq!(
        layers.iter().map(|l| l.full().to_vec()).collect::<Vec<_>>(),
        [vec![64], vec![64, 48], vec![48]]
    );
    for (batch, macs) in [(1, 40 * 24), (32, 32 * 40 * 24)] {
        let sizes = Bindings::from([("batch".into(), batch)]);
        let layer = |at: usize, widths: &[usize]| {
            layers[at].model(&setting.graph, &setting.coupling, widths, &sizes).unwrap().unwrap()
        };
        let middle = layer(1, &[40, 24]);
        assert_eq!(Graph::from_model(middle.model).unwrap().cost().macs.known(), Some(macs));
        assert_eq!(layer(1, &[40, 24]).key, middle.key);
        assert_ne!(layer(1, &[24, 40]).key, middle.key);
    }
    let unbound = layers[0].model(&setting.graph, &setting.coupling, &[64], &Bindings::new()).unwrap();
    assert!(unbound.is_none());
}

#[test]
fn a_table_is_measured_once_for_a_machine_and_each_layer_once() {
    let machine = |threads| Machine { cpu: "a CPU".into(), onnxruntime: "1.99".into(), threads };
    // The two layers in the middle are the same, and the first is one of their widths.
    let setting = Setting::new(&[32, 32, 32]);
    let cache = Some(setting.folder.path());
    let (table, calls) = setting.table(&mut Times::open(machine(1), cache));
    let points = |full: &[usize]| Grid::new(full).points().len();
    assert_eq!(calls, points(&[32, 32]) + points(&[32]));
    assert_eq!(calls, table.measured);
    let all = Remaining::new(&setting.coupling);
    assert!((table.sum(&all) - clocked(Path::new(setting.graph.source.file()), 0.0)).abs() < 1e-9);
    let (again, calls) = setting.table(&mut Times::open(machine(1), cache));
    assert_eq!((calls, again.measured), (0, 0));
    assert_eq!(again.sum(&all), table.sum(&all));
    assert!(setting.table(&mut Times::open(machine(2), cache)).1 > 0);
    assert!(setting.table(&mut Times::open(machine(1), None)).1 > 0);
}

#[test]
fn layers_that_cannot_be_timed_alone_cost_no_table_also_where_all_others_are_known() {
    let machine = || Machine { cpu: "a CPU".into(), onnxruntime: "1.99".into(), threads: 1 };
    let setting = Setting::new(&[64, 48]);
    let cache = Some(setting.folder.path());
    // The last layer, whose 10 outputs stay.
    let last = |file: &Path| {
        let graph = Graph::read(file).unwrap();
        let mut nodes = graph.nodes.values().filter(|node| node.op.name() == "MatMul");
        nodes.any(|node| graph.values[node.inputs[1].unwrap()].fact.known_shape().unwrap()[1] == 10)
    };
    let (table, _) = setting.table_without(&last, &mut Times::open(machine(), cache));
    let (again, calls) = setting.table_without(&last, &mut Times::open(machine(), cache));
    let all = Remaining::new(&setting.coupling);
    assert!(calls > 0 && again.measured < table.measured, "only what was refused is tried again");
    assert!(!again.is_empty() && again.sum(&all) == table.sum(&all));
}

#[test]
fn a_limit_on_latency_is_met_as_measured_also_where_half_of_the_time_stays() {
    let setting = Setting::new(&[128, 128, 96]);
    let whole = clocked(Path::new(setting.graph.source.file()), 0.0);
    for overhead in [0.0, whole] {
        let all = whole + overhead;
        let absolute = format!("latency={}ms", 0.7 * all);
        for (keep, allowed) in [("latency=0.7", 0.7 * all), (&*absolute, 0.7 * all)] {
            let plan = setting.plan(&[keep], overhead).unwrap();
            let chosen = plan.latency.iter().find(|round| round.chosen).unwrap();
            assert!((chosen.measured_ms / allowed - 1.0).abs() <= 0.05, "{:?}", plan.latency);
            assert!(plan.beyond_latency().unwrap() <= 0.05);
            let reached = &plan.reached["latency"];
            assert_eq!((reached.kept, reached.of), (chosen.measured_ms, all));
            assert_eq!(plan.asked.keep[0].parse(), Ok(keep.parse::<crate::search::Limit>().unwrap()));
            let text = serde_json::to_string(&plan).unwrap();
            assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
        }
    }
}

#[test]
fn a_limit_that_is_found_unmeetable_in_measuring_says_what_is_measured_to_be_nearest() {
    let setting = Setting::new(&[128, 128, 96]);
    let overhead = clocked(Path::new(setting.graph.source.file()), 0.0);
    // Half of the time stays, which the table of layers does not know.
    let Err(PlanningError::Select(SelectError::Unmeetable { nearest, .. })) =
        setting.plan(&["latency=0.4"], overhead)
    else {
        panic!("the limit is met");
    };
    let share = nearest[0].share();
    assert!((0.5..0.6).contains(&share), "{nearest:?}");
    let plan = setting.plan(&[&format!("latency={:.3}", share + 0.001)], overhead).unwrap();
    assert!(plan.beyond_latency().unwrap() <= 0.05, "{:?}", plan.latency);
}

#[test]
fn the_smallest_model_is_searched_for_also_where_measuring_says_that_the_end_cannot_be_met() {
    let setting = Setting::new(&[128, 128, 96]);
    // Half of the time stays, which the table of layers does not know; all that can be met loses little enough.
    let overhead = clocked(Path::new(setting.graph.source.file()), 0.0);
    let mut best: f64 = 1.0;
    let search =
        furthest(0.7, |way| match setting.plan(&[&format!("latency={:.4}", 1.0 - 0.7 * way)], overhead) {
            Ok(plan) => {
                best = best.min(plan.reached["latency"].share);
                Ok(true)
            }
            Err(PlanningError::Select(SelectError::Unmeetable { .. })) => Ok(false),
            Err(error) => Err(error),
        });
    search.unwrap();
    assert!((0.5..0.6).contains(&best), "{best}");
}

fn implanting(share: f64, keep: &str) -> PlanOptions {
    let implant = ImplantSettings { share: ImplantShare::Share(share), ..ImplantSettings::default() };
    PlanOptions { implant, ..options(&[keep]) }
}

#[test]
fn what_is_timed_is_the_model_that_the_plan_makes_with_implants_too() {
    let setting = Setting::new(&[128, 128, 96]);
    let plan = setting.plan_by(&implanting(0.5, "latency=0.7"), &|file| clocked(file, 0.0)).unwrap();
    assert!(!plan.implants.is_empty());
    let file = setting.folder.path().join("applied.onnx");
    let applied = apply(&setting.graph, &plan).unwrap();
    write(&applied.graph.to_model(), &file, &WriteOptions::default()).unwrap();
    assert_eq!(plan.reached["latency"].kept, clocked(&file, 0.0), "{:?}", plan.latency);
}

#[test]
fn what_implants_take_is_not_taken_to_stay_without_them() {
    let setting = Setting::new(&[128, 128, 96]);
    let whole = clocked(Path::new(setting.graph.source.file()), 0.0);
    // Whatever computes rows in parts takes half of the original's time more.
    let clock = |file: &Path| {
        let parts = Graph::read(file).unwrap().nodes.values().any(|node| node.op.name() == "Concat");
        clocked(file, 0.0) + if parts { 0.5 * whole } else { 0.0 }
    };
    let plan = setting.plan_by(&implanting(0.3, "latency=0.4"), &clock).unwrap();
    assert!(plan.beyond_latency().unwrap() <= 0.05, "{:?}", plan.latency);
    assert!(plan.latency[0].measured_ms > 0.6 * whole, "{:?}", plan.latency);
}

#[test]
fn widths_are_those_that_are_fast() {
    let setting = Setting::new(&[128, 128, 96]);
    let plan = setting.plan(&["latency=0.6"], 0.0).unwrap();
    // A block that is begun costs as much as a whole one.
    let aligned = plan.groups.iter().filter(|group| group.kept.len().is_multiple_of(8)).count();
    assert!(
        aligned + 1 >= plan.groups.len(),
        "{:?}",
        plan.groups.iter().map(|g| g.kept.len()).collect::<Vec<_>>()
    );
}

#[test]
fn other_limits_hold_beside_latency() {
    let setting = Setting::new(&[128, 128, 96]);
    let plan = setting.plan(&["latency=0.8", "bytes=0.3"], 0.0).unwrap();
    assert!(plan.reached["bytes"].share <= 0.3 && plan.reached["latency"].share <= 0.84);
    let error = setting.plan(&["latency=0.001"], 0.0).unwrap_err();
    assert!(error.to_string().contains("latency=0.001 cannot be met; the nearest is latency=0."), "{error}");
    let error = setting.plan(&["latency=100s"], 0.0).unwrap_err();
    assert!(error.to_string().contains("already meets latency=100000ms"), "{error}");
}

#[test]
fn what_cannot_be_timed_is_an_error_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&["latency=0.5"]);
    let plan = |graph: &Graph, fails: bool, stops: bool| {
        let mut clock = |request: &LatencyRequest| match fails {
            true => Err(RuntimeError::Child { message: "it ended".into() }),
            false => Ok(request.jobs.iter().map(|job| timing(clocked(&job.model, 0.0))).collect()),
        };
        let options_ = LatencyOptions::default();
        let mut stopwatch =
            Stopwatch { options: options_, batch: 1, cache: None, rounds: 1, clock: &mut clock };
        plan_timed(graph, &options, &mut stopwatch, &mut |p| {
            !stops || matches!(p, TimedProgress::Layers { .. })
        })
    };
    let unbound = dense(&[16], &["batch", "length", "32"], folder.path());
    let error = plan(&unbound, false, false).unwrap_err().to_string();
    assert!(error.contains("symbolic size length; bind it with --dim length=N"), "{error}");
    let graph = dense(&[16], &["batch", "32"], folder.path());
    let error = plan(&graph, true, false).unwrap_err().to_string();
    assert!(
        error.contains("latency is limited, and cannot be measured") && error.contains("it ended"),
        "{error}"
    );
    assert!(matches!(plan(&graph, false, true), Err(PlanningError::Interrupted)));
    assert!(plan(&graph, false, false).is_ok());
}
