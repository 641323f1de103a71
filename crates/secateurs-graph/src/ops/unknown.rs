//! An op that is not in the registry, or in a variant that we lack.

use crate::attribute::Attribute;
use crate::axes::AxisMap;
use crate::fact::Fact;
use crate::op::{Inputs, Op, OpError};

/// Carried through and shown, but it cannot run, and nothing that touches it can be pruned.
#[derive(Clone, Debug)]
pub struct Unknown {
    name: String,
    domain: String,
    attributes: Vec<(String, Attribute)>,
    lacking: Option<String>,
}

impl Unknown {
    /// The op of this name and domain.
    pub fn new(name: &str, domain: &str, attributes: Vec<(String, Attribute)>) -> Unknown {
        Unknown { name: name.into(), domain: domain.into(), attributes, lacking: None }
    }

    /// A variant of an op that we know, and what of it we lack.
    pub fn variant(self, lacking: String) -> Unknown {
        Unknown { lacking: Some(lacking), ..self }
    }

    /// What we lack of an op that we know otherwise.
    pub fn lacking(&self) -> Option<&str> {
        self.lacking.as_deref()
    }

    /// The attributes in file order.
    pub fn all_attributes(&self) -> &[(String, Attribute)] {
        &self.attributes
    }
}

impl Op for Unknown {
    fn name(&self) -> &str {
        &self.name
    }

    fn domain(&self) -> &str {
        &self.domain
    }

    fn attributes(&self) -> Vec<(&str, Attribute)> {
        self.attributes.iter().map(|(name, value)| (name.as_str(), value.clone())).collect()
    }

    fn infer(&self, _inputs: &Inputs) -> Result<Vec<Fact>, OpError> {
        Err(OpError::Undetermined)
    }

    fn axes(&self, inputs: &Inputs, outputs: &[Fact]) -> AxisMap {
        AxisMap::blocked(inputs.facts, outputs, "an op that is not supported")
    }

    #[cfg(feature = "torch")]
    fn eval(&self, _args: &crate::op::Args) -> Result<Vec<secateurs_torch::tch::Tensor>, OpError> {
        if let Some(lacking) = &self.lacking {
            return Err(OpError::Unsupported(lacking.clone()));
        }
        let domain = if self.domain.is_empty() { "ai.onnx" } else { &self.domain };
        Err(OpError::Unsupported(format!("the op {domain}::{} cannot be run yet", self.name)))
    }
}
