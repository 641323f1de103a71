//! Small models written down briefly, and the checks on them.

use std::sync::Arc;

use secateurs_graph::coupling::{Coupling, CouplingOptions, Remaining, Selection, Split};
use secateurs_graph::session::{Precision, Session, SessionOptions};
use secateurs_graph::{Dim, Fact, Graph, ValueId};
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, Model as OnnxModel, ModelBuilder, Tensor, value_info};

/// A reproducible stream of numbers in −1..1.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 20
    }

    pub fn float(&mut self) -> f32 {
        (self.bits() % 20_001) as f32 / 10_000.0 - 1.0
    }

    pub fn tensor(&mut self, shape: &[usize]) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.float()).collect();
        Tensor::from_slice(shape.to_vec(), &values).unwrap()
    }
}

/// A model under construction. A node gives one output, named as the call says.
pub struct Net {
    builder: ModelBuilder,
    noise: Noise,
    inputs: Vec<(Vec<usize>, Option<i64>)>,
}

impl Net {
    pub fn new(opset: i64) -> Net {
        Net { builder: ModelBuilder::new(opset), noise: Noise::new(opset as u64), inputs: Vec::new() }
    }

    fn map(mut self, f: impl FnOnce(ModelBuilder) -> ModelBuilder) -> Net {
        self.builder = f(self.builder);
        self
    }

    /// A float input; its first axis is symbolic where `shape` starts with 0.
    pub fn input(mut self, name: &str, shape: &[usize]) -> Net {
        self.inputs.push((shape.to_vec(), None));
        self.listed(name, ElementType::Float32, shape)
    }

    /// An input of integers below a number.
    pub fn tokens(mut self, name: &str, shape: &[usize], below: i64) -> Net {
        self.inputs.push((shape.to_vec(), Some(below)));
        self.listed(name, ElementType::Int64, shape)
    }

    fn listed(self, name: &str, element_type: ElementType, shape: &[usize]) -> Net {
        let dims: Vec<String> =
            shape.iter().map(|&n| if n == 0 { "batch".to_owned() } else { n.to_string() }).collect();
        let dims: Vec<&str> = dims.iter().map(String::as_str).collect();
        self.map(|b| b.input(name, element_type, &dims))
    }

    /// A random parameter.
    pub fn param(mut self, name: &str, shape: &[usize]) -> Net {
        let tensor = self.noise.tensor(shape);
        self.map(|b| b.constant(name, &tensor))
    }

