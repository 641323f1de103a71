//! Traces against second derivatives of every weight.

use std::sync::Arc;

use secateurs_graph::Graph;
use secateurs_graph::coupling::CouplingOptions;
use secateurs_graph::session::{Session, SessionOptions};
use secateurs_onnx::ElementType;
use secateurs_onnx::ModelBuilder;
use secateurs_onnx::proto::AttributeProto;
use secateurs_torch::tch::{Kind, Tensor};

use super::weights::Weights;
use super::{Sums, per_sample};
use crate::data::Dataset;
use crate::evidence::tests::{
    assert_near, assert_unbiased, attention, convolutional, data, double, graph, ints, measured, tied,
    two_outputs, wave,
};
use crate::evidence::{Estimator, MeasureOptions, Score, Trace};
use crate::tune::{heads, inputs};

/// Convolutions of one axis, dilated, depthwise and transposed, with biases of all kinds; slopes.
fn odd() -> Arc<Graph> {
    let attribute = |name: &str, values: &[i64]| AttributeProto::from_ints(name, values);
    graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "2", "9"])
            .constant("w1", &wave(&[4, 2, 3], 0.71, 0.5, 0.0))
            .constant("b1", &wave(&[4], 0.3, 0.2, 0.1))
            .constant("slope", &wave(&[4, 1], 0.5, 0.1, 0.2))
            .constant("w2", &wave(&[4, 1, 2], 0.43, 0.6, 0.0))
            .constant("w3", &wave(&[4, 6, 3], 1.31, 0.4, 0.0))
            .constant("fc", &wave(&[6, 3], 0.53, 0.6, 0.0))
            // As PyTorch's exporter writes the biases of layers that have none.
            .constant("four", &ints(&[4]))
            .constant("six", &ints(&[6]))
            .node("ConstantOfShape", &["four"], &["b2"])
            .node("ConstantOfShape", &["six"], &["b3"])
            .node_with(
                "Conv",
                &["x", "w1", "b1"],
                &["c1"],
                vec![attribute("dilations", &[2]), attribute("pads", &[2, 2])],
            )
            .node("PRelu", &["c1", "slope"], &["r1"])
            .node_with("Conv", &["r1", "w2", "b2"], &["c2"], vec![AttributeProto::from_int("group", 4)])
            .node("Tanh", &["c2"], &["r2"])
            .node_with("ConvTranspose", &["r2", "w3", "b3"], &["c3"], vec![attribute("strides", &[2])])
            .node("Relu", &["c3"], &["r3"])
            .node("GlobalAveragePool", &["r3"], &["pool"])
            .node("Flatten", &["pool"], &["f"])
            .node("MatMul", &["f", "fc"], &["logits"])
            .output("logits"),
    )
}

fn models() -> [Arc<Graph>; 5] {
    [convolutional(true), attention(), two_outputs(), tied(), odd()]
}

