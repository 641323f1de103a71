//! What a smaller model may cost: `params=0.5`, `macs=0.5`, `units=0.5`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Something that a model costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Parameters.
    Params,
    /// Multiply–accumulates at the bound sizes.
    Macs,
    /// Units of groups: what papers count as channels.
    Units,
}

impl Resource {
    const ALL: [Resource; 3] = [Resource::Params, Resource::Macs, Resource::Units];

    /// The name in `--keep`.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Params => "params",
            Resource::Macs => "macs",
            Resource::Units => "units",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The share of a resource that may be kept, between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Limit {
    /// Of what.
    pub resource: Resource,
    /// How much of the original's.
    pub share: f64,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.resource, self.share)
    }
}

/// Why a budget is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// Not of the form `resource=share`.
    #[error("'{0}' is no budget; write params=, macs= or units= and a share, as in params=0.5")]
    Form(String),
    /// A share that is no number between 0 and 1.
    #[error(
        "'{0}': the share to keep must be a number between 0 and 1, both excluded (0 would keep nothing, 1 everything)"
    )]
    Share(String),
    /// A resource that is limited twice.
    #[error("{0} is limited twice; give each of params, macs and units once")]
    Twice(Resource),
    /// No limit at all.
    #[error("there is no budget; give one, as in params=0.5")]
    Empty,
}

impl TryFrom<String> for Limit {
    type Error = BudgetError;

    fn try_from(text: String) -> Result<Limit, BudgetError> {
        text.parse()
    }
}

impl From<Limit> for String {
    fn from(limit: Limit) -> String {
        limit.to_string()
    }
}

impl FromStr for Limit {
    type Err = BudgetError;

    fn from_str(text: &str) -> Result<Limit, BudgetError> {
        let (name, share) = text.split_once('=').ok_or_else(|| BudgetError::Form(text.into()))?;
        let resource = Resource::ALL.into_iter().find(|r| r.name() == name.trim());
        let resource = resource.ok_or_else(|| BudgetError::Form(text.into()))?;
        let share: f64 = share.trim().parse().map_err(|_| BudgetError::Share(text.into()))?;
        match share > 0.0 && share < 1.0 {
            true => Ok(Limit { resource, share }),
            false => Err(BudgetError::Share(text.into())),
        }
    }
}

/// Limits that must all hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget(Vec<Limit>);

impl Budget {
    /// At least one limit, each resource once.
    pub fn new(limits: Vec<Limit>) -> Result<Budget, BudgetError> {
        if limits.is_empty() {
            return Err(BudgetError::Empty);
        }
        for (i, limit) in limits.iter().enumerate() {
            if limits[..i].iter().any(|other| other.resource == limit.resource) {
                return Err(BudgetError::Twice(limit.resource));
            }
        }
        Ok(Budget(limits))
    }

    /// The limits.
    pub fn limits(&self) -> &[Limit] {
        &self.0
    }

    /// The share of a resource, if it is limited.
    pub fn share(&self, resource: Resource) -> Option<f64> {
        self.0.iter().find(|l| l.resource == resource).map(|l| l.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_between_0_and_1_is_a_limit() {
        assert_eq!("params=0.5".parse(), Ok(Limit { resource: Resource::Params, share: 0.5 }));
        assert_eq!("macs = 1e-3".parse(), Ok(Limit { resource: Resource::Macs, share: 1e-3 }));
        assert_eq!("units=0.25".parse::<Limit>().unwrap().to_string(), "units=0.25");
    }

    #[test]
    fn what_is_no_budget_is_refused_with_what_was_written() {
        for text in
            ["params=0", "params=1", "macs=NaN", "units=1.5", "params=-0.5", "params=inf", "params=half"]
        {
            assert_eq!(text.parse::<Limit>(), Err(BudgetError::Share(text.into())));
        }
        for text in ["0.5", "bytes=0.5", "=0.5", ""] {
            assert_eq!(text.parse::<Limit>(), Err(BudgetError::Form(text.into())));
        }
        let limit: Limit = "params=0.5".parse().unwrap();
        assert_eq!(Budget::new(vec![limit, limit]), Err(BudgetError::Twice(Resource::Params)));
        assert_eq!(Budget::new(vec![]), Err(BudgetError::Empty));
    }
}
