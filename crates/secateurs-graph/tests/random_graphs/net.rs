//! A graph under growth: the values that there are, and layers that make one of any shape from another.

use std::collections::HashSet;

use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, Model, ModelBuilder, Tensor};

use crate::rng::Rng;

/// A float value of the graph.
#[derive(Clone, Debug)]
pub struct Value {
    pub name: String,
    pub shape: Vec<usize>,
    /// Whether it may be large.
    pub wild: bool,
}

impl Value {
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What an input of the model is given.
pub enum Feed {
    /// Random floats of this shape.
    Floats(Vec<usize>),
    /// Always the same.
    Fixed(Tensor),
}

/// The largest weight of a layer that fits one shape to another.
const MAX_WEIGHT: usize = 40_000;

pub struct Net {
    pub opset: i64,
    pub pool: Vec<Value>,
    builder: ModelBuilder,
    feeds: Vec<Feed>,
    outputs: Vec<String>,
    weights: Vec<(String, Vec<usize>)>,
    read: HashSet<String>,
    domains: HashSet<String>,
    names: usize,
}

impl Net {
    pub fn new(opset: i64, rng: &mut Rng) -> Net {
        let mut net = Net {
            opset,
            pool: Vec::new(),
            builder: ModelBuilder::new(opset),
            feeds: Vec::new(),
            outputs: Vec::new(),
            weights: Vec::new(),
            read: HashSet::new(),
            domains: HashSet::new(),
            names: 0,
        };
        let shapes: [&[usize]; 5] = [&[1, 6], &[2, 5], &[1, 3, 4, 4], &[2, 4, 6], &[5]];
        for _ in 0..1 + rng.below(2) {
            let shape = rng.pick(&shapes).to_vec();
            let name = net.input(ElementType::Float32, &shape, Feed::Floats(shape.clone()));
            net.pool.push(Value { name, shape, wild: false });
        }
        let wide: [&[usize]; 4] = [&[1, 8], &[1, 6, 4, 4], &[1, 4, 8], &[3, 6]];
        for _ in 0..1 + rng.below(2) {
            let shape = rng.pick(&wide).to_vec();
            let value = net.fit(&shape, rng);
            net.pool.push(value);
        }
        net
    }

    pub fn name(&mut self) -> String {
        self.names += 1;
        format!("v{}", self.names)
    }

    fn build(&mut self, f: impl FnOnce(ModelBuilder) -> ModelBuilder) {
        self.builder = f(std::mem::replace(&mut self.builder, ModelBuilder::new(1)));
    }

    pub fn input(&mut self, element_type: ElementType, shape: &[usize], feed: Feed) -> String {
        let name = self.name();
        let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
        let sizes: Vec<&str> = sizes.iter().map(String::as_str).collect();
        self.build(|b| b.input(&name, element_type, &sizes));
        self.feeds.push(feed);
        name
    }

    pub fn constant(&mut self, tensor: &Tensor) -> String {
        let name = self.name();
        self.build(|b| b.constant(&name, tensor));
        name
    }

    pub fn ints(&mut self, values: &[i64]) -> String {
        self.constant(&Tensor::from_slice(vec![values.len()], values).unwrap())
    }

    pub fn number(&mut self, value: f32) -> String {
        self.constant(&Tensor::scalar(value))
    }

    /// A weight for sums of so many numbers; now and then one that there is, shared.
    pub fn weight(&mut self, shape: &[usize], summed: usize, rng: &mut Rng) -> String {
        let same: Vec<&String> = self.weights.iter().filter(|w| w.1 == shape).map(|w| &w.0).collect();
        if !same.is_empty() && rng.percent(15) {
            return (*rng.pick(&same)).clone();
        }
        let tensor = rng.tensor(shape, (3.0 / summed.max(1) as f32).sqrt());
        let name = self.constant(&tensor);
        self.weights.push((name.clone(), shape.to_vec()));
        name
    }

