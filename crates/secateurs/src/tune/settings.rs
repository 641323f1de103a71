//! What settings come to for a model: defaults that depend on it, and which constants are trained.

use std::collections::HashSet;

use secateurs_graph::op::{Initial, InputRole};
use secateurs_graph::rewrite::is_sequence;
use secateurs_graph::{Graph, Node, ValueId};
use secateurs_torch::tch::Device;
use serde::{Deserialize, Serialize};

use super::loss::{Head, Meaning};
use super::options::{OptimizerKind, TuneOptions, TunePrecision};

/// The settings in use, where [`TuneOptions`] leaves them to the model and the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// The rule of the steps.
    pub optimizer: OptimizerKind,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// Weight decay of matrices and kernels.
    pub weight_decay: f64,
    /// What is computed in which precision.
    pub precision: TunePrecision,
    /// Weight of the teacher's outputs in the loss.
    pub distillation: f64,
    /// Samples a step.
    pub batch_size: usize,
    /// Numbers that are trained.
    pub trained_parameters: usize,
    /// The outputs that the loss is of, and what they are taken for.
    pub outputs: Vec<Output>,
}

/// An output that the loss is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// What it is taken for.
    pub meaning: Meaning,
    /// The weight of its loss among the others'.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

/// What the settings depend on beside the model.
pub(super) struct Situation<'a> {
    pub heads: &'a [Head],
    pub labelled: bool,
    pub teacher: bool,
    pub device: Device,
    pub trained: usize,
    /// Samples that are trained on.
    pub samples: usize,
    pub fixed_batch_size: Option<usize>,
}

impl Resolved {
    pub(super) fn new(options: &TuneOptions, graph: &Graph, situation: &Situation) -> Resolved {
        let convolutional = is_convolutional(graph);
        let optimizer = options.optimizer.unwrap_or(match convolutional {
            true => OptimizerKind::Sgd,
            false => OptimizerKind::AdamW,
        });
        // The learning rate is for the batches that there are.
        let batch_size =
            situation.fixed_batch_size.unwrap_or(options.batch_size.min(situation.samples.max(1)));
        let learning_rate = options.learning_rate.unwrap_or(match (optimizer, options.reinit) {
            (OptimizerKind::Sgd, false) => 0.05 * batch_size as f64 / 128.0,
            (OptimizerKind::Sgd, true) => 0.2 * batch_size as f64 / 128.0,
            (OptimizerKind::Muon, false) if convolutional => 2.5e-3,
            (OptimizerKind::Muon, true) if convolutional => 4e-3,
            // Muon's steps are as large as AdamW's.
            (OptimizerKind::AdamW | OptimizerKind::Muon, false) => 5e-5,
            (OptimizerKind::AdamW | OptimizerKind::Muon, true) => 1e-3,
        });
        let weight_decay = options.weight_decay.unwrap_or(match optimizer {
            OptimizerKind::Sgd => 5e-4,
            OptimizerKind::AdamW | OptimizerKind::Muon => 0.01,
        });
        let precision = options.precision.unwrap_or(match situation.device {
            Device::Cpu if !has_bf16() => TunePrecision::F32,
            _ => TunePrecision::Bf16,
        });
        let distillation = match (situation.teacher, situation.labelled) {
            (false, _) => 0.0,
            (true, false) => 1.0,
            (true, true) => options.distillation,
        };
        let output = |head: &Head| Output {
            name: graph.values[graph.outputs[head.index]].name.clone(),
            meaning: head.meaning,
            weight: head.weight,
        };
        Resolved {
            optimizer,
            learning_rate,
            weight_decay,
            precision,
            distillation,
            batch_size,
            trained_parameters: situation.trained,
            outputs: situation.heads.iter().map(output).collect(),
        }
    }
}

/// Whether convolutions are most of what has weights: the patches of a vision transformer are made by one, too.
fn is_convolutional(graph: &Graph) -> bool {
    let mut counts = [0_usize; 2];
    for node in graph.nodes.values() {
        let weighted = node.inputs.iter().enumerate().any(|(i, input)| {
            let matrix = |value: &ValueId| graph.tensor(*value).is_some_and(|t| is_matrix(t.shape()));
            node.op.role(i) == InputRole::Parameter && input.as_ref().is_some_and(matrix)
        });
        if node.op.prefers_channels_last() {
            counts[0] += 1;
        } else if weighted {
            counts[1] += 1;
        }
    }
    counts[0] > 0 && counts[0] >= counts[1]
}

/// Whether the processor multiplies bfloat16 in hardware.
fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Constants that training must leave alone though they look like parameters. Where no op reads them as a matrix of weights: masks, that is
/// matrices of at most two different values, and [sequences](is_sequence), as positions, their sinusoids and the frequencies of rotary
/// embeddings are.
pub(super) fn computed(graph: &Graph) -> HashSet<ValueId> {
    let read_as_weight = |value: ValueId| {
        graph.nodes.values().any(|node| {
            node.inputs
                .iter()
                .enumerate()
                .any(|(i, input)| *input == Some(value) && node.op.role(i) == InputRole::Parameter)
        })
    };
    let at_most_two = |numbers: &[f64]| {
        let mut others = numbers.iter().filter(|x| **x != numbers[0]);
        let second = others.next();
        others.all(|x| Some(x) == second)
    };
    let is_computed = |value: ValueId| {
        let Some(tensor) = graph.tensor(value) else { return false };
        let is_matrix = is_matrix(tensor.shape());
        if is_matrix && read_as_weight(value) {
            return false;
        }
        let Ok(numbers) = tensor.to_f64_vec() else { return false };
        is_sequence(tensor.shape(), &numbers) || is_matrix && at_most_two(&numbers)
    };
    graph.parameters().iter().map(|p| p.value).filter(|&value| is_computed(value)).collect()
}

/// Whether weight decay applies to a parameter: a matrix or kernel, but not one that starts from a single number, as what norms multiply
/// by and add does, which may have several axes too.
pub(super) fn decays(graph: &Graph, value: ValueId) -> bool {
    let from_one_number = |node: &Node, input: usize| {
        let facts = graph.input_facts(node);
        matches!(node.op.initial(input, &node.op_inputs(&facts)), Initial::Constant(_))
    };
    let read_so = |node: &Node| {
        let mut inputs = node.inputs.iter().enumerate();
        inputs.any(|(i, input)| *input == Some(value) && from_one_number(node, i))
    };
    graph.tensor(value).is_some_and(|tensor| is_matrix(tensor.shape())) && !graph.nodes.values().any(read_so)
}

/// Whether a tensor of this shape is a matrix or a kernel, and no vector, however many axes it has.
pub(super) fn is_matrix(shape: &[usize]) -> bool {
    shape.iter().filter(|n| **n > 1).count() >= 2
}
