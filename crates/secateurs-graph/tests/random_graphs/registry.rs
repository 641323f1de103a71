//! Ops of the registry with the cases from their own files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use secateurs_graph::harness::{Case, Input};
use secateurs_graph::ops::REGISTRY;
use secateurs_graph::session::{Precision, Session, SessionOptions};
use secateurs_graph::{Graph, Source};
use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

use crate::net::{Feed, Net, Value};
use crate::rng::Rng;

/// A call that a graph of some opset version can make.
pub struct Call {
    op: String,
    case: Case,
    attributes: Vec<AttributeProto>,
    outputs: Vec<Output>,
}

struct Output {
    element_type: ElementType,
    /// `None` where only a run can tell.
    shape: Option<Vec<usize>>,
    largest: f64,
}

/// Inputs that other numbers than those of the case would make meaningless: boxes, positions.
const AS_GIVEN: [&str; 2] = ["MaxRoiPool", "RoiAlign"];

pub fn step(net: &mut Net, rng: &mut Rng) {
    let calls = calls(net.opset);
    // Every op as often as any other, however many cases it has.
    let of_op = rng.pick(&calls);
    let call = rng.pick(of_op);
    let mut names: Vec<String> = Vec::new();
    let mut fed: Vec<Value> = Vec::new();
    for input in &call.case.inputs {
        let name = match input {
            Input::Absent => String::new(),
            Input::Constant(tensor) => net.constant(tensor),
            Input::Fed(tensor) => fed_input(net, call, tensor, &mut fed, rng),
        };
        names.push(name);
    }
    let inputs: Vec<&str> = names.iter().map(String::as_str).collect();
    let made = net.emit(&call.op, &inputs, call.case.outputs, call.attributes.clone());
    for (name, output) in made.into_iter().zip(&call.outputs) {
        let Some(shape) = output.shape.clone() else {
            if rng.percent(20) {
                net.output(name);
            }
            continue;
        };
        if shape.contains(&0) {
            continue;
        }
        let mut value = Value { name, shape, wild: output.largest > 8.0 };
        if output.element_type != ElementType::Float32 {
            let to = AttributeProto::from_int("to", i64::from(ElementType::Float32.to_onnx()));
            let shape = value.shape.clone();
            value = Value { wild: value.wild, ..net.node("Cast", &[&value.name], vec![to], &shape) };
        }
        if output.largest > 64.0 {
            let scale = net.number((4.0 / output.largest) as f32);
            let shape = value.shape.clone();
            value = net.node("Mul", &[&value.name, &scale], Vec::new(), &shape);
        }
        net.pool.push(value);
    }
}

fn fed_input(net: &mut Net, call: &Call, tensor: &Tensor, fed: &mut Vec<Value>, rng: &mut Rng) -> String {
    let as_given = AS_GIVEN.contains(&call.op.as_str()) && tensor.shape().len() < 3;
    match tensor.element_type() {
        ElementType::Float32 if !as_given && !tensor.is_empty() => {
            let same: Vec<Value> = fed.iter().filter(|v| v.shape == tensor.shape()).cloned().collect();
            let value = match !same.is_empty() && rng.percent(25) {
                true => rng.pick(&same).clone(),
                false => {
                    let value = net.fit(tensor.shape(), rng);
                    in_range(net, value, tensor, rng)
                }
            };
            fed.push(value.clone());
            value.name
        }
        ElementType::Bool if rng.percent(50) && !tensor.is_empty() => {
            let value = net.fit(tensor.shape(), rng);
            let zero = net.number(0.01);
            net.emit("Greater", &[&value.name, &zero], 1, Vec::new()).remove(0)
        }
        _ if rng.percent(50) => net.constant(tensor),
        other => net.input(other, tensor.shape(), Feed::Fixed(tensor.clone())),
    }
}

/// Numbers in the range that the case wants, as of a logarithm.
fn in_range(net: &mut Net, value: Value, wanted: &Tensor, rng: &mut Rng) -> Value {
    let numbers = wanted.to_f64_vec().unwrap();
    let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let high = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if low < -1.5 || numbers.len() < 3 {
        return net.tame(&value, rng);
    }
    let unit = net.map("Sigmoid", &[&value]);
    let (scale, offset) = (net.number((high - low) as f32), net.number(low as f32));
    let scaled = net.node("Mul", &[&unit.name, &scale], Vec::new(), &value.shape);
    net.node("Add", &[&scaled.name, &offset], Vec::new(), &value.shape)
}

