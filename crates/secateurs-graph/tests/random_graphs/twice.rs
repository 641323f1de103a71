//! Steps that read something twice.

use secateurs_onnx::proto::AttributeProto;

use crate::net::{Net, Value};
use crate::rng::Rng;
use crate::steps::{int, with_axis};

/// One weight for two layers, once transposed.
pub fn shared(net: &mut Net, rng: &mut Rng) -> Value {
    let size = 3 + rng.below(4);
    let rows = 1 + rng.below(3);
    let x = net.fit(&[rows, size], rng);
    let x = net.tame(&x, rng);
    let square = rng.percent(50);
    let out = if square { size } else { 2 + rng.below(5) };
    let weight = net.weight(&[size, out], size, rng);
    let hidden = net.node("MatMul", &[&x.name, &weight], Vec::new(), &[rows, out]);
    let hidden = net.map("Tanh", &[&hidden]);
    if square && rng.percent(50) {
        let y = net.node("MatMul", &[&hidden.name, &weight], Vec::new(), &[rows, size]);
        net.pool.push(hidden);
        return y;
    }
    if rng.percent(50) {
        let other = net.fit(&[rows + 1, size], rng);
        let other = net.tame(&other, rng);
        let y = net.node("MatMul", &[&other.name, &weight], Vec::new(), &[rows + 1, out]);
        net.pool.push(hidden);
        return y;
    }
    let table = Value { name: weight, shape: vec![size, out], wild: false };
    let turned = net.transpose(&table, &[1, 0]);
    net.node("MatMul", &[&hidden.name, &turned.name], Vec::new(), &[rows, size])
}

/// A value, or a constant, at two inputs of a node.
pub fn twice(net: &mut Net, rng: &mut Rng) -> Value {
    let n = 3 + rng.below(3);
    match rng.below(9) {
        0 => {
            let x = net.any(rng);
            let x = net.tame(&x, rng);
            net.map(rng.word(&["Mul", "Add", "Sub", "Max", "Min"]), &[&x, &x])
        }
        1 => {
            let x = net.fit(&[2, n], rng);
            let x = net.tame(&x, rng);
            let turned = net.transpose(&x, &[1, 0]);
            if rng.percent(50) {
                return net.node("MatMul", &[&x.name, &turned.name], Vec::new(), &[2, 2]);
            }
            net.node("MatMul", &[&turned.name, &x.name], Vec::new(), &[n, n])
        }
        2 => {
            let x = net.fit(&[n, n], rng);
            let x = net.tame(&x, rng);
            net.node("MatMul", &[&x.name, &x.name], Vec::new(), &[n, n])
        }
        3 => {
            let x = net.fit(&[2, n], rng);
            let x = net.tame(&x, rng);
            net.node("Gemm", &[&x.name, &x.name], vec![int("transB", 1)], &[2, 2])
        }
        4 => {
            let (x, axis) = with_axis(net, rng);
            let mut shape = x.shape.clone();
            shape[axis] *= 2;
            let y = net.node("Concat", &[&x.name, &x.name], vec![int("axis", axis)], &shape);
            Value { wild: x.wild, ..y }
        }
        5 => {
            let x = net.fit(&[2, n], rng);
            let weight = net.weight(&[n], 4, rng);
            let scaled = net.node("Mul", &[&x.name, &weight], Vec::new(), &[2, n]);
            net.node("Add", &[&scaled.name, &weight], Vec::new(), &[2, n])
        }
        6 => {
            // Rows of a table, and the table as a matrix.
            let table = net.weight(&[2 * n, n], n, rng);
            let rows: Vec<i64> = (0..n).map(|_| rng.below(2 * n) as i64).collect();
            let rows = net.ints(&rows);
            let x = net.node("Gather", &[&table, &rows], Vec::new(), &[n, n]);
            let y = net.fit(&[n, n], rng);
            let y = net.map("Add", &[&x, &y]);
            let y = net.tame(&y, rng);
            let head = match rng.percent(50) {
                true => net.weight(&[2 * n, n], n, rng),
                false => table,
            };
            let equation = AttributeProto::from_string("equation", "ab,cb->ac");
            net.node("Einsum", &[&y.name, &head], vec![equation], &[n, 2 * n])
        }
        7 => {
            let x = net.fit(&[1, n, 2, 2], rng);
            let weight = net.weight(&[n, n, 1, 1], n, rng);
            let y = net.node("Conv", &[&x.name, &weight], Vec::new(), &[1, n, 2, 2]);
            let y = net.tame(&y, rng);
            net.node("Conv", &[&y.name, &weight], Vec::new(), &[1, n, 2, 2])
        }
        _ => {
            let x = net.fit(&[2, n], rng);
            let x = net.tame(&x, rng);
            let equation = *rng.pick(&["ab,ab->a", "ab,cb->ac", "ab,ac->bc", "ab,ab->ab", "ab,cd->abcd"]);
            let shape: &[usize] = match equation {
                "ab,ab->a" => &[2],
                "ab,cb->ac" => &[2, 2],
                "ab,ac->bc" => &[n, n],
                "ab,ab->ab" => &[2, n],
                _ => &[2, n, 2, n],
            };
            let equation = AttributeProto::from_string("equation", equation);
            net.node("Einsum", &[&x.name, &x.name], vec![equation], shape)
        }
    }
}
