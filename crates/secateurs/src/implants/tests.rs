//! What an implant can make is found whole, and what it cannot is known before.

use std::ops::ControlFlow;
use std::sync::Arc;

use secateurs_graph::coupling::{Coupling, CouplingOptions, Selection};
use secateurs_graph::session::{Session, SessionOptions};
use secateurs_graph::surgery::{Choice, Form, NodeForm};
use secateurs_graph::{Graph, GraphError, NodeId};
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::proto::attribute_proto::AttributeType;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

use super::*;
use crate::compensate::moments::Moments;
use crate::compensate::{CompensateJob, CompensateOptions, CompensateSettings, compensate};
use crate::data::{DataOptions, Dataset, npz};
use crate::pipeline::open_data;
use crate::rng::Rng;
use crate::tune::Objective;

const SAMPLES: usize = 64;

fn random(shape: &[usize], seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed, "implants", 0, 0);
    (0..shape.iter().product()).map(|_| rng.normal() as f32).collect()
}

fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_slice(shape.to_vec(), values).unwrap()
}

fn graph(model: ModelBuilder) -> Arc<Graph> {
    Arc::new(Graph::from_model(model.build().unwrap()).unwrap())
}

/// A 3×3 convolution of 8 channels, of which the last four only look at the centre, and a reader.
fn convolutions() -> Arc<Graph> {
    let mut weight = random(&[8, 3, 3, 3], 1);
    for row in 4..8 {
        for channel in 0..3 {
            (0..9).filter(|tap| *tap != 4).for_each(|tap| weight[(row * 3 + channel) * 9 + tap] = 0.0);
        }
    }
    graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "3", "6", "6"])
            .constant("w", &tensor(&[8, 3, 3, 3], &weight))
            .constant("b", &tensor(&[8], &random(&[8], 2)))
            .constant("v", &tensor(&[4, 8, 1, 1], &random(&[4, 8], 3)))
            .node_with("Conv", &["x", "w", "b"], &["h"], vec![AttributeProto::from_ints("pads", [1; 4])])
            .node("Relu", &["h"], &["r"])
            .node("Conv", &["r", "v"], &["y"])
            .output("y"),
    )
}

/// A 3×3 convolution of 16 channels at a size where every so many-th position lies at the border.
fn pictures() -> Arc<Graph> {
    graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "16", "32", "32"])
            .constant("w", &tensor(&[16, 16, 3, 3], &random(&[16, 16, 3, 3], 1)))
            .constant("v", &tensor(&[4, 16, 1, 1], &random(&[4, 16], 3)))
            .node_with("Conv", &["x", "w"], &["h"], vec![AttributeProto::from_ints("pads", [1; 4])])
            .node("Relu", &["h"], &["r"])
            .node("Conv", &["r", "v"], &["y"])
            .output("y"),
    )
}

/// A matrix of 12 rows, whose last eight lie in a space of two dimensions, and a reader.
fn matrices(batch: &str, alpha: f32) -> Arc<Graph> {
    let (mut weight, basis) = (random(&[10, 12], 4), random(&[2, 10], 5));
    let mixed = random(&[8, 2], 6);
    let factor = AttributeProto {
        name: Some("alpha".into()),
        r#type: Some(AttributeType::Float.into()),
        f: Some(alpha),
        ..AttributeProto::default()
    };
    for row in 0..8 {
        for channel in 0..10 {
            weight[channel * 12 + 4 + row] =
                (0..2).map(|k| mixed[row * 2 + k] * basis[k * 10 + channel]).sum();
        }
    }
    graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &[batch, "10"])
            .constant("w", &tensor(&[10, 12], &weight))
            .constant("b", &tensor(&[12], &random(&[12], 7)))
            .constant("v", &tensor(&[12, 3], &random(&[12, 3], 8)))
            .node_with("Gemm", &["x", "w", "b"], &["h"], vec![factor])
            .node("Relu", &["h"], &["r"])
            .node("MatMul", &["r", "v"], &["y"])
            .output("y"),
    )
}

struct Case {
    graph: Arc<Graph>,
    coupling: Coupling,
    x: Tensor,
    data: Arc<Dataset>,
    samples: Vec<usize>,
    _folder: tempfile::TempDir,
}

impl Case {
    fn new(graph: Arc<Graph>) -> Case {
        Case::of(graph, SAMPLES)
    }

    fn of(graph: Arc<Graph>, samples: usize) -> Case {
        let sizes = graph.values[graph.inputs[0]].fact.shape.clone().unwrap();
        let rest = sizes[1..].iter().map(|n| n.known().unwrap() as usize);
        let shape: Vec<usize> = [samples].into_iter().chain(rest).collect();
        let x = tensor(&shape, &random(&shape, 9));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npz");
        npz::write(&path, &[("x", &x)]).unwrap();
        let data = open_data(&graph, &path, &DataOptions::default(), None, Objective::Auto).unwrap();
        let coupling = graph.coupling(&CouplingOptions::default());
        let samples = (0..samples).collect();
        Case { coupling, x, data: Arc::new(data), samples, graph, _folder: folder }
    }

