//! EfficientNet-Lite0 with its ImageNet weights on 20 photographs (`cargo xtask data --only photographs`): it runs as in ONNX Runtime and gets
//! 18 of them right, as it did in PyTorch, and plans by what was measured on them, implants included, are exact in both engines.
//! Skipped where the data are not there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secateurs::data::{DataOptions, Dataset};
use secateurs::evidence::{Evidence, MeasureJob, MeasureOptions, measure};
use secateurs::implants::{ImplantSettings, ImplantShare};
use secateurs::methods::method;
use secateurs::pipeline::{
    Engine, EvaluateOptions, PlanOptions, apply_from, evaluate, macs_sizes, open_data, plan,
};
use secateurs::rng::Rng;
use secateurs::search::{Budget, Limit, Resource};
use secateurs::tune::Objective;
use secateurs_graph::session::SessionOptions;
use secateurs_graph::{Bindings, Graph};
use secateurs_torch::tch;

use crate::implants::start;
use crate::models::ZooModel;
use crate::practice::equal_to_onnx_runtime;
use crate::pruning::{Bench, write_graph};
use crate::python::Script;

const RIGHT: u64 = 18;
const KEPT: f64 = 0.7;

fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/photographs");
    let there = folder.join("efficientnet-lite0.onnx").is_file();
    if !there {
        eprintln!("skipped: the photographs are not there ({})", folder.display());
        return None;
    }
    secateurs_torch::load().unwrap();
    tch::set_num_threads(1);
    Some(folder)
}

fn efficientnet(folder: &Path) -> ZooModel {
    let input = serde_json::json!({"name": "input", "shape": [1, 3, 224, 224], "dtype": "float32", "dynamic_batch": true});
    ZooModel {
        name: "efficientnet-lite0".into(),
        path: folder.join("efficientnet-lite0.onnx"),
        inputs: vec![input],
    }
}

/// The photographs as the model takes them, in the folders of their classes.
fn photographs(folder: &Path, graph: &Graph) -> Arc<Dataset> {
    let options = DataOptions {
        classes: Some((0..1000).map(|class| class.to_string()).collect()),
        model_folder: Some(folder.to_owned()),
        ..DataOptions::default()
    };
    let data = open_data(graph, &folder.join("labelled"), &options, None, Objective::Auto).unwrap();
    assert_eq!(data.len(), 20);
    Arc::new(data)
}

#[test]
fn efficientnet_runs_as_in_onnx_runtime_and_gets_the_photographs_right_that_it_got_right_in_pytorch() {
    let Some(folder) = folder() else { return };
    let model = efficientnet(&folder);
    let graph = Graph::read(&model.path).unwrap();
    equal_to_onnx_runtime(&model, graph.clone()).unwrap();
    let data = photographs(&folder, &graph);
    let graph = Arc::new(graph);
    let onnx_runtime = Engine::OnnxRuntime { model: model.path.clone(), threads: Some(1) };
    for engine in [Engine::Libtorch(SessionOptions::default()), onnx_runtime] {
        let options = EvaluateOptions {
            batch_size: Some(10),
            samples: None,
            output: None,
            objective: Objective::Auto,
            engine,
        };
        let found = evaluate(graph.clone(), data.clone(), &options, |_, _, _| {}).unwrap();
        let right = found.met.unwrap().correct;
        assert!(right >= RIGHT, "{right} are right");
    }
}

#[test]
fn plans_of_efficientnet_with_implants_are_exact_in_both_engines() {
    let Some(folder) = folder() else { return };
    let model = efficientnet(&folder);
    let bench = Bench::new(&model).unwrap();
    let graph = Arc::new(bench.graph.clone());
    let data = photographs(&folder, &graph);
    let evidence = Arc::new(measured(&graph, &data, &bench.file("evidence.safetensors")));
    let checker = Script::start("check.py");
    for (name, share) in [
        ("joint", ImplantShare::Auto),
        ("quadratic", ImplantShare::Share(0.3)),
        ("magnitude", ImplantShare::Share(0.3)),
    ] {
        let method = method(name).unwrap();
        let budget = Budget::new(vec![Limit::share(Resource::Params, KEPT)]).unwrap();
        let options = PlanOptions {
            method,
            evidence: Some(evidence.clone()).filter(|_| method.needs_evidence()),
            budget,
            implant: ImplantSettings { share, ..ImplantSettings::default() },
            sizes: macs_sizes(&graph, &Bindings::new()),
            ..PlanOptions::default()
        };
        let plan = plan(&graph, &options).unwrap();
        let applied = |salt: u64| {
            let mut rng = Rng::new(0, "starting weights", salt, 0);
            apply_from(&graph, &plan, |request| Ok(Some(start(request, &mut rng)))).unwrap()
        };
        let other = applied(1);
        let applied = applied(0);
        assert!(applied.exact, "{name}");
        let kept = applied.after.params as f64 / applied.before.params as f64;
        assert!(kept <= KEPT && kept > KEPT - 0.02, "{name} keeps {kept}");
        let path = bench.file("smaller.onnx");
        write_graph(&applied.graph, &path).unwrap();
        checker.ask(&path).unwrap();
        let found = bench.differences(&path, &applied.masked).unwrap();
        if bench.within(&found).iter().any(Result::is_err) {
            bench.within_rounding(&found, &applied.masked).map_err(|e| format!("{name}: {e}")).unwrap();
        }
        if let ImplantShare::Share(_) = share {
            assert!(applied.implanted > 0, "{name} implants nothing");
            // Other weights of implants are noticed.
            let wrong = bench.differences(&path, &other.masked).unwrap();
            let [Err(_), Err(_)] = bench.within(&wrong) else { panic!("{name}: {wrong:?}") };
        }
        eprintln!("{name}: {} implanted, the engines find {found:?}", applied.implanted);
    }
}

fn measured(graph: &Arc<Graph>, data: &Arc<Dataset>, file: &Path) -> Evidence {
    let among: Vec<usize> = (0..data.len()).collect();
    let options = MeasureOptions { batch_size: 10, ..MeasureOptions::default() };
    let job = MeasureJob { graph, data, among: &among, options: &options, file };
    measure(&job, &mut |_| std::ops::ControlFlow::Continue(())).unwrap()
}
