//! Rows of single layers computed in another form, in ONNX Runtime.

#[allow(dead_code)]
#[path = "../../secateurs-graph/tests/implant/layer.rs"]
mod layer;
#[allow(dead_code)]
#[path = "../../secateurs-graph/tests/random_graphs/rng.rs"]
mod rng;
#[path = "../../secateurs-graph/tests/implant/start.rs"]
mod start;

use secateurs::runtime::{Optimisation, OrtModel, SessionOptions, relative_difference};
use secateurs_graph::Graph;
use secateurs_graph::surgery::{Equivalent, equivalent, implant};
use secateurs_onnx::{Tensor, encode};

fn run(graph: &Graph, feed: &[Tensor]) -> Result<Vec<(String, Tensor)>, String> {
    let bytes = encode(&graph.to_model()).map_err(|e| e.to_string())?;
    let options = SessionOptions { optimisation: Optimisation::Off, ..SessionOptions::default() };
    let names = graph.inputs.iter().map(|&v| graph.values[v].name.clone());
    let named: Vec<(String, Tensor)> = names.zip(feed.iter().cloned()).collect();
    OrtModel::from_bytes("layer", &bytes, &options)
        .and_then(|mut model| model.run(&named))
        .map_err(|e| format!("{e}: {graph:?}"))
}

#[test]
fn any_rows_of_any_layer_are_computed_as_by_the_equivalent_weights() {
    let mut compared = 0;
    for seed in 0..300 {
        let case = layer::case(seed);
        if !case.possible || !case.runtime {
            continue;
        }
        let mut other = case.graph.clone();
        implant(&case.graph, std::slice::from_ref(&case.implant)).unwrap().patch.apply(&mut other).unwrap();
        let mut twin = case.graph.clone();
        let channels = (0..case.channels).collect();
        let twins = [Equivalent { implant: case.implant, channels }];
        equivalent(&case.graph, &twins).unwrap().apply(&mut twin).unwrap();
        // A convolution of this kind that ONNX Runtime does not have.
        let Ok(expected) = run(&twin, &case.feed) else { continue };
        let found = run(&other, &case.feed).unwrap();
        for ((name, found), (_, expected)) in found.iter().zip(&expected) {
            let by = relative_difference(found, expected);
            assert!(by <= 1e-5, "seed {seed}: '{name}' differs by {by:e}\n{other:?}");
        }
        compared += 1;
    }
    assert!(compared > 200, "only {compared} layers were compared");
}