    fn stream(&self) -> Stream<'_> {
        Stream {
            graph: &self.graph,
            data: &self.data,
            samples: &self.samples,
            batch_size: 16,
            session: SessionOptions::default(),
        }
    }

    fn explained(&self) -> Vec<Explained> {
        let (explained, few) =
            explain(&self.stream(), &self.coupling, &mut || ControlFlow::Continue(())).unwrap();
        assert_eq!(few, 0);
        explained
    }

    fn moments(&self, op: &str) -> Moments {
        let sites = self.coupling.sites(&self.graph);
        let site = sites.iter().find(|site| site.node == self.node(op)).unwrap();
        let mut moments = self.stream().moments(&[site], &mut |_| ControlFlow::Continue(())).unwrap();
        moments.remove(&site.node).unwrap()
    }

    fn node(&self, name: &str) -> NodeId {
        *self.graph.order.iter().find(|id| self.graph.nodes[**id].op.name() == name).unwrap()
    }

    fn choice(&self, implanted: &[usize], form: NodeForm) -> Choice {
        let selection = Selection::all(&self.coupling);
        Choice { selection, implanted: vec![implanted.to_vec()], forms: vec![form] }
    }

    /// How far the model with implants is from the original, in the largest number.
    fn distance(&self, implanted: &[usize], form: NodeForm) -> f64 {
        let choice = self.choice(implanted, form);
        let mut observe = |_| ControlFlow::Continue(());
        let starts = Starts::new(&self.stream(), &self.coupling, &choice.forms, &mut observe).unwrap();
        let carried = self.coupling.carry_out(&self.graph, &choice, |request| starts.start(request)).unwrap();
        self.away(carried.graph)
    }

    fn away(&self, graph: Graph) -> f64 {
        let run = |graph: Arc<Graph>| {
            let session = Session::new(graph, SessionOptions::default()).unwrap();
            session.run(std::slice::from_ref(&self.x)).unwrap()[0].to_f64_vec().unwrap()
        };
        let (ours, wanted) = (run(Arc::new(graph)), run(self.graph.clone()));
        ours.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    /// The same for implants that start from zero, before and after compensation.
    fn compensated(&self, implanted: &[usize], form: NodeForm) -> [f64; 2] {
        let choice = self.choice(implanted, form);
        let carried = self.coupling.carry_out(&self.graph, &choice, |_| Ok::<_, GraphError>(None)).unwrap();
        assert!(carried.layers.values().any(|layer| layer.implanted && layer.rows == implanted));
        let smaller = Arc::new(carried.graph);
        let settings = CompensateSettings { batch_size: 16, ..CompensateSettings::default() };
        let job = CompensateJob {
            original: &self.graph,
            smaller: &smaller,
            layers: &carried.layers,
            data: &self.data,
            among: &self.samples,
            options: &CompensateOptions { settings, ..CompensateOptions::default() },
        };
        let found = compensate(&job, &mut |_, _| ControlFlow::Continue(())).unwrap();
        [(*smaller).clone(), found.graph].map(|graph| self.away(graph))
    }
}

#[test]
fn rows_that_look_at_the_centre_are_made_by_one_tap() {
    let case = Case::new(convolutions());
    let form = NodeForm { node: case.node("Conv"), form: Form::Pointwise, bias: true };
    // The ridge takes a thousandth.
    assert!(case.distance(&[4, 5, 7], form) < 0.05);
    assert!(case.distance(&[1, 5, 7], form) > 0.5);
}

#[test]
fn rows_of_a_plane_are_made_by_a_pair_of_rank_two() {
    for alpha in [1.0, 0.5] {
        let case = Case::new(matrices("batch", alpha));
        let form = |rank| NodeForm { node: case.node("Gemm"), form: Form::LowRank { rank }, bias: true };
        let implanted: Vec<usize> = (4..12).collect();
        // The ridge takes a thousandth.
        let far = case.distance(&implanted, form(1));
        assert!(case.distance(&implanted, form(2)) < 0.02 * far, "{alpha}: {far}");
        // More than there are rows is no harm.
        assert!(case.distance(&[5, 6], form(3)) < 0.02 * far, "{alpha}");
    }
}

#[test]
fn compensation_fits_implants_too() {
    let case = Case::new(convolutions());
    let form = NodeForm { node: case.node("Conv"), form: Form::Pointwise, bias: true };
    let [before, after] = case.compensated(&[4, 5, 7], form);
    assert!(after < 0.02 * before, "{before} {after}");
    // The first matrix of a pair that starts from zero is no zero, and what it lets through can be used.
    let case = Case::new(matrices("batch", 1.0));
    let form = NodeForm { node: case.node("Gemm"), form: Form::LowRank { rank: 6 }, bias: true };
    let [before, after] = case.compensated(&(4..12).collect::<Vec<_>>(), form);
    assert!(after < 0.8 * before, "{before} {after}");
}

