//! Attention as exporters write it, with heads of its own or shared keys and values.

use crate::net::{Net, Value};
use crate::rng::Rng;
use secateurs_onnx::proto::AttributeProto;

pub fn step(net: &mut Net, rng: &mut Rng) {
    let (batch, tokens, heads, dim) = (1 + rng.below(2), 3, 2 + rng.below(2), 2 + rng.below(3));
    let width = heads * dim;
    let x = net.fit(&[batch, tokens, width], rng);
    let x = net.tame(&x, rng);
    let [q, k, v] = match rng.percent(40) {
        true => packed(net, &x, rng),
        false => [(); 3].map(|()| net.dense(&x, 2, width, rng)),
    };
    let split = |net: &mut Net, y: &Value, order: &[usize]| {
        let y = net.reshape(y, &[batch, tokens, heads, dim]);
        net.transpose(&y, order)
    };
    let (q, k) = (split(net, &q, &[0, 2, 1, 3]), split(net, &k, &[0, 2, 3, 1]));
    let v = split(net, &v, &[0, 2, 1, 3]);
    let square = [batch, heads, tokens, tokens];
    let scores = net.node("MatMul", &[&q.name, &k.name], Vec::new(), &square);
    let scale = net.number((dim as f32).sqrt().recip());
    let scores = net.node("Mul", &[&scores.name, &scale], Vec::new(), &square);
    let axis = AttributeProto::from_int("axis", -1);
    let weights = net.node("Softmax", &[&scores.name], vec![axis], &square);
    let y = net.node("MatMul", &[&weights.name, &v.name], Vec::new(), &[batch, heads, tokens, dim]);
    let y = net.transpose(&y, &[0, 2, 1, 3]);
    let y = net.reshape(&y, &[batch, tokens, width]);
    let y = net.dense(&y, 2, width, rng);
    let y = net.map("Add", &[&x, &y]);
    net.pool.push(y);
}

/// Queries, keys and values of one layer.
fn packed(net: &mut Net, x: &Value, rng: &mut Rng) -> [Value; 3] {
    let width = x.shape[2];
    let y = net.dense(x, 2, 3 * width, rng);
    let sizes = net.ints(&[width as i64; 3]);
    let made = net.emit("Split", &[&y.name, &sizes], 3, vec![AttributeProto::from_int("axis", 2)]);
    let mut parts = made.into_iter().map(|name| Value { name, shape: x.shape.clone(), wild: false });
    [(); 3].map(|()| parts.next().unwrap())
}
