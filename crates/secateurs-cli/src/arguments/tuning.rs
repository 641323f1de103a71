//! Arguments of the commands that tune a model.

use std::str::FromStr;

use clap::Args;
use clap::builder::PossibleValuesParser;
use secateurs::tune::{BatchNormMode, Objective, OptimizerKind, Schedule, TunePrecision};
use serde::Serialize;
use toml::Table;

use super::table;
use crate::error::Result;

/// A parser of the names of an enum.
macro_rules! names {
    ($type:ty) => {
        PossibleValuesParser::new(<$type>::ALL.iter().map(|choice| choice.name()))
    };
}

/// How to tune: the table `[tune]` of recipes. What is not given is the recipe's or the default.
#[derive(Args, Serialize)]
#[command(next_help_heading = "Tuning")]
pub struct TuningArguments {
    /// Passes over the training samples; 0 tunes not at all [default: 3]
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Samples a step [default: 128, or what the model fixes; at most the training samples]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: Option<u32>,
    /// The rule of the steps: muon makes momentum orthogonal for matrices and kernels, and is adamw for the rest
    /// [default: sgd where at least half of the layers with weights are convolutions, adamw elsewhere]
    #[arg(long, value_parser = names!(OptimizerKind))]
    optimizer: Option<String>,
    /// The peak learning rate [default: for SGD 0.05 at batch 128, for AdamW 5e-5, from scratch 0.2 and 1e-3; for Muon 2.5e-3, from
    /// scratch 4e-3, where at least half of the layers with weights are convolutions, AdamW's elsewhere]
    #[arg(long, value_name = "X", alias = "lr")]
    learning_rate: Option<f64>,
    /// Weight decay of matrices and kernels [default: 5e-4 for SGD, 0.01 for AdamW and Muon]
    #[arg(long, value_name = "X")]
    weight_decay: Option<f64>,
    /// What learning rates are multiplied with from each layer to the one before it; a transformer's block is four layers deep
    /// [default: 1]
    #[arg(long, value_name = "X")]
    layer_decay: Option<f64>,
    /// Share of numbers dropped on residual branches and attention's probabilities while tuning [default: 0]
    #[arg(long, value_name = "SHARE")]
    dropout: Option<f64>,
    /// Epochs in which the learning rate rises; may be a fraction [default: 0.2]
    #[arg(long, value_name = "EPOCHS")]
    warmup: Option<f64>,
    /// How the learning rate falls then [default: cosine]
    #[arg(long, value_parser = names!(Schedule))]
    schedule: Option<String>,
    /// The learning rate at the end, as a share of the peak [default: 0]
    #[arg(long, value_name = "SHARE")]
    final_learning_rate: Option<f64>,
    /// Weight of the original's outputs in the loss, the labels having the rest [default: 0.5; without labels 1]
    #[arg(long, value_name = "SHARE")]
    distillation: Option<f64>,
    /// Temperature of the distillation [default: 2]
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Weight of the distance between hidden states of the model and of the original, beside the rest [default: 0]
    #[arg(long, value_name = "X")]
    hidden_distillation: Option<f64>,
    /// Share of a label's probability that is spread over all classes [default: 0]
    #[arg(long, value_name = "SHARE")]
    label_smoothing: Option<f64>,
    /// What the outputs are taken for [default: auto]
    #[arg(long, value_parser = names!(Objective))]
    objective: Option<String>,
    /// Epochs without a better validation after which tuning ends [default: never]
    #[arg(long, value_name = "EPOCHS", value_parser = clap::value_parser!(u32).range(1..))]
    patience: Option<u32>,
    /// Share of the training samples that is held out: it chooses among the epochs [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    validation: Option<f64>,
    /// Seed of the choice of the held-out samples [default: 0]
    #[arg(long, value_name = "N", value_parser = super::parse_seed())]
    validation_seed: Option<u64>,
    #[command(flatten)]
    #[serde(flatten)]
    details: DetailArguments,
    #[command(flatten)]
    augment: AugmentArguments,
}

