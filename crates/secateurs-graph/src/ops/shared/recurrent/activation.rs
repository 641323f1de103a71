//! The functions that recurrent layers apply, named by attributes.

use crate::op::prelude::*;
#[cfg(feature = "torch")]
use secateurs_torch::tch::TchError;

/// The attributes that name the functions, as the file has them.
#[derive(Clone, Debug)]
pub(super) struct Named {
    names: Option<Vec<String>>,
    alphas: Option<Vec<f32>>,
    betas: Option<Vec<f32>>,
}

/// A function with its numbers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::ops) struct Activation {
    function: Function,
    alpha: f32,
    beta: f32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Function {
    Relu,
    Tanh,
    Sigmoid,
    Affine,
    LeakyRelu,
    ThresholdedRelu,
    ScaledTanh,
    HardSigmoid,
    Elu,
    Softsign,
    Softplus,
}

/// What each function takes from the lists of alphas and betas, as default values.
const FUNCTIONS: [(&str, Function, Option<f32>, Option<f32>); 11] = [
    ("Relu", Function::Relu, None, None),
    ("Tanh", Function::Tanh, None, None),
    ("Sigmoid", Function::Sigmoid, None, None),
    ("Affine", Function::Affine, Some(1.0), Some(0.0)),
    ("LeakyRelu", Function::LeakyRelu, Some(0.01), None),
    ("ThresholdedRelu", Function::ThresholdedRelu, Some(1.0), None),
    ("ScaledTanh", Function::ScaledTanh, Some(1.0), Some(1.0)),
    ("HardSigmoid", Function::HardSigmoid, Some(0.2), Some(0.5)),
    ("Elu", Function::Elu, Some(1.0), None),
    ("Softsign", Function::Softsign, None, None),
    ("Softplus", Function::Softplus, None, None),
];

impl Named {
    pub fn parse(attributes: &mut Attributes) -> Result<Named, OpError> {
        Ok(Named {
            names: attributes.strings("activations")?,
            alphas: attributes.floats("activation_alpha")?,
            betas: attributes.floats("activation_beta")?,
        })
    }

    pub fn attributes(&self) -> impl Iterator<Item = (&'static str, Attribute)> {
        let names = self.names.clone().map(|names| ("activations", names.into()));
        let alphas = self.alphas.clone().map(|alphas| ("activation_alpha", alphas.into()));
        let betas = self.betas.clone().map(|betas| ("activation_beta", betas.into()));
        [names, alphas, betas].into_iter().flatten()
    }

    /// As many functions as there are default ones. Each takes its numbers from the lists where it has any.
    pub fn functions(&self, defaults: &[&str]) -> Result<Vec<Activation>, OpError> {
        let given: Vec<&str> = match &self.names {
            Some(names) if names.len() < defaults.len() => {
                let text = format!("{} activations are given and {} needed", names.len(), defaults.len());
                return Err(OpError::Invalid(text));
            }
            Some(names) => names[..defaults.len()].iter().map(String::as_str).collect(),
            None => defaults.to_vec(),
        };
        let mut alphas = self.alphas.iter().flatten().copied();
        let mut betas = self.betas.iter().flatten().copied();
        let functions = given.into_iter().map(|name| {
            // ONNX Runtime takes the names in any case.
            let known = FUNCTIONS.iter().find(|known| known.0.eq_ignore_ascii_case(name));
            let &(_, function, alpha, beta) =
                known.ok_or_else(|| OpError::Unsupported(format!("the activation '{name}'")))?;
            Ok(Activation {
                function,
                alpha: alpha.map_or(0.0, |default| alphas.next().unwrap_or(default)),
                beta: beta.map_or(0.0, |default| betas.next().unwrap_or(default)),
            })
        });
        functions.collect()
    }
}

#[cfg(feature = "torch")]
impl Activation {
    pub fn apply(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let (alpha, beta) = (f64::from(self.alpha), f64::from(self.beta));
        match self.function {
            Function::Relu => x.f_relu(),
            Function::Tanh => x.f_tanh(),
            Function::Sigmoid => x.f_sigmoid(),
            Function::Affine => x.f_mul_scalar(alpha)?.f_add_scalar(beta),
            Function::LeakyRelu => x.f_relu()?.f_add(&x.f_clamp_max(0.0)?.f_mul_scalar(alpha)?),
            Function::ThresholdedRelu => x.f_mul(&x.f_ge(alpha)?.f_to_kind(x.f_kind()?)?),
            Function::ScaledTanh => x.f_mul_scalar(beta)?.f_tanh()?.f_mul_scalar(alpha),
            Function::HardSigmoid => x.f_mul_scalar(alpha)?.f_add_scalar(beta)?.f_clamp(0.0, 1.0),
            Function::Elu => crate::ops::shared::activation::exponential_unit(x, self.alpha, 1.0),
            Function::Softsign => x.f_div(&x.f_abs()?.f_add_scalar(1.0)?),
            Function::Softplus => x.f_softplus(),
        }
    }
}