    /// A parameter of positive numbers.
    pub fn positive(mut self, name: &str, shape: &[usize]) -> Net {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.noise.float().abs() + 0.5).collect();
        let tensor = Tensor::from_slice(shape.to_vec(), &values).unwrap();
        self.map(|b| b.constant(name, &tensor))
    }

    /// A constant list of integers.
    pub fn ints(self, name: &str, values: &[i64]) -> Net {
        let tensor = Tensor::from_slice(vec![values.len()], values).unwrap();
        self.map(|b| b.constant(name, &tensor))
    }

    /// Any constant.
    pub fn tensor(self, name: &str, tensor: &Tensor) -> Net {
        self.map(|b| b.constant(name, tensor))
    }

    /// A constant integer.
    pub fn int(self, name: &str, value: i64) -> Net {
        self.map(|b| b.constant(name, &Tensor::scalar(value)))
    }

    /// A constant number.
    pub fn number(self, name: &str, value: f32) -> Net {
        self.map(|b| b.constant(name, &Tensor::scalar(value)))
    }

    pub fn node(self, op: &str, inputs: &[&str], output: &str) -> Net {
        self.map(|b| b.node(op, inputs, &[output]))
    }

    pub fn with(self, op: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<AttributeProto>) -> Net {
        self.map(|b| b.node_with(op, inputs, outputs, attributes))
    }

    /// `output = conv(x, name.weight, name.bias)` of a kernel that keeps the size.
    pub fn conv(
        self,
        x: &str,
        name: &str,
        [out, inp]: [usize; 2],
        kernel: usize,
        group: i64,
        output: &str,
    ) -> Net {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        let pad = (kernel / 2) as i64;
        self.param(&weight, &[out, inp, kernel, kernel]).param(&bias, &[out]).with(
            "Conv",
            &[x, &weight, &bias],
            &[output],
            vec![ints("pads", &[pad; 4]), int("group", group)],
        )
    }

    /// `output = x · name.weight + name.bias`, the weight as `[in, out]`.
    pub fn dense(self, x: &str, name: &str, [inp, out]: [usize; 2], output: &str) -> Net {
        let (weight, bias, product) =
            (format!("{name}.weight"), format!("{name}.bias"), format!("{name}.product"));
        self.param(&weight, &[inp, out]).param(&bias, &[out]).node("MatMul", &[x, &weight], &product).node(
            "Add",
            &[&product, &bias],
            output,
        )
    }

    pub fn batch_norm(self, x: &str, name: &str, channels: usize, output: &str) -> Net {
        let names = ["weight", "bias", "mean", "var"].map(|part| format!("{name}.{part}"));
        self.positive(&names[0], &[channels])
            .param(&names[1], &[channels])
            .param(&names[2], &[channels])
            .positive(&names[3], &[channels])
            .node("BatchNormalization", &[x, &names[0], &names[1], &names[2], &names[3]], output)
    }

    pub fn reshape(self, x: &str, to: &[i64], output: &str) -> Net {
        let shape = format!("{output}.shape");
        self.ints(&shape, to).node("Reshape", &[x, &shape], output)
    }

    pub fn transpose(self, x: &str, perm: &[i64], output: &str) -> Net {
        self.with("Transpose", &[x], &[output], vec![ints("perm", perm)])
    }

    /// `softmax(q kᵀ) v` of so many heads of two, each projected from `x` of width `inp`; merged.
    pub fn attention(mut self, x: &str, inp: usize, heads: usize, output: &str) -> Net {
        for name in ["q", "k", "v"] {
            let n = |step: u8| format!("{name}{step}");
            self = self
                .dense(x, name, [inp, 2 * heads], &n(1))
                .reshape(&n(1), &[0, -1, heads as i64, 2], &n(2))
                .transpose(&n(2), &[0, 2, 1, 3], &n(4));
        }
        self.transpose("k4", &[0, 1, 3, 2], "kt")
            .node("MatMul", &["q4", "kt"], "qk")
            .with("Softmax", &["qk"], &["p"], vec![int("axis", -1)])
            .node("MatMul", &["p", "v4"], "av")
            .transpose("av", &[0, 2, 1, 3], "avt")
            .reshape("avt", &[0, 0, 2 * heads as i64], output)
    }

    /// The model with these outputs.
    pub fn done(self, outputs: &[&str]) -> Model {
        self.declaring(&[], outputs)
    }

    /// The model with these outputs, whose file also tells the sizes of other values.
    pub fn declaring(self, sizes: &[(&str, &[&str])], outputs: &[&str]) -> Model {
        let builder = outputs.iter().fold(self.builder, |b, output| b.output(output));
        let mut proto = builder.proto();
        let told = sizes.iter().map(|(name, sizes)| value_info(name, ElementType::Float32, sizes));
        proto.graph.as_mut().unwrap().value_info.extend(told);
        let graph = Graph::from_model(OnnxModel::from_proto(proto, None).unwrap()).unwrap();
        Model { graph: Arc::new(graph), inputs: self.inputs, split: Split::Outer, resizable: Vec::new() }
    }
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto::from_int(name, value)
}

pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto::from_ints(name, values.to_vec())
}

/// For each unit of a smaller model what it was.
pub type Origins = Vec<Vec<Option<(usize, usize)>>>;

/// A model to try.
pub struct Model {
    pub graph: Arc<Graph>,
    inputs: Vec<(Vec<usize>, Option<i64>)>,
    split: Split,
    resizable: Vec<ValueId>,
}

impl Model {
    /// The same model, of which these inputs and outputs may shrink.
    pub fn resizing(mut self, names: &[&str]) -> Model {
        self.resizable = names.iter().map(|name| self.graph.value_named(name).unwrap()).collect();
        self
    }

    fn options(&self) -> CouplingOptions {
        CouplingOptions { split: self.split, resizable: self.resizable.clone(), ..CouplingOptions::default() }
    }

    /// The same model, with products split into their inner units.
    pub fn inner(mut self) -> Model {
        self.split = Split::Inner;
        self
    }

    pub fn coupling(&self) -> Coupling {
        self.graph.coupling(&self.options())
    }

