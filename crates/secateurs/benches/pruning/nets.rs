//! The models: torchvision's ResNet-50, and graphs of any size.

use secateurs_onnx::proto::AttributeProto;
use secateurs_onnx::{ElementType, Model, ModelBuilder, Tensor};

struct Net {
    builder: ModelBuilder,
    state: u64,
    nodes: usize,
}

impl Net {
    fn new(input: &[&str]) -> Net {
        let builder = ModelBuilder::new(20).input("x", ElementType::Float32, input);
        Net { builder, state: 1, nodes: 0 }
    }

    fn build(&mut self, f: impl FnOnce(ModelBuilder) -> ModelBuilder) {
        self.builder = f(std::mem::replace(&mut self.builder, ModelBuilder::new(1)));
    }

    fn constant(&mut self, name: &str, tensor: &Tensor) -> String {
        self.build(|b| b.constant(name, tensor));
        name.to_owned()
    }

    /// Random numbers in 0.5..1.5, less `offset`.
    fn random(&mut self, name: &str, shape: &[usize], offset: f32) -> String {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| {
                self.state ^= self.state << 13;
                self.state ^= self.state >> 7;
                self.state ^= self.state << 17;
                (self.state >> 40) as f32 / (1u64 << 24) as f32 + 0.5 - offset
            })
            .collect();
        let tensor = Tensor::from_slice(shape.to_vec(), &values).expect("a tensor of its shape");
        self.constant(name, &tensor)
    }

    fn node(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        self.nodes += 1;
        let output = format!("{op}_{}", self.nodes);
        self.build(|b| b.node_with(op, inputs, &[&output], attributes));
        output
    }

    fn conv(&mut self, x: &str, [out, inp, kernel]: [usize; 3], stride: i64) -> String {
        let weight = self.random(&format!("conv_{}.weight", self.nodes), &[out, inp, kernel, kernel], 1.0);
        let attributes = vec![
            AttributeProto::from_ints("pads", vec![kernel as i64 / 2; 4]),
            AttributeProto::from_ints("strides", vec![stride; 2]),
        ];
        let y = self.node("Conv", &[x, &weight], attributes);
        let parts = [("weight", 0.0), ("bias", 1.0), ("running_mean", 1.0), ("running_var", 0.0)];
        let parts = parts.map(|(name, offset)| {
            let name = format!("bn_{}.{name}", self.nodes);
            self.random(&name, &[out], offset)
        });
        self.node("BatchNormalization", &[&y, &parts[0], &parts[1], &parts[2], &parts[3]], Vec::new())
    }

    fn relu(&mut self, x: &str) -> String {
        self.node("Relu", &[x], Vec::new())
    }

    fn dense(&mut self, x: &str, [inp, out]: [usize; 2]) -> String {
        let weight = self.random(&format!("dense_{}.weight", self.nodes), &[inp, out], 1.0);
        let bias = self.random(&format!("dense_{}.bias", self.nodes), &[out], 1.0);
        let y = self.node("MatMul", &[x, &weight], Vec::new());
        self.node("Add", &[&y, &bias], Vec::new())
    }

    /// Pooled over the image, and classes.
    fn head(&mut self, x: &str, [inp, classes]: [usize; 2]) -> String {
        let y = self.node("GlobalAveragePool", &[x], Vec::new());
        let y = self.node("Flatten", &[&y], Vec::new());
        self.dense(&y, [inp, classes])
    }

    fn done(self, output: &str) -> Model {
        self.builder.output(output).build().expect("the net is a model")
    }
}

pub fn resnet50() -> Model {
    let mut net = Net::new(&["batch", "3", "224", "224"]);
    let y = net.conv("x", [64, 3, 7], 2);
    let y = net.relu(&y);
    let attributes = ["kernel_shape", "pads", "strides"].into_iter().zip([3, 1, 2]);
    let attributes = attributes.map(|(name, n)| {
        let count = if name == "pads" { 4 } else { 2 };
        AttributeProto::from_ints(name, vec![n; count])
    });
    let mut y = net.node("MaxPool", &[&y], attributes.collect());
    let mut inp = 64;
    for (stage, blocks) in [3, 4, 6, 3].into_iter().enumerate() {
        let width = 64 << stage;
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let skip = match block {
                0 => net.conv(&y, [4 * width, inp, 1], stride),
                _ => y.clone(),
            };
            let mut z = net.conv(&y, [width, inp, 1], 1);
            z = net.relu(&z);
            z = net.conv(&z, [width, width, 3], stride);
            z = net.relu(&z);
            z = net.conv(&z, [4 * width, width, 1], 1);
            z = net.node("Add", &[&z, &skip], Vec::new());
            y = net.relu(&z);
            inp = 4 * width;
        }
    }
    let y = net.head(&y, [2048, 1000]);
    net.done(&y)
}