    /// A node; its outputs are named.
    pub fn emit(
        &mut self,
        op: &str,
        inputs: &[&str],
        outputs: usize,
        attributes: Vec<AttributeProto>,
    ) -> Vec<String> {
        if let Some((domain, _)) = op.split_once("::")
            && self.domains.insert(domain.to_owned())
        {
            self.build(|b| b.domain(domain, 1));
        }
        self.read.extend(inputs.iter().map(|name| (*name).to_owned()));
        let names: Vec<String> = (0..outputs).map(|_| self.name()).collect();
        let listed: Vec<&str> = names.iter().map(String::as_str).collect();
        self.build(|b| b.node_with(op, inputs, &listed, attributes));
        names
    }

    /// A node of one output.
    pub fn node(
        &mut self,
        op: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
        shape: &[usize],
    ) -> Value {
        let name = self.emit(op, inputs, 1, attributes).remove(0);
        Value { name, shape: shape.to_vec(), wild: false }
    }

    /// A node that works element by element.
    pub fn map(&mut self, op: &str, inputs: &[&Value]) -> Value {
        let names: Vec<&str> = inputs.iter().map(|v| v.name.as_str()).collect();
        let wild = inputs.iter().any(|v| v.wild) || op == "Mul";
        Value { wild, ..self.node(op, &names, Vec::new(), &inputs[0].shape) }
    }

    pub fn reshape(&mut self, x: &Value, shape: &[usize]) -> Value {
        let sizes: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        let sizes = self.ints(&sizes);
        Value { wild: x.wild, ..self.node("Reshape", &[&x.name, &sizes], Vec::new(), shape) }
    }

    pub fn transpose(&mut self, x: &Value, order: &[usize]) -> Value {
        let shape: Vec<usize> = order.iter().map(|&k| x.shape[k]).collect();
        let order: Vec<i64> = order.iter().map(|&k| k as i64).collect();
        let attributes = vec![AttributeProto::from_ints("perm", order)];
        Value { wild: x.wild, ..self.node("Transpose", &[&x.name], attributes, &shape) }
    }

    /// Brought into −1..1 where it may be large.
    pub fn tame(&mut self, x: &Value, rng: &mut Rng) -> Value {
        match x.wild {
            true => Value { wild: false, ..self.map(rng.word(&["Tanh", "Softsign"]), &[x]) },
            false => x.clone(),
        }
    }

    /// A value of the pool, late ones more often.
    pub fn any(&mut self, rng: &mut Rng) -> Value {
        let n = self.pool.len();
        let back = rng.below(n).min(rng.below(n));
        self.pool[n - 1 - back].clone()
    }

    /// A dense layer along one axis.
    pub fn dense(&mut self, x: &Value, axis: usize, size: usize, rng: &mut Rng) -> Value {
        let x = self.tame(x, rng);
        let (rank, old) = (x.shape.len(), x.shape[axis]);
        let mut shape = x.shape.clone();
        shape[axis] = size;
        let y = if axis == 1 && (3..5).contains(&rank) && rng.percent(70) {
            self.conv(&x, size, rng)
        } else if axis + 1 == rank {
            let weight = self.weight(&[old, size], old, rng);
            self.node("MatMul", &[&x.name, &weight], Vec::new(), &shape)
        } else {
            let mut order: Vec<usize> = (0..rank).collect();
            order.swap(axis, rank - 1);
            let turned = self.transpose(&x, &order);
            let weight = self.weight(&[old, size], old, rng);
            let mut turned_shape = turned.shape.clone();
            turned_shape[rank - 1] = size;
            let y = self.node("MatMul", &[&turned.name, &weight], Vec::new(), &turned_shape);
            self.transpose(&y, &order)
        };
        if axis + 1 == rank && rng.percent(50) {
            let bias = self.weight(&[size], 4, rng);
            return self.node("Add", &[&y.name, &bias], Vec::new(), &shape);
        }
        y
    }