    /// A line a group: `4 attention heads: q.weight[1]×8 …`, with `~` before inexact ones.
    pub fn groups(&self) -> Vec<String> {
        let coupling = self.coupling();
        let line = |group: &secateurs_graph::coupling::Group| {
            let parameters: Vec<String> = group
                .parameters
                .iter()
                .map(|p| {
                    let indices = group.units[0].indices(p).len();
                    let name = &self.graph.values[p.value].name;
                    let times = if indices == 1 { String::new() } else { format!("×{indices}") };
                    format!("{name}[{}]{times}", p.axis)
                })
                .collect();
            let inexact = if group.inexact.is_some() { "~" } else { "" };
            format!("{inexact}{} {}: {}", group.units.len(), group.kind, parameters.join(" "))
        };
        coupling.groups.iter().map(line).collect()
    }

    /// Why an axis of a parameter cannot be pruned.
    pub fn reason(&self, parameter: &str, axis: usize) -> String {
        let coupling = self.coupling();
        let value = self.graph.value_named(parameter).unwrap();
        let barred = coupling.barred.iter().find(|b| b.value == value && b.axis == axis);
        barred.unwrap_or_else(|| panic!("{parameter}[{axis}] is not barred")).reason.describe(&self.graph)
    }

    /// Removes random units many times: the smaller model must equal its masked twin, and with one index wrong it must not.
    pub fn exact(&self) -> &Model {
        self.exact_to(1e-9)
    }

    /// The same where surgery has to round a number to 32 bits.
    pub fn exact_to(&self, tolerance: f64) -> &Model {
        let coupling = self.coupling();
        assert!(coupling.groups.iter().any(|g| g.inexact.is_none()), "there is nothing exact to prune");
        for seed in 0..6 {
            let selection = random(&coupling, seed);
            for batch in [2, 3] {
                let difference = self.difference(&coupling, &selection, &selection, batch);
                assert!(difference <= tolerance, "seed {seed}, batch {batch}: differs by {difference:e}");
            }
            self.goes_as_its_origin(&coupling, &selection, tolerance);
        }
        self
    }

    /// For each unit of a smaller model what it was here, as it is told when the smaller model has been in a file.
    pub fn origins(&self, coupling: &Coupling, kept: &Selection) -> (Graph, Coupling, Origins) {
        let smaller = Graph::from_model(self.smaller(coupling, kept).to_model()).unwrap();
        let again = |&port: &ValueId| smaller.value_named(&self.graph.values[port].name).unwrap();
        let resizable = self.resizable.iter().map(again).collect();
        let own = smaller.coupling(&CouplingOptions { resizable, ..self.options() });
        let origins = coupling.origins(&self.graph, kept, &smaller, &own);
        (smaller, own, origins)
    }

    /// A unit removed from the smaller model leaves what is left when the unit that it was goes with the others.
    fn goes_as_its_origin(&self, coupling: &Coupling, kept: &Selection, tolerance: f64) {
        let (smaller, own, origins) = self.origins(coupling, kept);
        let mut seen = std::collections::HashSet::new();
        for (g, units) in origins.iter().enumerate() {
            for (u, origin) in units.iter().enumerate() {
                let Some((group, unit)) = *origin else { continue };
                assert!(kept.kept[group].contains(&unit), "it is gone");
                assert!(seen.insert((group, unit)), "two units were one");
                // One a group is tried.
                if u != units.len() / 2 || !Remaining::of_selection(coupling, kept).remove(group, unit) {
                    continue;
                }
                let (mut then, mut both) = (Selection::all(&own), kept.clone());
                then.kept[g].retain(|other| *other != u);
                both.kept[group].retain(|other| *other != unit);
                let mut twice = smaller.clone();
                own.surgery(&smaller, &then).unwrap().apply(&mut twice).unwrap();
                let at_once = self.smaller(coupling, &both);
                let feed = coupling.ports(&self.graph, &both).inputs(&self.feed(2)).unwrap();
                let outputs = run(&twice, &feed).into_iter().zip(run(&at_once, &feed));
                let difference = outputs.map(|(a, b)| relative(&a, &b)).fold(0.0, f64::max);
                assert!(
                    difference <= tolerance.max(1e-6),
                    "unit {u} of group {g}: differs by {difference:e}"
                );
            }
        }
    }