#[derive(Args, Serialize)]
#[command(next_help_heading = "Tuning: details")]
struct DetailArguments {
    /// Momentum of SGD and Muon [default: 0.9 for SGD, 0.95 for Muon]
    #[arg(long, value_name = "X")]
    momentum: Option<f64>,
    /// Whether SGD and Muon look ahead [default: true]
    #[arg(long, value_name = "BOOL")]
    nesterov: Option<bool>,
    /// Decay rates of AdamW's averages [default: 0.9,0.999]
    #[arg(long, value_name = "A,B", value_parser = parse_numbers::<2>)]
    betas: Option<Numbers<2>>,
    /// AdamW's ε [default: 1e-8]
    #[arg(long, value_name = "X")]
    epsilon: Option<f64>,
    /// The largest norm of the gradient; longer ones are shortened [default: none]
    #[arg(long, value_name = "X")]
    clip_norm: Option<f64>,
    /// Decay of a moving average of the weights, which is then what is validated and written [default: none]
    #[arg(long, value_name = "X")]
    ema: Option<f64>,
    /// What is computed in which precision [default: bf16 where the processor has it, else f32]
    #[arg(long, value_parser = names!(TunePrecision))]
    precision: Option<String>,
    /// What becomes of batch norms: auto puts back those that the exporter folded [default: auto]
    #[arg(long, value_parser = names!(BatchNormMode))]
    batch_norm: Option<String>,
    /// Training samples on which batch norms are estimated anew at the end, 2 at least [default: 0, for none]
    #[arg(long, value_name = "N")]
    reestimate: Option<u32>,
}

/// Changes of the training pictures: the table `[tune.augment]`.
#[derive(Args, Serialize)]
#[command(next_help_heading = "Augmentation")]
struct AugmentArguments {
    /// Pad pictures with so many black pixels and cut them to their size at a random place
    #[arg(long, value_name = "PIXELS")]
    crop_padding: Option<u32>,
    /// Mirror each picture with probability ½
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    flip: Option<bool>,
    /// Resize a random part of the picture with a share of its area between A and B, such as 0.08,1
    #[arg(long, value_name = "A,B", value_parser = parse_crop)]
    random_resized_crop: Option<ResizedCrop>,
    /// Change brightness, contrast and saturation by factors up to these, such as 0.4,0.4,0.4
    #[arg(long = "color-jitter", value_name = "B,C,S", value_parser = parse_color)]
    color: Option<Color>,
    /// Blank a square with sides of so many pixels
    #[arg(long, value_name = "PIXELS")]
    cutout: Option<u32>,
}

/// So many numbers, as in `0.9,0.999`.
#[derive(Clone, Copy)]
struct Numbers<const N: usize>([f64; N]);

impl<const N: usize> Serialize for Numbers<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0[..].serialize(serializer)
    }
}

#[derive(Clone, Serialize)]
struct ResizedCrop {
    scale: Numbers<2>,
}

#[derive(Clone, Serialize)]
struct Color {
    brightness: f64,
    contrast: f64,
    saturation: f64,
}

fn parse_numbers<const N: usize>(text: &str) -> Result<Numbers<N>, String> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(|number| f64::from_str(number.trim())).collect();
    let numbers = numbers.ok().and_then(|numbers| numbers.try_into().ok());
    numbers.map(Numbers).ok_or_else(|| format!("expected {N} numbers with commas between"))
}

fn parse_crop(text: &str) -> Result<ResizedCrop, String> {
    Ok(ResizedCrop { scale: parse_numbers(text)? })
}

fn parse_color(text: &str) -> Result<Color, String> {
    let Numbers([brightness, contrast, saturation]) = parse_numbers(text)?;
    Ok(Color { brightness, contrast, saturation })
}

impl TuningArguments {
    /// What was given, as a recipe's table `[tune]`.
    pub fn table(&self) -> Result<Table> {
        table(self)
    }
}