/// Traces and HAP's scores from the second derivative of the loss by every single weight.
fn by_double_backward(graph: &Arc<Graph>, data: &Arc<Dataset>) -> (Vec<f64>, Vec<f64>) {
    let coupling = graph.coupling(&CouplingOptions::default());
    let weights = Weights::new(graph, &coupling).unwrap();
    let options = SessionOptions { train_parameters: true, fuse: false, ..double().session };
    let session = Session::new(graph.clone(), options).unwrap();
    let heads = heads(graph, data, &[], double().objective).unwrap();
    let batch = data.batch(&(0..data.len()).collect::<Vec<_>>()).unwrap();
    let run = session.forward(&inputs(&session, &batch).unwrap(), &[]).unwrap();
    let mut loss = Tensor::f_zeros([], (Kind::Double, options.device)).unwrap();
    for head in &heads {
        let output = &run.outputs[head.index];
        loss = loss.f_add(&head.closeness(output, &output.f_detach().unwrap()).unwrap()).unwrap();
    }
    let all: Vec<usize> = (0..weights.parts.len()).collect();
    let tensors = per_sample::tensors(&session, &weights, &all);
    let mut sums = Sums::zeros(1, weights.units).unwrap();
    for (value, tensor) in &tensors {
        let first = Tensor::f_run_backward(&[&loss], &[*tensor], true, true).unwrap().swap_remove(0);
        let flat = first.f_reshape([-1]).unwrap();
        let second = (0..flat.numel() as i64).map(|i| {
            let of = Tensor::f_run_backward(&[&flat.f_select(0, i).unwrap()], &[*tensor], true, false);
            of.unwrap()[0].f_reshape([-1]).unwrap().f_double_value(&[i]).unwrap()
        });
        let diagonal = Tensor::f_from_slice(&second.collect::<Vec<_>>()).unwrap().f_view_as(tensor).unwrap();
        for part in weights.parts.iter().filter(|part| part.parameter == *value) {
            part.add(&mut sums, &diagonal).unwrap();
        }
    }
    let host = |tensor: Tensor| Vec::try_from(tensor.f_view([-1]).unwrap()).unwrap();
    (host(sums.all), host(sums.counted.f_mul(&weights.factor).unwrap()))
}

#[test]
fn exact_traces_are_those_of_the_exact_hessian() {
    let folder = tempfile::tempdir().unwrap();
    secateurs_torch::load().unwrap();
    for graph in models() {
        let data = data(&graph, folder.path(), None);
        let (trace, hap) = by_double_backward(&graph, &data);
        assert!(trace.iter().any(|trace| *trace > 1e-4) && hap.iter().any(|hap| *hap > 1e-6));
        // With as many directions as any filter has weights nothing is drawn.
        for way in [Trace::PerSample, Trace::Projected] {
            let options = MeasureOptions { trace: Some(way), directions: 1000, ..double() };
            let evidence = measured(&graph, &data, &options);
            assert_near(&evidence.score(Score::Trace).unwrap().values, &trace, 1e-8);
            assert_near(&evidence.score(Score::HapTrace).unwrap().values, &hap, 1e-8);
        }
    }
}

#[test]
fn a_layer_is_projected_wherever_it_is_linear_in_what_makes_its_units() {
    // Of tied weights only all readers together give the gradient.
    for (graph, left) in models().into_iter().zip([0, 1, 0, 1, 0]) {
        secateurs_torch::load().unwrap();
        let coupling = graph.coupling(&CouplingOptions::default());
        let weights = Weights::new(&graph, &coupling).unwrap();
        let projected = super::Projected::new(&graph, &coupling, &weights);
        let names = projected.missing().iter().map(|&part| &graph.values[weights.parts[part].parameter].name);
        let names: Vec<&String> = names.collect();
        assert_eq!(names.len(), left, "{names:?}");
    }
}

#[test]
fn what_is_drawn_is_right_in_the_mean() {
    let folder = tempfile::tempdir().unwrap();
    secateurs_torch::load().unwrap();
    secateurs_torch::tch::set_num_threads(1);
    for graph in [convolutional(true), attention(), odd()] {
        let data = data(&graph, folder.path(), None);
        let options = MeasureOptions { trace: Some(Trace::PerSample), ..double() };
        let exact = measured(&graph, &data, &options).score(Score::Trace).unwrap().values;
        let ways = [
            (Trace::PerSample, Estimator::OnePass),
            (Trace::PerSample, Estimator::Labels),
            (Trace::Projected, Estimator::OnePass),
            (Trace::Hutchinson, Estimator::OnePass),
        ];
        for (way, estimator) in ways {
            let seeds = 40;
            let runs: Vec<Vec<f64>> = (0..seeds)
                .map(|seed| {
                    let trace = Some(way);
                    let options = MeasureOptions { trace, directions: 2, estimator, seed, ..double() };
                    measured(&graph, &data, &options).score(Score::Trace).unwrap().values
                })
                .collect();
            assert_unbiased(&runs, &exact, &format!("{way:?}, {estimator:?}"));
        }
    }
}