/// A product of numbers far from zero with a sum behind it, as exporters write layers of transformers, and a reader.
fn sums() -> Arc<Graph> {
    graph(
        ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "10"])
            .constant("far", &tensor(&[10], &[3.0; 10]))
            .constant("w", &tensor(&[10, 12], &random(&[10, 12], 4)))
            .constant("b", &tensor(&[12], &random(&[12], 7)))
            .constant("v", &tensor(&[12, 3], &random(&[12, 3], 8)))
            .node("Add", &["x", "far"], &["i"])
            .node("MatMul", &["i", "w"], &["h"])
            .node("Add", &["h", "b"], &["s"])
            .node("Relu", &["s"], &["r"])
            .node("MatMul", &["r", "v"], &["y"])
            .output("y"),
    )
}

#[test]
fn what_is_added_behind_what_is_concatenated_is_fitted_whoever_adds_it() {
    let case = Case::new(sums());
    let [own, others] = [true, false].map(|bias| {
        let form = NodeForm { node: case.node("MatMul"), form: Form::LowRank { rank: 2 }, bias };
        let [before, after] = case.compensated(&(4..12).collect::<Vec<_>>(), form);
        assert!(after < before, "{before} {after}");
        after
    });
    assert!((own / others - 1.0).abs() < 0.02, "{own} {others}");
}

#[test]
fn what_forms_explain_is_known() {
    let case = Case::new(convolutions());
    let explained = case.explained();
    let conv = &explained[0];
    assert_eq!(conv.form, ExplainedForm::Pointwise);
    let left = |row: usize| conv.residual(row, None) / conv.energy[row];
    (4..8).for_each(|row| assert!(left(row) < 1e-3, "{row}: {}", left(row)));
    (0..4).for_each(|row| assert!((0.3..=1.0).contains(&left(row)), "{row}: {}", left(row)));

    let case = Case::new(matrices("batch", 1.0));
    let explained = case.explained();
    let gemm = &explained[0];
    assert_eq!(gemm.form, ExplainedForm::LowRank(vec![1, 2, 4, 8, 10]));
    for row in 0..12 {
        let by_rank: Vec<f64> =
            (1..=12).map(|rank| gemm.residual(row, Some(rank)) / gemm.energy[row]).collect();
        assert!(by_rank.windows(2).all(|w| w[1] <= w[0] + 1e-12), "{by_rank:?}");
        // 4 rows of their own and a plane have six dimensions.
        assert!(by_rank[7] < 1e-2, "{by_rank:?}");
    }
}

#[test]
fn moments_are_of_positions_all_over_the_pictures() {
    let case = Case::new(pictures());
    let conv = &case.explained()[0];
    let positions = case.moments("Conv").positions as f64;
    let (mut found, mut left, mut wanted, mut others) = (0.0, 0.0, 0.0, 0.0);
    let weight = random(&[16, 16, 3, 3], 1);
    for row in 0..16 {
        found += conv.energy[row] / positions;
        left += conv.residual(row, None) / positions;
        // The inputs are independent, of variance 1.
        for (at, w) in weight[row * 144..][..144].iter().enumerate() {
            wanted += f64::from(w * w);
            others += if at % 9 == 4 { 0.0 } else { f64::from(w * w) };
        }
    }
    // A sixteenth of a picture's positions lie beside its border.
    assert!((0.85..1.1).contains(&(found / wanted)), "{}", found / wanted);
    // Of 128 positions 16 numbers explain an eighth of what is independent of them.
    assert!((0.7..1.1).contains(&(left / others)), "{}", left / others);
}

#[test]
fn what_fills_a_batch_is_not_counted() {
    // A batch that is filled, alone and behind a full one.
    for samples in [9, 20] {
        let [counted, filled] = ["batch", "16"].map(|batch| {
            let case = Case::of(matrices(batch, 1.0), samples);
            Vec::<f64>::try_from(case.moments("Gemm").central(true).unwrap().yy.f_reshape([-1]).unwrap())
                .unwrap()
        });
        for (counted, filled) in counted.iter().zip(filled) {
            assert!((counted - filled).abs() < 1e-4 * counted, "{samples}: {filled} is not {counted}");
        }
    }
}

#[test]
fn shares_are_words_or_numbers() {
    for (text, share) in [
        ("none", ImplantShare::None),
        ("auto", ImplantShare::Auto),
        ("0.1", ImplantShare::Share(0.1)),
        ("0", ImplantShare::None),
    ] {
        assert_eq!(text.parse(), Ok(share));
    }
    for wrong in ["1.5", "-0.1", "some", "nan"] {
        assert!(wrong.parse::<ImplantShare>().is_err(), "{wrong}");
    }
    let settings: ImplantSettings = toml::from_str("share = 0.25\nstart = 'zero'").unwrap();
    assert_eq!(settings, ImplantSettings { share: ImplantShare::Share(0.25), start: ImplantStart::Zero });
    let back: ImplantSettings = toml::from_str(&toml::to_string(&settings).unwrap()).unwrap();
    assert_eq!(back, settings);
}
