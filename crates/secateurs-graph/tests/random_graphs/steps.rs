//! Steps that tie axes together: sums, parts, moves, reductions, gates.

use secateurs_onnx::proto::AttributeProto;

use crate::net::{Net, Value};
use crate::rng::Rng;
use crate::twice::{shared, twice};

type Step = fn(&mut Net, &mut Rng) -> Value;

pub fn step(net: &mut Net, rng: &mut Rng) {
    const STEPS: [(usize, Step); 17] = [
        (8, layer),
        (5, activated),
        (10, residual),
        (8, concat),
        (6, split),
        (5, slice),
        (6, gather),
        (6, transposed),
        (8, merged),
        (5, parted),
        (5, shuffled),
        (4, flattened),
        (7, reduced),
        (5, padded),
        (7, gated),
        (7, shared),
        (8, twice),
    ];
    let mut at = rng.below(STEPS.iter().map(|(weight, _)| weight).sum());
    for (weight, step) in STEPS {
        if at < weight {
            let value = step(net, rng);
            if !value.shape.contains(&0) && value.len() <= 2000 {
                net.pool.push(value);
            }
            return;
        }
        at -= weight;
    }
}

/// A value of the pool with an axis, and the axis; one of two indices or more where there is one.
pub fn with_axis(net: &mut Net, rng: &mut Rng) -> (Value, usize) {
    loop {
        let x = net.any(rng);
        let axes: Vec<usize> = (0..x.shape.len()).filter(|&k| x.shape[k] > 1).collect();
        if !axes.is_empty() {
            return (x, *rng.pick(&axes));
        }
        if rng.percent(20) {
            return (net.fit(&[2, 6], rng), 1);
        }
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto::from_ints(name, values.to_vec())
}

pub fn int(name: &str, value: usize) -> AttributeProto {
    AttributeProto::from_int(name, value as i64)
}

fn layer(net: &mut Net, rng: &mut Rng) -> Value {
    let (x, axis) = with_axis(net, rng);
    let size = 2 + rng.below(7);
    net.dense(&x, axis, size, rng)
}

fn activated(net: &mut Net, rng: &mut Rng) -> Value {
    let x = net.any(rng);
    let x = net.tame(&x, rng);
    net.map(rng.word(&["Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Cos"]), &[&x])
}

fn residual(net: &mut Net, rng: &mut Rng) -> Value {
    let a = net.any(rng);
    let b = net.fit(&a.shape.clone(), rng);
    net.map(rng.word(&["Add", "Add", "Sub", "Mul", "Max", "Sum"]), &[&a, &b])
}

fn concat(net: &mut Net, rng: &mut Rng) -> Value {
    let (a, axis) = with_axis(net, rng);
    let mut parts = vec![a.clone()];
    for _ in 0..1 + rng.below(2) {
        let mut shape = a.shape.clone();
        shape[axis] = if rng.percent(50) { a.shape[axis] } else { 1 + rng.below(5) };
        parts.push(net.fit(&shape, rng));
    }
    let order = rng.shuffled(parts.len());
    let names: Vec<&str> = order.iter().map(|&i| parts[i].name.as_str()).collect();
    let mut shape = a.shape.clone();
    shape[axis] = parts.iter().map(|p| p.shape[axis]).sum();
    let wild = parts.iter().any(|p| p.wild);
    Value { wild, ..net.node("Concat", &names, vec![int("axis", axis)], &shape) }
}

fn split(net: &mut Net, rng: &mut Rng) -> Value {
    let (x, axis) = with_axis(net, rng);
    let size = x.shape[axis];
    let first = 1 + rng.below(size - 1);
    let sizes = net.ints(&[first as i64, (size - first) as i64]);
    let made = net.emit("Split", &[&x.name, &sizes], 2, vec![int("axis", axis)]);
    let part = |name: &String, n: usize| {
        let mut shape = x.shape.clone();
        shape[axis] = n;
        Value { name: name.clone(), shape, wild: x.wild }
    };
    let (a, b) = (part(&made[0], first), part(&made[1], size - first));
    if first == size - first && rng.percent(60) {
        return net.map(rng.word(&["Add", "Mul", "Sub"]), &[&a, &b]);
    }
    if rng.percent(70) {
        net.pool.push(b);
    }
    a
}

fn slice(net: &mut Net, rng: &mut Rng) -> Value {
    let (x, axis) = with_axis(net, rng);
    let size = x.shape[axis];
    let (start, step) = (rng.below(size), 1 + rng.below(2));
    let end = start + 1 + rng.below(size - start);
    let back = rng.percent(20);
    let (from, to, by) = match back {
        // From the last index down.
        true => (-1, -(size as i64) - 1, -1),
        false => (start as i64, end as i64, step as i64),
    };
    let list = [[from], [to], [axis as i64], [by]].map(|v| net.ints(&v));
    let mut inputs = vec![x.name.as_str()];
    inputs.extend(list.iter().map(String::as_str));
    let mut shape = x.shape.clone();
    shape[axis] = if back { size } else { (end - start).div_ceil(step) };
    Value { wild: x.wild, ..net.node("Slice", &inputs, Vec::new(), &shape) }
}

/// Indices may repeat, be left out, or be a single one without an axis.
fn gather(net: &mut Net, rng: &mut Rng) -> Value {
    let (x, axis) = with_axis(net, rng);
    let size = x.shape[axis];
    let mut shape = x.shape.clone();
    let indices = if rng.percent(20) {
        shape.remove(axis);
        net.constant(&secateurs_onnx::Tensor::scalar(rng.below(size) as i64))
    } else {
        let picked: Vec<i64> = match rng.percent(40) {
            true => rng.shuffled(size).into_iter().map(|i| i as i64).collect(),
            false => (0..1 + rng.below(size + 2)).map(|_| rng.below(size) as i64).collect(),
        };
        shape[axis] = picked.len();
        net.ints(&picked)
    };
    let y = net.node("Gather", &[&x.name, &indices], vec![int("axis", axis)], &shape);
    Value { wild: x.wild, ..y }
}

fn transposed(net: &mut Net, rng: &mut Rng) -> Value {
    let x = net.any(rng);
    let order = rng.shuffled(x.shape.len());
    net.transpose(&x, &order)
}

/// Two neighbouring axes in one.
fn merged(net: &mut Net, rng: &mut Rng) -> Value {
    let x = net.any(rng);
    if x.shape.len() < 2 {
        return parted(net, rng);
    }
    let at = rng.below(x.shape.len() - 1);
    let mut shape = x.shape.clone();
    let next = shape.remove(at + 1);
    shape[at] *= next;
    net.reshape(&x, &shape)
}

/// One axis in two.
fn parted(net: &mut Net, rng: &mut Rng) -> Value {
    let (x, axis) = with_axis(net, rng);
    let size = x.shape[axis];
    let divisors: Vec<usize> = (1..=size).filter(|d| size.is_multiple_of(*d)).collect();
    let outer = *rng.pick(&divisors);
    let mut shape = x.shape.clone();
    shape[axis] = outer;
    shape.insert(axis + 1, size / outer);
    net.reshape(&x, &shape)
}

fn shuffled(net: &mut Net, rng: &mut Rng) -> Value {
    let channels = 2 * (2 + rng.below(3));
    let x = net.fit(&[1, channels, 3, 3], rng);
    let y = net.reshape(&x, &[1, 2, channels / 2, 3, 3]);
    let y = net.transpose(&y, &[0, 2, 1, 3, 4]);
    net.reshape(&y, &[1, channels, 3, 3])
}

fn flattened(net: &mut Net, rng: &mut Rng) -> Value {
    let x = net.any(rng);
    let axis = rng.below(x.shape.len() + 1);
    let shape = [x.shape[..axis].iter().product(), x.shape[axis..].iter().product()];
    Value { wild: x.wild, ..net.node("Flatten", &[&x.name], vec![int("axis", axis)], &shape) }
}

fn reduced(net: &mut Net, rng: &mut Rng) -> Value {
    let (x, axis) = with_axis(net, rng);
    let ops = ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"];
    let (op, keep) = (*rng.pick(&ops), rng.percent(60));
    reduction(net, &x, op, axis, keep)
}

fn reduction(net: &mut Net, x: &Value, op: &str, axis: usize, keep: bool) -> Value {
    let mut shape = x.shape.clone();
    match keep {
        true => shape[axis] = 1,
        false => drop(shape.remove(axis)),
    }
    let mut attributes = vec![int("keepdims", keep.into())];
    let mut inputs = vec![x.name.clone()];
    match net.opset >= 18 || op == "ReduceSum" {
        true => inputs.push(net.ints(&[axis as i64])),
        false => attributes.push(ints("axes", &[axis as i64])),
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let wild = x.wild || op != "ReduceMean" && op != "ReduceMax";
    Value { wild, ..net.node(op, &inputs, attributes, &shape) }
}

fn padded(net: &mut Net, rng: &mut Rng) -> Value {
    let (x, axis) = with_axis(net, rng);
    let rank = x.shape.len();
    let mode = *rng.pick(&["constant", "constant", "reflect", "edge"]);
    let (before, after) = (rng.below(2), rng.below(2));
    let mut pads = vec![0; 2 * rank];
    (pads[axis], pads[rank + axis]) = (before as i64, after as i64);
    let pads = net.ints(&pads);
    let mut shape = x.shape.clone();
    shape[axis] += before + after;
    let mode = AttributeProto::from_string("mode", mode);
    Value { wild: x.wild, ..net.node("Pad", &[&x.name, &pads], vec![mode], &shape) }
}

/// An axis multiplied by what a narrow branch makes of the mean of all others.
fn gated(net: &mut Net, rng: &mut Rng) -> Value {
    let (x, axis) = with_axis(net, rng);
    let x = net.tame(&x, rng);
    let others: Vec<usize> = (0..x.shape.len()).filter(|&k| k != axis).collect();
    let mut gate = x.clone();
    for other in others {
        gate = reduction(net, &gate, "ReduceMean", other, true);
    }
    let hidden = 2 + rng.below(3);
    gate = net.dense(&gate, axis, hidden, rng);
    gate = net.map("Relu", &[&gate]);
    gate = net.dense(&gate, axis, x.shape[axis], rng);
    gate = net.map("Sigmoid", &[&gate]);
    let order = if rng.percent(50) { [&x, &gate] } else { [&gate, &x] };
    let names = order.map(|v| v.name.as_str());
    net.node("Mul", &names, Vec::new(), &x.shape)
}
