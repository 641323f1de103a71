//! What a smaller model may cost: `params=0.5`, `bytes=2MB`, `latency=3ms`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::format;

/// Something that a model costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Parameters.
    Params,
    /// Multiply–accumulates at the bound sizes.
    Macs,
    /// Bytes of the constants that the file stores.
    Bytes,
    /// Milliseconds of a run in ONNX Runtime.
    Latency,
    /// Units of groups: what papers count as channels.
    Units,
}

/// Units of counts, larger first.
const COUNTS: [(&str, f64); 4] = [("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0)];
const BYTES: [(&str, f64); 7] = [
    ("GiB", (1u64 << 30) as f64),
    ("GB", 1e9),
    ("MiB", (1u64 << 20) as f64),
    ("MB", 1e6),
    ("KiB", 1024.0),
    ("kB", 1e3),
    ("B", 1.0),
];
const TIMES: [(&str, f64); 3] = [("s", 1e3), ("ms", 1.0), ("us", 1e-3)];

impl Resource {
    const ALL: [Resource; 5] =
        [Resource::Params, Resource::Macs, Resource::Bytes, Resource::Latency, Resource::Units];

    /// The name in `--keep`.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Params => "params",
            Resource::Macs => "macs",
            Resource::Bytes => "bytes",
            Resource::Latency => "latency",
            Resource::Units => "units",
        }
    }

    /// The resource of this name.
    pub fn named(name: &str) -> Option<Resource> {
        Resource::ALL.into_iter().find(|r| r.name() == name)
    }

    /// An amount for people: `41,128`, `1.60 MB`, `2.41 ms`.
    pub fn amount(self, value: f64) -> String {
        match self {
            Resource::Bytes => format::bytes(value as u64),
            Resource::Latency => format!("{} ms", format::significant(value, 3)),
            Resource::Params | Resource::Macs | Resource::Units => format::count(value as u64),
        }
    }

    /// The units of amounts, and how much one is.
    fn units(self) -> &'static [(&'static str, f64)] {
        match self {
            Resource::Bytes => &BYTES,
            Resource::Latency => &TIMES,
            Resource::Params | Resource::Macs | Resource::Units => &COUNTS,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much of a resource may be kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// A share of the original's, between 0 and 1.
    Share(f64),
    /// A number of parameters, multiply–accumulates, bytes, units, or milliseconds.
    Absolute(f64),
}

/// How much of a resource may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Limit {
    /// Of what.
    pub resource: Resource,
    /// How much.
    pub amount: Amount,
}

impl Limit {
    /// A share of a resource.
    pub fn share(resource: Resource, share: f64) -> Limit {
        Limit { resource, amount: Amount::Share(share) }
    }

    /// What may be kept of a model that has `of` of the resource.
    pub fn allowed(&self, of: f64) -> f64 {
        match self.amount {
            Amount::Share(share) => share * of,
            Amount::Absolute(amount) => amount,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = match self.amount {
            Amount::Share(share) => return write!(f, "{}={share}", self.resource),
            Amount::Absolute(amount) => amount,
        };
        match self.resource {
            Resource::Latency => write!(f, "latency={amount}ms"),
            resource => {
                let (unit, size) = resource
                    .units()
                    .iter()
                    .find(|(_, size)| amount >= *size && amount % size == 0.0)
                    .unwrap_or(&("", 1.0));
                write!(f, "{resource}={}{unit}", amount / size)
            }
        }
    }
}

/// Why a budget is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    /// Not of the form `resource=amount`.
    #[error(
        "'{0}' is no budget; write params=, macs=, bytes=, latency= or units= and a share or an amount, as in params=0.5 or latency=3ms"
    )]
    Form(String),
    /// Neither a share between 0 and 1 nor an amount.
    #[error(
        "'{0}': must be a share between 0 and 1, both excluded (0 would keep nothing, 1 everything), or an amount, as in {1}"
    )]
    Amount(String, &'static str),
    /// A resource that is limited twice.
    #[error("{0} is limited twice; give each resource once")]
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
        let form = || BudgetError::Form(text.into());
        let (name, amount) = text.split_once('=').ok_or_else(form)?;
        let resource = Resource::named(name.trim()).ok_or_else(form)?;
        let example = match resource {
            Resource::Bytes => "bytes=1.5MiB, bytes=500kB",
            Resource::Latency => "latency=3ms, latency=250us",
            Resource::Macs => "macs=10M",
            Resource::Params => "params=100k, params=1.2M",
            Resource::Units => "units=64",
        };
        let amount = parse_amount(resource, amount.trim());
        amount
            .map(|amount| Limit { resource, amount })
            .ok_or_else(|| BudgetError::Amount(text.into(), example))
    }
}

