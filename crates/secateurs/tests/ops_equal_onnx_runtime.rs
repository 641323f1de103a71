//! Every case in the ops' own files, against ONNX Runtime with graph optimisations off.

use std::sync::Arc;

use secateurs::runtime::{Optimisation, OrtModel, SessionOptions as RuntimeOptions, relative_difference};
use secateurs_graph::Graph;
use secateurs_graph::harness::Case;
use secateurs_graph::ops::REGISTRY;
use secateurs_graph::session::{Session, SessionOptions};
use secateurs_onnx::{Model, Tensor, encode};

#[test]
fn every_case_of_every_op_equals_onnx_runtime() {
    let (mut failures, mut compared) = (Vec::new(), 0);
    for entry in REGISTRY {
        for (i, (case, model)) in (entry.cases)().into_iter().enumerate() {
            if !case.runtime {
                continue;
            }
            compared += 1;
            if let Err(reason) = check(&case, model) {
                failures.push(format!(
                    "{} case {i} (opset {}, {:?}): {reason}",
                    entry.name, case.opset, case.attributes
                ));
            }
        }
    }
    eprintln!("{compared} cases compared");
    assert!(failures.is_empty(), "{} cases differ:\n{}", failures.len(), failures.join("\n"));
}

fn check(case: &Case, model: Model) -> Result<(), String> {
    let bytes = encode(&model).map_err(|e| e.to_string())?;
    let graph = Arc::new(Graph::from_model(model).map_err(|e| e.to_string())?);
    let fed = case.fed_tensors();
    let named: Vec<(String, Tensor)> =
        graph.inputs.iter().map(|&v| graph.values[v].name.clone()).zip(fed.iter().cloned()).collect();
    let options = RuntimeOptions { optimisation: Optimisation::Off, ..RuntimeOptions::default() };
    let theirs = OrtModel::from_bytes("case", &bytes, &options)
        .and_then(|mut model| model.run(&named))
        .map_err(|e| e.to_string())?;
    let session = Session::new(graph, SessionOptions::default()).map_err(|e| e.to_string())?;
    let ours = session.run(&fed).map_err(|e| e.to_string())?;
    for (ours, (name, theirs)) in ours.iter().zip(&theirs) {
        if ours.element_type() != theirs.element_type() || ours.shape() != theirs.shape() {
            let got = format!("{}{:?}", ours.element_type(), ours.shape());
            return Err(format!("'{name}' is {got}, theirs {}{:?}", theirs.element_type(), theirs.shape()));
        }
        let difference = relative_difference(ours, theirs);
        // Two empty tensors, or NaN in the same places, do not differ.
        if difference.is_nan() || difference > case.tolerance {
            return Err(format!("'{name}' differs by {difference:.1e}: {ours:?} and {theirs:?}"));
        }
    }
    Ok(())
}
