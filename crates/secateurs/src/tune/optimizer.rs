//! The rules by which gradients change parameters: SGD with momentum, AdamW and Muon, as PyTorch defines them.

use secateurs_torch::tch::{self, TchError, Tensor};

use super::muon::Matrices;
use super::options::OptimizerKind;

/// What a rule is set to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub kind: OptimizerKind,
    pub momentum: f64,
    pub nesterov: bool,
    pub betas: [f64; 2],
    pub epsilon: f64,
    pub weight_decay: f64,
}

/// What is trained.
pub(super) struct Parameter {
    pub tensor: Tensor,
    /// Whether weight decay applies.
    pub decays: bool,
    /// What its learning rate is multiplied with.
    pub rate: f64,
    /// How Muon sees it as matrices.
    pub matrices: Option<Matrices>,
}

/// A parameter and what the rule remembers of its gradients.
#[derive(Debug)]
pub(super) struct Slot {
    /// The parameter, changed in place.
    pub parameter: Tensor,
    /// Whether weight decay applies.
    pub decays: bool,
    /// What its learning rate is multiplied with.
    pub rate: f64,
    /// Muon: how it is matrices; AdamW's rule changes what is none.
    pub matrices: Option<Matrices>,
    /// SGD and Muon's matrices: the momentum buffer; AdamW: the averages of the gradients and of their squares. Zero before the first step.
    pub moments: Vec<Tensor>,
}

/// The rule at work on all parameters.
#[derive(Debug)]
pub(super) struct Optimizer {
    rule: Rule,
    pub slots: Vec<Slot>,
}

impl Optimizer {
    pub fn new(rule: Rule, parameters: impl Iterator<Item = Parameter>) -> Result<Optimizer, TchError> {
        let slots = parameters.map(|Parameter { tensor: parameter, decays, rate, matrices }| {
            let moments = match (rule.kind, matrices) {
                (OptimizerKind::Sgd, _) if rule.momentum == 0.0 => 0,
                (OptimizerKind::Sgd, _) | (OptimizerKind::Muon, Some(_)) => 1,
                (OptimizerKind::AdamW, _) | (OptimizerKind::Muon, None) => 2,
            };
            let zeros = (0..moments).map(|_| parameter.f_detach()?.f_zeros_like());
            let moments = zeros.collect::<Result<_, _>>()?;
            Ok(Slot { parameter, decays, rate, matrices, moments })
        });
        Ok(Optimizer { rule, slots: slots.collect::<Result<_, TchError>>()? })
    }

    /// One step along gradients in the order of the slots, times `scale`; an undefined gradient leaves its parameter alone. `step`
    /// counts from 0.
    pub fn step(
        &mut self,
        gradients: &[Tensor],
        scale: f64,
        learning_rate: f64,
        step: usize,
    ) -> Result<(), TchError> {
        tch::no_grad(|| {
            for (slot, gradient) in self.slots.iter_mut().zip(gradients) {
                if !gradient.defined() {
                    continue;
                }
                let scaled =
                    if scale == 1.0 { gradient.shallow_clone() } else { gradient.f_mul_scalar(scale)? };
                let learning_rate = learning_rate * slot.rate;
                match (self.rule.kind, slot.matrices) {
                    (OptimizerKind::Sgd, _) => self.rule.sgd(slot, scaled, learning_rate)?,
                    (OptimizerKind::Muon, Some(matrices)) => {
                        self.rule.muon(slot, matrices, scaled, learning_rate)?;
                    }
                    (OptimizerKind::AdamW, _) | (OptimizerKind::Muon, None) => {
                        self.rule.adamw(slot, &scaled, learning_rate, step)?;
                    }
                }
            }
            Ok(())
        })
    }
}