/// A share; or an amount, which of times has a unit and of all else is a whole number of 1 or more.
fn parse_amount(resource: Resource, text: &str) -> Option<Amount> {
    // Before the unit: an exponent is part of the number, and letters that no number has end it.
    let end = (0..=text.len()).rev().filter(|&i| text.is_char_boundary(i));
    let (number, unit) = end
        .map(|i| (&text[..i], text[i..].trim()))
        .find_map(|(number, unit)| Some((number.trim_end().parse::<f64>().ok()?, unit)))?;
    if unit.is_empty() && number < 1.0 {
        return (number > 0.0).then_some(Amount::Share(number));
    }
    let known = resource.units().iter().find(|(name, _)| {
        let same =
            name.eq_ignore_ascii_case(unit) || resource == Resource::Latency && *name == "us" && unit == "µs";
        same && (!unit.is_empty() || resource != Resource::Latency)
    });
    // `bytes=2000000` and `params=100000` need no unit.
    let size = match (known, unit) {
        (Some((_, size)), _) => *size,
        (None, "") if resource == Resource::Bytes => 1.0,
        _ => return None,
    };
    let amount = number * size;
    let whole = match resource {
        Resource::Latency => amount,
        // 1.1k is 1100, whatever the last bit of the product says.
        _ if (amount - amount.round()).abs() <= 1e-9 * amount => amount.round(),
        // A part of a byte is no more than a word for a size between two.
        Resource::Bytes => amount.floor(),
        _ => return None,
    };
    let sensible = match resource {
        Resource::Latency => whole > 0.0,
        // `params=1` means all or one: neither is a budget.
        _ => whole > 1.0 || !unit.is_empty() && whole >= 1.0,
    };
    (sensible && whole.is_finite() && whole < 9e15).then_some(Amount::Absolute(whole))
}

/// Limits that must all hold. Without any nothing has to go.
#[derive(Debug, Clone, PartialEq, Default)]
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

    /// The same with another limit on its resource.
    pub fn with(&self, limit: Limit) -> Budget {
        let others = self.0.iter().filter(|l| l.resource != limit.resource);
        Budget(others.copied().chain([limit]).collect())
    }

    /// The limit on a resource, if there is one.
    pub fn limit(&self, resource: Resource) -> Option<&Limit> {
        self.0.iter().find(|l| l.resource == resource)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn absolute(resource: Resource, amount: f64) -> Limit {
        Limit { resource, amount: Amount::Absolute(amount) }
    }

    #[test]
    fn a_share_between_0_and_1_is_a_limit() {
        assert_eq!("params=0.5".parse(), Ok(Limit::share(Resource::Params, 0.5)));
        assert_eq!("macs = 1e-3".parse(), Ok(Limit::share(Resource::Macs, 1e-3)));
        assert_eq!("latency=0.6".parse(), Ok(Limit::share(Resource::Latency, 0.6)));
        assert_eq!("units=0.25".parse::<Limit>().unwrap().to_string(), "units=0.25");
    }

    #[test]
    fn amounts_have_units() {
        for (text, resource, amount, printed) in [
            ("latency=3ms", Resource::Latency, 3.0, "latency=3ms"),
            ("latency=250us", Resource::Latency, 0.25, "latency=0.25ms"),
            ("latency=0.5 s", Resource::Latency, 500.0, "latency=500ms"),
            ("bytes=2MB", Resource::Bytes, 2e6, "bytes=2MB"),
            ("bytes=500kb", Resource::Bytes, 5e5, "bytes=500kB"),
            ("bytes=1.5MiB", Resource::Bytes, 1_572_864.0, "bytes=1536KiB"),
            ("bytes=1234567", Resource::Bytes, 1_234_567.0, "bytes=1234567B"),
            ("params=100k", Resource::Params, 1e5, "params=100k"),
            ("params=1.2M", Resource::Params, 1.2e6, "params=1200k"),
            ("params=0.1M", Resource::Params, 1e5, "params=100k"),
            ("macs=1.1e7", Resource::Macs, 1.1e7, "macs=11M"),
            ("units=65", Resource::Units, 65.0, "units=65"),
        ] {
            assert_eq!(text.parse(), Ok(absolute(resource, amount)), "{text}");
            assert_eq!(absolute(resource, amount).to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_budget_is_refused_with_what_was_written() {
        for text in [
            "params=0",
            "params=1",
            "macs=NaN",
            "units=1.5",
            "params=-0.5",
            "params=inf",
            "params=half",
            "params=3ms",
            "params=-2k",
            "params=1.0001k",
            "units=",
            "bytes=1",
            "bytes=2ms",
            "bytes=0.2B",
            "latency=3",
            "latency=0ms",
            "latency=-1ms",
            "latency=1e400ms",
            "latency=infs",
            "latency=2MB",
            "params=1e300",
            "latency=µ",
        ] {
            let parsed = text.parse::<Limit>();
            assert!(
                matches!(&parsed, Err(BudgetError::Amount(said, _)) if said == text),
                "{text}: {parsed:?}"
            );
        }
        for text in ["0.5", "flops=0.5", "=0.5", ""] {
            assert_eq!(text.parse::<Limit>(), Err(BudgetError::Form(text.into())));
        }
        let limit: Limit = "params=0.5".parse().unwrap();
        let other: Limit = "params=100k".parse().unwrap();
        assert_eq!(Budget::new(vec![limit, other]), Err(BudgetError::Twice(Resource::Params)));
        assert_eq!(Budget::new(vec![]), Err(BudgetError::Empty));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_as_it_was(at in 0usize..5, share in 1e-9f64..1.0, count in 2u64..1 << 50, ms in 1e-6f64..1e6) {
            let resource = Resource::ALL[at];
            let amount = if resource == Resource::Latency { ms } else { count as f64 };
            for limit in [Limit::share(resource, share), absolute(resource, amount)] {
                prop_assert_eq!(limit.to_string().parse(), Ok(limit));
            }
        }
    }
}