/// For every op the calls that are valid in an opset version.
type Calls = Arc<Vec<Vec<Call>>>;

fn calls(opset: i64) -> Calls {
    static CALLS: OnceLock<Mutex<HashMap<i64, Calls>>> = OnceLock::new();
    let mut known = CALLS.get_or_init(Mutex::default).lock().unwrap_or_else(|e| e.into_inner());
    let found = known.entry(opset).or_insert_with(|| {
        let of_op = REGISTRY.iter().map(|entry| {
            let name = match entry.domain {
                "" => entry.name.to_owned(),
                domain => format!("{domain}::{}", entry.name),
            };
            let cases = (entry.cases)().into_iter();
            cases.filter_map(|(case, model)| call(&name, case, model, opset)).collect::<Vec<_>>()
        });
        Arc::new(of_op.filter(|calls| !calls.is_empty()).collect())
    });
    found.clone()
}

fn call(op: &str, case: Case, model: secateurs_onnx::Model, opset: i64) -> Option<Call> {
    let other = |t: &Tensor| {
        t.element_type().is_float() && t.element_type() != ElementType::Float32 || t.len() > 1500
    };
    let unfit = |input: &Input| matches!(input, Input::Fed(t) | Input::Constant(t) if other(t));
    if case.inputs.iter().any(unfit) {
        return None;
    }
    let attributes = model.graph().node[0].attribute.clone();
    let original = Graph::from_model(model).unwrap();
    // The same call under this opset version.
    let mut builder = ModelBuilder::new(opset);
    if let Some((domain, _)) = op.split_once("::") {
        builder = builder.domain(domain, 1);
    }
    let names: Vec<String> = (0..case.inputs.len()).map(|i| format!("x{i}")).collect();
    let mut listed = Vec::new();
    for (name, input) in names.iter().zip(&case.inputs) {
        listed.push(if matches!(input, Input::Absent) { "" } else { name });
        builder = match input {
            Input::Absent => builder,
            Input::Constant(tensor) => builder.constant(name, tensor),
            Input::Fed(tensor) => {
                let sizes: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
                let sizes: Vec<&str> = sizes.iter().map(String::as_str).collect();
                builder.input(name, tensor.element_type(), &sizes)
            }
        };
    }
    let outputs: Vec<String> = (0..case.outputs).map(|i| format!("y{i}")).collect();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let builder = builder.node_with(op, &listed, &outputs, attributes.clone());
    let model = outputs.iter().fold(builder, |b, name| b.output(name)).build().unwrap();
    let graph = Graph::from_model(model).ok()?;
    let facts = |graph: &Graph| {
        let facts = graph.outputs.iter().map(|&v| graph.values[v].fact.clone());
        facts.map(|f| (f.element_type, f.shape)).collect::<Vec<_>>()
    };
    if facts(&graph) != facts(&original)
        || !graph.values.values().any(|v| matches!(v.source, Source::Node(..)))
    {
        return None;
    }
    let shapes: Vec<_> = graph.outputs.iter().map(|&v| graph.values[v].fact.clone()).collect();
    let options = SessionOptions { precision: Precision::Double, ..SessionOptions::default() };
    let run = Session::new(Arc::new(graph), options).and_then(|s| s.run(&case.fed_tensors())).ok()?;
    let outputs = shapes.iter().zip(&run).map(|(fact, tensor)| {
        let numbers = tensor.to_f64_vec().ok()?;
        if numbers.iter().any(|x| !x.is_finite()) {
            return None;
        }
        // A session that trains holds floats of 16 bits in more, and rounds nothing to 8.
        let element_type =
            fact.element_type.filter(|t| !t.is_float() || t.bits().is_some_and(|bits| bits >= 32))?;
        let shape = fact.known_shape().map(|s| s.into_iter().map(|n| n as usize).collect());
        Some(Output { element_type, shape, largest: numbers.iter().fold(0.0, |m, x| m.max(x.abs())) })
    });
    let outputs = outputs.collect::<Option<Vec<_>>>()?;
    Some(Call { op: op.to_owned(), case, attributes, outputs })
}