impl Rule {
    /// `g += λw; b = μb + g; w −= η(g + μb)` with Nesterov's momentum, `w −= ηb` without (Sutskever et al. 2013, as in
    /// `torch.optim.SGD`).
    fn sgd(&self, slot: &mut Slot, gradient: Tensor, learning_rate: f64) -> Result<(), TchError> {
        let mut gradient = gradient;
        if slot.decays && self.weight_decay != 0.0 {
            gradient = gradient.f_add(&slot.parameter.f_mul_scalar(self.weight_decay)?)?;
        }
        let direction = self.with_momentum(slot, gradient)?;
        let _ = slot.parameter.f_sub_(&direction.f_mul_scalar(learning_rate)?)?;
        Ok(())
    }

    /// `b = μb + g`, and `g + μb` with Nesterov's momentum, `b` without; `g` where there is no momentum.
    fn with_momentum(&self, slot: &mut Slot, gradient: Tensor) -> Result<Tensor, TchError> {
        let [buffer] = &mut slot.moments[..] else { return Ok(gradient) };
        let _ = buffer.f_mul_scalar_(self.momentum)?.f_add_(&gradient)?;
        match self.nesterov {
            true => gradient.f_add(&buffer.f_mul_scalar(self.momentum)?),
            false => Ok(buffer.shallow_clone()),
        }
    }

    /// `w −= ηλw; w −= 0.2η √max(rows, columns) O`, where `O` is SGD's direction made orthogonal (see [`Matrices`]).
    fn muon(
        &self,
        slot: &mut Slot,
        matrices: Matrices,
        gradient: Tensor,
        learning_rate: f64,
    ) -> Result<(), TchError> {
        self.decay(slot, learning_rate)?;
        let direction = matrices.orthogonal(&self.with_momentum(slot, gradient)?)?;
        let _ = slot.parameter.f_sub_(&direction.f_mul_scalar(learning_rate)?)?;
        Ok(())
    }

    /// Decoupled weight decay.
    fn decay(&self, slot: &mut Slot, learning_rate: f64) -> Result<(), TchError> {
        if slot.decays && self.weight_decay != 0.0 {
            let _ = slot.parameter.f_mul_scalar_(1.0 - learning_rate * self.weight_decay)?;
        }
        Ok(())
    }

    /// `w −= ηλw; m = β₁m + (1−β₁)g; v = β₂v + (1−β₂)g²; w −= η m̂ / (√v̂ + ε)` (Loshchilov and Hutter 2019, as in
    /// `torch.optim.AdamW`).
    fn adamw(
        &self,
        slot: &mut Slot,
        gradient: &Tensor,
        learning_rate: f64,
        step: usize,
    ) -> Result<(), TchError> {
        self.decay(slot, learning_rate)?;
        let [mean, square] = &mut slot.moments[..] else { return Ok(()) };
        let [beta1, beta2] = self.betas;
        let _ = mean.f_lerp_(gradient, 1.0 - beta1)?;
        let _ = square.f_mul_scalar_(beta2)?.f_add_(&gradient.f_square()?.f_mul_scalar(1.0 - beta2)?)?;
        let count = (step + 1) as i32;
        let corrections = [1.0 - beta1.powi(count), 1.0 - beta2.powi(count)];
        let mut spread = square.f_sqrt()?.f_div_scalar(corrections[1].sqrt())?;
        let change = mean.f_div(&spread.f_add_scalar_(self.epsilon)?)?;
        let _ = slot.parameter.f_sub_(&change.f_mul_scalar(learning_rate / corrections[0])?)?;
        Ok(())
    }
}

/// The Euclidean norm over all gradients that are defined.
pub(super) fn norm(gradients: &[Tensor]) -> Result<f64, TchError> {
    let norms: Vec<Tensor> =
        gradients.iter().filter(|g| g.defined()).map(Tensor::f_norm).collect::<Result<_, _>>()?;
    match norms.is_empty() {
        true => Ok(0.0),
        false => Tensor::f_stack(&norms, 0)?.f_norm()?.f_double_value(&[]),
    }
}
