//! How a model is tuned: every setting that changes the result.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Settings of a training. The default recovers a pruned model from its original; keys of recipes have these names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TuneOptions {
    /// Passes over the training samples; 0 trains not at all.
    pub epochs: usize,
    /// Samples a step.
    pub batch_size: usize,
    /// The rule of the steps; chosen by the model where it is left out: SGD where at least half of the layers with weights are
    /// convolutions, AdamW elsewhere.
    pub optimizer: Option<OptimizerKind>,
    /// The peak learning rate; where it is left out, 0.05 for SGD at batch 128 (in proportion to the batch) and 5e-5 for AdamW;
    /// from scratch 0.2 and 1e-3. For Muon 2.5e-3 (from scratch 4e-3) where SGD would be chosen, elsewhere AdamW's.
    pub learning_rate: Option<f64>,
    /// Momentum of SGD and Muon; where it is left out, 0.9 for SGD and 0.95 for Muon.
    pub momentum: Option<f64>,
    /// Whether SGD and Muon look ahead (Nesterov).
    pub nesterov: bool,
    /// Decay rates of AdamW's averages of gradients and their squares.
    pub betas: [f64; 2],
    /// AdamW's ε.
    pub epsilon: f64,
    /// Weight decay of matrices and kernels, never of norms, biases and other vectors; where it is left out, 5e-4 for SGD (added
    /// to the gradient) and 0.01 for AdamW and Muon (decoupled).
    pub weight_decay: Option<f64>,
    /// What learning rates are multiplied with from each layer to the one before it (Clark et al. 2020, by layers that multiply by a
    /// matrix or kernel, of which a block of a transformer has four behind one another). A layer's depth is the longest way to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_decay: Option<f64>,
    /// Share of numbers that are dropped on branches of residual sums and on attention's probabilities while tuning, where the model has no
    /// dropout of its own; none is in the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Epochs in which the learning rate rises linearly from 0 to its peak; may be a fraction.
    pub warmup: f64,
    /// How the learning rate falls after its peak.
    pub schedule: Schedule,
    /// The learning rate at the end, as a share of the peak.
    pub final_learning_rate: f64,
    /// What the outputs are taken for.
    pub objective: Objective,
    /// Weight of the teacher's outputs in the loss, the labels having the rest; without labels it is 1.
    pub distillation: f64,
    /// Temperature of the distillation (Hinton, Vinyals and Dean 2015).
    pub temperature: f64,
    /// Weight of the distance between hidden states of the model and of its teacher, beside the loss of labels and outputs: the mean over
    /// residual sums of their squared error over the teacher's variance (as in Sun et al. 2019 and Jiao et al. 2020). States of pruned
    /// width are compared with the teacher's kept units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden_distillation: Option<f64>,
    /// Share of the label's probability that is spread evenly over all classes (Szegedy et al. 2016).
    pub label_smoothing: f64,
    /// The largest norm of the gradient over all parameters; longer ones are shortened to it.
    pub clip_norm: Option<f64>,
    /// Decay of the moving average of the weights, which is then what is validated and written; in use from the first step on, with
    /// decay min(ema, (1 + step) / (10 + step)).
    pub ema: Option<f64>,
    /// What is computed in which precision; where it is left out, bf16 where the processor has it, else f32.
    pub precision: Option<TunePrecision>,
    /// What becomes of batch norms.
    pub batch_norm: BatchNormMode,
    /// Training samples on which the statistics of batch norms are estimated anew before writing, 2 at least; 0 keeps the moving averages.
    pub reestimate: usize,
    /// Changes of the training pictures.
    pub augment: crate::data::Augment,
    /// Share of the training samples that are held out: they choose among epochs and are reported.
    pub validation: f64,
    /// Seed of the choice of the held-out samples, apart from `seed`, so that runs with other seeds are comparable.
    pub validation_seed: u64,
    /// Epochs without a better validation metric after which the training ends.
    pub patience: Option<usize>,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Whether all parameters are drawn anew first.
    pub reinit: bool,
}

impl Default for TuneOptions {
    fn default() -> TuneOptions {
        TuneOptions {
            epochs: 3,
            batch_size: 128,
            optimizer: None,
            learning_rate: None,
            momentum: None,
            nesterov: true,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            weight_decay: None,
            layer_decay: None,
            dropout: None,
            warmup: 0.2,
            schedule: Schedule::Cosine,
            final_learning_rate: 0.0,
            objective: Objective::Auto,
            distillation: 0.5,
            temperature: 2.0,
            hidden_distillation: None,
            label_smoothing: 0.0,
            clip_norm: None,
            ema: None,
            precision: None,
            batch_norm: BatchNormMode::Auto,
            reestimate: 0,
            augment: crate::data::Augment::default(),
            validation: 0.1,
            validation_seed: 0,
            patience: None,
            seed: 0,
            reinit: false,
        }
    }
}