    /// A convolution that keeps the size, with groups where the channels allow.
    fn conv(&mut self, x: &Value, out: usize, rng: &mut Rng) -> Value {
        let (inp, spatial) = (x.shape[1], x.shape.len() - 2);
        let divisors: Vec<usize> =
            (1..=inp).filter(|g| inp.is_multiple_of(*g) && out.is_multiple_of(*g)).collect();
        let group = if rng.percent(30) { *rng.pick(&divisors) } else { 1 };
        let kernel = 1 + 2 * rng.below(2);
        let mut sizes = vec![out, inp / group];
        sizes.extend(vec![kernel; spatial]);
        let weight = self.weight(&sizes, inp / group * kernel, rng);
        let mut shape = x.shape.clone();
        shape[1] = out;
        let mut inputs = vec![x.name.clone(), weight];
        if rng.percent(50) {
            inputs.push(self.weight(&[out], 4, rng));
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let pads = vec![kernel as i64 / 2; 2 * spatial];
        let attributes =
            vec![AttributeProto::from_int("group", group as i64), AttributeProto::from_ints("pads", pads)];
        self.node("Conv", &inputs, attributes, &shape)
    }

    /// A value of a shape: one that there is, or a new layer's.
    pub fn fit(&mut self, shape: &[usize], rng: &mut Rng) -> Value {
        let found: Vec<Value> = self.pool.iter().filter(|v| v.shape == shape).cloned().collect();
        if !found.is_empty() && rng.percent(70) {
            return rng.pick(&found).clone();
        }
        let made = self.made(shape, rng);
        if !found.is_empty() && rng.percent(30) {
            let other = rng.pick(&found).clone();
            return self.map(rng.word(&["Add", "Sub", "Mul", "Max"]), &[&made, &other]);
        }
        if rng.percent(30) {
            return self.map(rng.word(&["Relu", "Tanh", "Sigmoid"]), &[&made]);
        }
        made
    }

    fn made(&mut self, shape: &[usize], rng: &mut Rng) -> Value {
        let len: usize = shape.iter().product();
        let small = |v: &Value| v.len() * len <= MAX_WEIGHT;
        let x = (0..8).map(|_| self.any(rng)).find(small);
        let x = x.unwrap_or_else(|| self.pool.iter().min_by_key(|v| v.len()).cloned().unwrap());
        let parts: Vec<usize> = (0..shape.len()).filter(|&k| x.shape.get(k) != Some(&shape[k])).collect();
        if x.shape.len() == shape.len() && parts.len() <= 2 && rng.percent(75) {
            return parts.iter().fold(x, |x, &axis| self.dense(&x, axis, shape[axis], rng));
        }
        if x.len() == len && rng.percent(50) {
            return self.reshape(&x, shape);
        }
        let flat = self.reshape(&x, &[1, x.len()]);
        let y = self.dense(&flat, 1, len, rng);
        if y.shape == shape { y } else { self.reshape(&y, shape) }
    }

    /// Makes a name an output as it is.
    pub fn output(&mut self, name: String) {
        self.outputs.push(name);
    }

    /// The model; values that nothing reads yet are read by dense layers.
    pub fn done(mut self, ends: usize, rng: &mut Rng) -> (Model, Vec<Feed>) {
        let unread = self.pool.iter().rev().filter(|v| !self.read.contains(&v.name));
        let mut found: Vec<Value> = unread.take(ends).cloned().collect();
        if found.is_empty() {
            found.push(self.any(rng));
        }
        for end in found {
            let flat = self.reshape(&end, &[1, end.len()]);
            let y = self.dense(&flat, 1, 3, rng);
            self.output(y.name);
        }
        // Sizes of what may shrink, which leave the model.
        if rng.percent(25) {
            let of = self.any(rng).name;
            let sizes = self.emit(rng.word(&["Shape", "Size"]), &[&of], 1, Vec::new());
            sizes.into_iter().for_each(|name| self.output(name));
        }
        let outputs = std::mem::take(&mut self.outputs);
        let builder = outputs.iter().fold(self.builder, |b, name| b.output(name));
        (builder.build().unwrap(), self.feeds)
    }
}