/// Residual blocks of two convolutions; every tenth doubles the stage anew, so that groups stay of one size.
pub fn residual(nodes: usize) -> Model {
    const WIDTH: usize = 32;
    let mut net = Net::new(&["batch", "3", "8", "8"]);
    let mut y = net.conv("x", [WIDTH, 3, 3], 1);
    let mut block = 0;
    while net.nodes + 10 < nodes {
        block += 1;
        let mut z = net.conv(&y, [WIDTH, WIDTH, 3], 1);
        z = net.relu(&z);
        z = net.conv(&z, [WIDTH, WIDTH, 3], 1);
        let skip = if block % 10 == 0 { net.conv(&y, [WIDTH, WIDTH, 1], 1) } else { y };
        z = net.node("Add", &[&z, &skip], Vec::new());
        y = net.relu(&z);
    }
    let y = net.head(&y, [WIDTH, 10]);
    net.done(&y)
}

/// Pre-norm transformer blocks, attention decomposed as exporters do it; one residual stream through all.
pub fn transformer(nodes: usize) -> Model {
    const WIDTH: usize = 32;
    const HEADS: usize = 4;
    let mut net = Net::new(&["batch", "tokens", "16"]);
    let ints = |net: &mut Net, name: &str, values: &[i64]| {
        let tensor = Tensor::from_slice(vec![values.len()], values).expect("a list");
        net.constant(name, &tensor)
    };
    let parted = ints(&mut net, "parted", &[0, 0, HEADS as i64, (WIDTH / HEADS) as i64]);
    let merged = ints(&mut net, "merged", &[0, 0, WIDTH as i64]);
    let scale = net.constant("scale", &Tensor::scalar((HEADS as f32 / WIDTH as f32).sqrt()));
    let perm = |order: &[i64]| vec![AttributeProto::from_ints("perm", order.to_vec())];
    let norm = |net: &mut Net, x: &str| {
        let weight = net.random(&format!("norm_{}.weight", net.nodes), &[WIDTH], 0.0);
        let bias = net.random(&format!("norm_{}.bias", net.nodes), &[WIDTH], 1.0);
        net.node("LayerNormalization", &[x, &weight, &bias], vec![AttributeProto::from_int("axis", -1)])
    };
    let mut y = net.dense("x", [16, WIDTH]);
    while net.nodes + 32 < nodes {
        let x = norm(&mut net, &y);
        let heads = [[0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]].map(|order| {
            let z = net.dense(&x, [WIDTH, WIDTH]);
            let z = net.node("Reshape", &[&z, &parted], Vec::new());
            net.node("Transpose", &[&z], perm(&order))
        });
        let z = net.node("MatMul", &[&heads[0], &heads[1]], Vec::new());
        let z = net.node("Mul", &[&z, &scale], Vec::new());
        let z = net.node("Softmax", &[&z], vec![AttributeProto::from_int("axis", -1)]);
        let z = net.node("MatMul", &[&z, &heads[2]], Vec::new());
        let z = net.node("Transpose", &[&z], perm(&[0, 2, 1, 3]));
        let z = net.node("Reshape", &[&z, &merged], Vec::new());
        let z = net.dense(&z, [WIDTH, WIDTH]);
        y = net.node("Add", &[&y, &z], Vec::new());
        let z = norm(&mut net, &y);
        let z = net.dense(&z, [WIDTH, 2 * WIDTH]);
        let z = net.node("Gelu", &[&z], Vec::new());
        let z = net.dense(&z, [2 * WIDTH, WIDTH]);
        y = net.node("Add", &[&y, &z], Vec::new());
    }
    let y = net.dense(&y, [WIDTH, 10]);
    net.done(&y)
}