/// The rule by which gradients change parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    AdamW,
    /// Momentum made orthogonal for the matrices and kernels of layers (Jordan et al. 2024), AdamW for the rest.
    Muon,
}

/// How the learning rate falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Half a cosine (Loshchilov and Hutter 2017).
    Cosine,
    /// A straight line.
    Linear,
    /// To a tenth at a half of the steps, and to a hundredth at three quarters.
    Steps,
    /// Not at all.
    Constant,
}

/// What the outputs are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// What the data's labels, the output's last op, its name or its shape `[N, K]` say.
    Auto,
    /// Class scores: cross-entropy and divergence of their softmax.
    Classes,
    /// Labels that hold or not, each by itself: binary cross-entropy and divergence of their sigmoids.
    #[serde(rename = "multi-label")]
    MultiLabel,
    /// Numbers: squared error, in training relative to their variance.
    Values,
}

/// What is computed in which precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TunePrecision {
    /// Matrix products and convolutions in bfloat16, parameters and their updates in 32 bits.
    Bf16,
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
}

/// What becomes of batch norms in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchNormMode {
    /// They normalise by the batch; where the exporter has folded them into convolutions, exact ones are inserted while tuning
    /// and folded again on writing. Where the model fixes a batch too small for statistics they keep theirs, and none are inserted.
    Auto,
    /// They normalise by the batch; none are inserted.
    Train,
    /// They keep their statistics; none are inserted.
    Freeze,
}

macro_rules! names {
    ($($type:ty: $($variant:ident = $name:literal),+;)+) => {$(
        impl $type {
            /// All choices.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
            /// The name in recipes and on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    )+};
}

names! {
    OptimizerKind: Sgd = "sgd", AdamW = "adamw", Muon = "muon";
    Schedule: Cosine = "cosine", Linear = "linear", Steps = "steps", Constant = "constant";
    Objective: Auto = "auto", Classes = "classes", MultiLabel = "multi-label", Values = "values";
    TunePrecision: Bf16 = "bf16", F32 = "f32", F64 = "f64";
    BatchNormMode: Auto = "auto", Train = "train", Freeze = "freeze";
}

impl TuneOptions {
    /// Refuses settings that make no sense, naming them.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: f64, low: f64, high: f64| match (low..=high).contains(&value) {
            true => Ok(()),
            false => Err(format!("{name} = {value}: must be from {low} to {high}")),
        };
        if self.batch_size == 0 {
            return Err("batch_size = 0: must be at least 1".into());
        }
        if self.reestimate == 1 {
            return Err("reestimate = 1: one sample may have no variance; give 2 at least, or 0 to keep the statistics".into());
        }
        if self.patience == Some(0) {
            return Err("patience = 0: must be at least 1; leave it out to train all epochs".into());
        }
        within("learning_rate", self.learning_rate.unwrap_or(0.0), 0.0, 1e3)?;
        within("momentum", self.momentum.unwrap_or(0.0), 0.0, 0.999_999)?;
        within("betas", self.betas[0], 0.0, 0.999_999)?;
        within("betas", self.betas[1], 0.0, 0.999_999_99)?;
        within("epsilon", self.epsilon, f64::MIN_POSITIVE, 1.0)?;
        within("weight_decay", self.weight_decay.unwrap_or(0.0), 0.0, 1e3)?;
        within("layer_decay", self.layer_decay.unwrap_or(1.0), 1e-3, 1.0)?;
        within("dropout", self.dropout.unwrap_or(0.0), 0.0, 0.9)?;
        within("hidden_distillation", self.hidden_distillation.unwrap_or(0.0), 0.0, 1e6)?;
        within("warmup", self.warmup, 0.0, 1e6)?;
        within("final_learning_rate", self.final_learning_rate, 0.0, 1.0)?;
        within("distillation", self.distillation, 0.0, 1.0)?;
        within("temperature", self.temperature, 1e-3, 1e3)?;
        within("label_smoothing", self.label_smoothing, 0.0, 1.0)?;
        within("clip_norm", self.clip_norm.unwrap_or(1.0), f64::MIN_POSITIVE, f64::MAX)?;
        within("ema", self.ema.unwrap_or(0.0), 0.0, 0.999_999_99)?;
        within("validation", self.validation, 0.0, 0.9)?;
        Ok(())
    }
}
