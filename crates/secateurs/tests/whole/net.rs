//! Models in code, and what is asked of each.

use std::path::Path;
use std::sync::Arc;

use half::{bf16, f16};
use secateurs::methods::method;
use secateurs::pipeline::{Applied, PlanOptions, WriteAppliedOptions, apply, plan, write_applied};
use secateurs::plan::Plan;
use secateurs::rng::Rng;
use secateurs::runtime::{Optimisation, OrtModel, SessionOptions as RuntimeOptions, relative_difference};
use secateurs::search::{Budget, Limit, Resource, Scope, SelectOptions};
use secateurs_graph::Graph;
use secateurs_graph::session::{Precision, Session, SessionOptions};
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, Model, ModelBuilder, Tensor, WriteOptions, write};

/// Floats in one of their types.
pub fn floats(element_type: ElementType, shape: &[usize], values: &[f32]) -> Tensor {
    let shape = shape.to_vec();
    match element_type {
        ElementType::Float16 => {
            Tensor::from_slice(shape, &values.iter().map(|&x| f16::from_f32(x)).collect::<Vec<_>>())
        }
        ElementType::Bfloat16 => {
            Tensor::from_slice(shape, &values.iter().map(|&x| bf16::from_f32(x)).collect::<Vec<_>>())
        }
        _ => Tensor::from_slice(shape, values),
    }
    .unwrap()
}

/// Random numbers of a normal distribution, the same for the same name.
pub fn normal(name: &str, shape: &[usize], scale: f32) -> Vec<f32> {
    let mut rng = Rng::new(7, name, 0, 0);
    (0..shape.iter().product()).map(|_| scale * rng.normal() as f32).collect()
}

/// Random floats for an input.
pub fn input(name: &str, shape: &[usize]) -> Tensor {
    floats(ElementType::Float32, shape, &normal(name, shape, 1.0))
}

/// A model under construction whose parameters are of one type.
pub struct Net {
    pub builder: ModelBuilder,
    element_type: ElementType,
    /// What parameters are rounded to first, so that models of several types have the same.
    rounded: ElementType,
}

impl Net {
    pub fn new(opset: i64) -> Net {
        Net::of(opset, ElementType::Float32, ElementType::Float32)
    }

    pub fn of(opset: i64, element_type: ElementType, rounded: ElementType) -> Net {
        Net { builder: ModelBuilder::new(opset), element_type, rounded }
    }

    fn map(self, f: impl FnOnce(ModelBuilder) -> ModelBuilder) -> Net {
        Net { builder: f(self.builder), ..self }
    }

    pub fn input(self, name: &str, sizes: &[&str]) -> Net {
        self.map(|b| b.input(name, ElementType::Float32, sizes))
    }

    pub fn values(self, name: &str, shape: &[usize], values: &[f32]) -> Net {
        let rounded = floats(self.rounded, shape, values).to_f64_vec().unwrap();
        let rounded: Vec<f32> = rounded.into_iter().map(|x| x as f32).collect();
        let tensor = floats(self.element_type, shape, &rounded);
        self.map(|b| b.constant(name, &tensor))
    }

    /// A random parameter that keeps the variance of what it multiplies.
    pub fn param(self, name: &str, shape: &[usize]) -> Net {
        let fan = shape.iter().skip(1).product::<usize>().max(1);
        let scale = if shape.len() > 1 { (1.0 / fan as f32).sqrt() } else { 0.3 };
        let values = normal(name, shape, scale);
        self.values(name, shape, &values)
    }

    /// A parameter of numbers around 1.
    pub fn positive(self, name: &str, shape: &[usize]) -> Net {
        let values: Vec<f32> = normal(name, shape, 0.3).into_iter().map(|x| x.abs() + 0.7).collect();
        self.values(name, shape, &values)
    }

    pub fn ints(self, name: &str, values: &[i64]) -> Net {
        let tensor = Tensor::from_slice(vec![values.len()], values).unwrap();
        self.map(|b| b.constant(name, &tensor))
    }

    pub fn number(self, name: &str, value: f32) -> Net {
        self.values(name, &[], &[value])
    }

    pub fn node(self, op: &str, inputs: &[&str], output: &str) -> Net {
        self.with(op, inputs, &[output], vec![])
    }

    pub fn with(self, op: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<AttributeProto>) -> Net {
        self.map(|b| b.node_with(op, inputs, outputs, attributes))
    }

    pub fn cast(self, x: &str, to: ElementType, output: &str) -> Net {
        let to = AttributeProto::from_int("to", i64::from(to.to_onnx()));
        self.with("Cast", &[x], &[output], vec![to])
    }

    /// To the type of the parameters.
    pub fn lowered(self, x: &str, output: &str) -> Net {
        let to = self.element_type;
        self.cast(x, to, output)
    }

    /// `output = conv(x)` of a kernel that keeps the size.
    pub fn conv(self, x: &str, name: &str, [out, inp]: [usize; 2], kernel: usize, output: &str) -> Net {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        let pads = AttributeProto::from_ints("pads", vec![(kernel / 2) as i64; 4]);
        self.param(&weight, &[out, inp, kernel, kernel]).param(&bias, &[out]).with(
            "Conv",
            &[x, &weight, &bias],
            &[output],
            vec![pads],
        )
    }