    /// Between the model with `kept` and the twin masked for `twin`, in 64 bits.
    pub fn difference(&self, coupling: &Coupling, kept: &Selection, twin: &Selection, batch: usize) -> f64 {
        let smaller = self.smaller(coupling, kept);
        let mut masked = (*self.graph).clone();
        coupling.masking(&self.graph, twin).unwrap().apply(&mut masked).unwrap();
        for (a, b) in masked.values.iter().zip(&self.graph.values) {
            if a.1.name == b.1.name {
                assert!(agree(&a.1.fact, &b.1.fact), "masking keeps all shapes: {} {}", a.1.fact, b.1.fact);
            }
        }
        for (&a, &b) in smaller.outputs.iter().zip(&self.graph.outputs) {
            assert!(
                self.resizable.contains(&b)
                    || smaller.values[a].fact.shape == self.graph.values[b].fact.shape,
                "outputs keep their shape"
            );
            assert_eq!(smaller.values[a].name, self.graph.values[b].name, "outputs keep their name");
        }
        let (ports, feed) = (coupling.ports(&self.graph, kept), self.feed(batch));
        let a = run(&smaller, &ports.inputs(&feed).unwrap());
        let b = ports.outputs(&run(&masked, &feed)).unwrap();
        a.iter().zip(&b).map(|(a, b)| relative(a, b)).fold(0.0, f64::max)
    }

    pub fn smaller(&self, coupling: &Coupling, kept: &Selection) -> Graph {
        let mut smaller = (*self.graph).clone();
        coupling.surgery(&self.graph, kept).unwrap().apply(&mut smaller).unwrap();
        // What was never read stays unread.
        let remaining = Remaining::of_selection(coupling, kept);
        let costs = secateurs_graph::coupling::Costs::new(&self.graph, coupling, &Default::default());
        assert_eq!(costs.macs(&remaining), smaller.cost().macs, "MACs as foreseen");
        // Sizes that surgery puts right are some numbers more.
        let (foreseen, found) = (costs.bytes(&remaining), smaller.cost().bytes);
        assert!(
            foreseen.abs_diff(found) <= 8 * smaller.nodes.len(),
            "{foreseen} bytes foreseen, {found} found"
        );
        smaller
    }

    /// Random inputs of the model.
    pub fn feed(&self, batch: usize) -> Vec<Tensor> {
        let mut noise = Noise::new(batch as u64);
        let mut feed = Vec::new();
        for (shape, below) in &self.inputs {
            let shape: Vec<usize> = shape.iter().map(|&n| if n == 0 { batch } else { n }).collect();
            feed.push(match below {
                None => noise.tensor(&shape),
                Some(below) => {
                    let count = shape.iter().product();
                    let values: Vec<i64> =
                        (0..count).map(|_| (noise.bits() % *below as u64) as i64).collect();
                    Tensor::from_slice(shape, &values).unwrap()
                }
            });
        }
        feed
    }
}

/// What a graph computes, in 64 bits.
/// Whether shapes are the same as far as they can be told before a run.
fn agree(a: &Fact, b: &Fact) -> bool {
    let (Some(a), Some(b)) = (&a.shape, &b.shape) else { return a.shape == b.shape };
    let same = |(a, b): (&Dim, &Dim)| a == b || !a.is_determined() && !b.is_determined();
    a.len() == b.len() && a.iter().zip(b).all(same)
}

pub fn run(graph: &Graph, feed: &[Tensor]) -> Vec<Tensor> {
    let options = SessionOptions { precision: Precision::Double, ..SessionOptions::default() };
    Session::new(Arc::new(graph.clone()), options).unwrap().run(feed).unwrap()
}

/// A random part of the units of every exact group, never all of an axis.
pub fn random(coupling: &Coupling, seed: u64) -> Selection {
    let mut noise = Noise::new(seed + 99);
    let mut selection = Selection::all(coupling);
    let mut remaining = Remaining::new(coupling);
    for (g, group) in coupling.groups.iter().enumerate().filter(|(_, g)| g.inexact.is_none()) {
        selection.kept[g].retain(|&unit| noise.bits().is_multiple_of(2) || !remaining.remove(g, unit));
        assert!(!group.units.is_empty());
    }
    selection
}

fn relative(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape(), b.shape());
    let (a, b) = (a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap());
    let scale = b.iter().fold(1e-12f64, |m, v| m.max(v.abs()));
    a.iter().zip(&b).map(|(a, b)| (a - b).abs() / scale).fold(0.0, f64::max)
}
