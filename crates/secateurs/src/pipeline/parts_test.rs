//! Budgets over named parts, and pruning among named units.

use secateurs_graph::coupling::{Costs, CouplingOptions, Remaining};
use secateurs_graph::{Bindings, Graph};
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

use super::{PlanOptions, PlanParts, apply, plan};
use crate::methods::method;
use crate::plan::Plan;
use crate::search::{Budget, Parts};

fn weights(shape: &[usize]) -> Tensor {
    let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| (1.3 * i as f32).sin()).collect();
    Tensor::from_slice(shape.to_vec(), &values).unwrap()
}

/// A table of 100 rows; an encoder whose first matrix has a name and whose second one has none, but its node; a head.
fn model() -> Graph {
    let model = ModelBuilder::new(17)
        .input("ids", ElementType::Int64, &["batch", "5"])
        .constant("embeddings.table", &weights(&[100, 4]))
        .constant("encoder.0.up", &weights(&[4, 20]))
        .constant("anonymous_1", &weights(&[20, 4]))
        .constant("head.hidden", &weights(&[4, 20]))
        .constant("head.out", &weights(&[20, 3]))
        .node("Gather", &["embeddings.table", "ids"], &["x"])
        .node("MatMul", &["x", "encoder.0.up"], &["a"])
        .node("Relu", &["a"], &["b"])
        .node("MatMul", &["b", "anonymous_1"], &["c"])
        .node("MatMul", &["c", "head.hidden"], &["d"])
        .node("Relu", &["d"], &["e"])
        .node("MatMul", &["e", "head.out"], &["y"]);
    let mut graph = Graph::from_model(model.output("y").build().unwrap()).unwrap();
    let second =
        graph.order.iter().copied().filter(|&id| graph.nodes[id].op.name() == "MatMul").nth(1).unwrap();
    graph.nodes[second].name = "/encoder/0/down/MatMul".into();
    graph
}

fn planned(graph: &Graph, keep: &str, among: &[&str], count: &[&str]) -> Result<Plan, String> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let options = PlanOptions {
        method: method("random").unwrap(),
        seed: 1,
        budget: Budget::new(vec![keep.parse().unwrap()]).unwrap(),
        parts: PlanParts { among: owned(among), count: Parts(owned(count)) },
        ..PlanOptions::default()
    };
    plan(graph, &options).map_err(|e| e.to_string())
}

#[test]
fn a_budget_counts_the_parts_that_are_named() {
    let graph = model();
    let coupling = graph.coupling(&CouplingOptions::default());
    let sizes = Bindings::from([("batch".into(), 1)]);
    let encoder = Parts(vec!["encoder.*".into()]);
    let costs = Costs::of_parts(&graph, &coupling, &sizes, &|name| encoder.has(name));
    let all = Remaining::new(&coupling);
    assert_eq!((costs.params(&all), costs.bytes(&all)), (160, 640));
    assert_eq!(costs.macs(&all).known(), Some(5 * 160));
    for (keep, of) in [("params=0.5", 160.0), ("bytes=0.5", 640.0), ("macs=0.5", 800.0)] {
        let plan = planned(&graph, keep, &[], &["encoder.*"]).unwrap();
        let reached = plan.reached.values().next().unwrap();
        assert_eq!(reached.of, of, "{keep}");
        assert!(reached.kept <= of / 2.0 && reached.kept > 0.4 * of, "{keep}: {}", reached.kept);
        assert_eq!(plan.asked.count, ["encoder.*"]);
        let smaller = apply(&graph, &plan).unwrap().graph;
        let [up, down] = ["encoder.0.up", "anonymous_1"].map(|name| {
            smaller.tensor(smaller.value_named(name).unwrap()).unwrap().shape().iter().product::<usize>()
        });
        if keep.starts_with("params") {
            assert_eq!((up + down) as f64, reached.kept);
        }
    }
    let none = planned(&graph, "params=0.5", &[], &["decoder.*"]).unwrap_err();
    assert!(none.contains("--count decoder.*") && none.contains("inspect"), "{none}");
    // Each pattern counts something.
    let both = |second: &str| planned(&graph, "params=0.5", &[], &["encoder.*", second]);
    assert_eq!(both(" head.* ").unwrap().reached["params"].of, 160.0 + 140.0);
    for (second, name) in [("hed.*", "'hed.*'"), ("", "''")] {
        let error = both(second).unwrap_err();
        assert!(error.contains("--count encoder.*,") && error.contains(name), "{error}");
    }
}

#[test]
fn units_go_among_those_that_are_named_and_units_are_counted_there() {
    let graph = model();
    for (among, parameter) in [("head.hidden", "head.hidden"), ("encoder.0", "encoder.0.up")] {
        // The stream's group has parameters of both: it is among them, too.
        let plan = planned(&graph, "units=0.75", &[among], &[]).unwrap();
        assert!(!plan.groups.is_empty());
        for group in &plan.groups {
            assert!(
                group.parameters.iter().any(|name| name.starts_with(parameter)),
                "{:?}",
                group.parameters
            );
        }
        assert!(plan.reached["units"].of < 44.0);
    }
    let error = planned(&graph, "units=0.5", &["attention head"], &[]).unwrap_err();
    for part in ["--among attention head", "neuron", "what cannot be pruned", "inspect --groups"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let names = |names: &[&str]| planned(&graph, "units=0.75", names, &[]);
    let all = names(&["head.hidden", " encoder.0"]).unwrap();
    assert!(all.reached["units"].of > names(&["head.hidden"]).unwrap().reached["units"].of);
    for (second, word) in [("", "a name is empty"), (" ", "a name is empty"), ("hed", "'hed' in a name")] {
        let error = names(&["head.hidden", second]).unwrap_err();
        assert!(error.contains("--among head.hidden,") && error.contains(word), "{error}");
    }
    // The rest is pruned all the same.
    assert!(planned(&graph, "units=0.5", &[], &[]).is_ok());
}