    pub fn batch_norm(self, x: &str, name: &str, channels: usize, output: &str) -> Net {
        let [scale, bias, mean, var] = ["scale", "bias", "mean", "var"].map(|part| format!("{name}.{part}"));
        self.positive(&scale, &[channels])
            .param(&bias, &[channels])
            .param(&mean, &[channels])
            .positive(&var, &[channels])
            .node("BatchNormalization", &[x, &scale, &bias, &mean, &var], output)
    }

    /// `output = x · weight + bias`.
    pub fn dense(self, x: &str, name: &str, [inp, out]: [usize; 2], output: &str) -> Net {
        let (weight, bias, product) =
            (format!("{name}.weight"), format!("{name}.bias"), format!("{name}.product"));
        let values = normal(&weight, &[inp, out], (1.0 / inp as f32).sqrt());
        self.values(&weight, &[inp, out], &values)
            .param(&bias, &[out])
            .node("MatMul", &[x, &weight], &product)
            .node("Add", &[&product, &bias], output)
    }

    pub fn done(self, outputs: &[&str]) -> Model {
        outputs.iter().fold(self.builder, |b, output| b.output(output)).build().unwrap()
    }
}

pub fn run(graph: &Graph, inputs: &[Tensor], precision: Precision) -> Vec<Tensor> {
    let options = SessionOptions { precision, ..SessionOptions::default() };
    Session::new(Arc::new(graph.clone()), options).unwrap().run(inputs).unwrap()
}

/// What ONNX Runtime computes; `None`, with its reason, where it does not take the model.
pub fn in_onnx_runtime(path: &Path, graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let options = RuntimeOptions { optimisation: Optimisation::Off, ..RuntimeOptions::default() };
    let names = graph.inputs.iter().map(|&v| graph.values[v].name.clone());
    let named: Vec<(String, Tensor)> = names.zip(inputs.iter().cloned()).collect();
    let outputs = OrtModel::load(path, &options).and_then(|mut model| model.run(&named));
    outputs.map(|outputs| outputs.into_iter().map(|(_, tensor)| tensor).collect()).map_err(|e| e.to_string())
}

pub fn close(ours: &[Tensor], theirs: &[Tensor], tolerance: f64, what: &str) {
    assert_eq!(ours.len(), theirs.len());
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert_eq!((a.shape(), a.element_type()), (b.shape(), b.element_type()), "{what}: output {i}");
        let difference = relative_difference(a, b);
        assert!(difference <= tolerance, "{what}: output {i} differs by {difference:e}");
    }
}

/// Half of the units of every group at random.
pub fn options(seed: u64, resizable: &[&str]) -> PlanOptions {
    PlanOptions {
        method: method("random").unwrap(),
        seed,
        budget: Budget::new(vec![Limit::share(Resource::Units, 0.5)]).unwrap(),
        select: SelectOptions { scope: Scope::Layer, ..SelectOptions::default() },
        resizable: resizable.iter().map(|&name| name.into()).collect(),
        ..PlanOptions::default()
    }
}

/// A model in a file.
pub struct Bench {
    folder: tempfile::TempDir,
    pub graph: Graph,
}

impl Bench {
    pub fn new(model: &Model) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        write(model, &path, &WriteOptions::default()).unwrap();
        Bench { graph: Graph::read(&path).unwrap(), folder }
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("model.onnx")
    }

    pub fn smaller(&self) -> std::path::PathBuf {
        self.folder.path().join("smaller.onnx")
    }

    /// Half of the units of every group at random, in a file that the check in ONNX Runtime has passed where `check` says so.
    pub fn pruned(&self, seed: u64, resizable: &[&str], check: bool) -> (Plan, Applied) {
        let plan = plan(&self.graph, &options(seed, resizable)).unwrap();
        let applied = apply(&self.graph, &plan).unwrap();
        assert!(applied.exact, "half of the units go exactly");
        assert!(applied.after.params < applied.before.params, "parameters go");
        let (smaller, sizes) = (self.smaller(), plan.model.sizes.clone());
        let options = WriteAppliedOptions { smaller: &smaller, masked: None, check, sizes: &sizes };
        write_applied(&self.graph, &applied, &options).unwrap();
        (plan, applied)
    }

    /// Half of the units go, and what is in the file computes what the masked twin does, in 64 bits. A wrong index would be noticed.
    pub fn exact(&self, inputs: &[Tensor], resizable: &[&str], check: bool) {
        for seed in 0..2 {
            let (_, applied) = self.pruned(seed, resizable, check);
            let read = Graph::read(&self.smaller()).unwrap();
            let expected = applied.ports.outputs(&run(&applied.masked, inputs, Precision::Double)).unwrap();
            let found = run(&read, &applied.ports.inputs(inputs).unwrap(), Precision::Double);
            close(&found, &expected, 1e-9, "the smaller model");
            let whole = applied.ports.outputs(&run(&self.graph, inputs, Precision::Double)).unwrap();
            let changed = whole.iter().zip(&expected).any(|(a, b)| relative_difference(a, b) > 1e-3);
            assert!(changed, "what went did nothing");
        }
    }
}
