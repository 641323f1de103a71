//! How much is implanted, and from what weights it starts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many of the units that would go are implanted instead.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum ImplantShare {
    /// None.
    #[default]
    None,
    /// As many as predicted changes say is best.
    Auto,
    /// This share, the most sensitive.
    Share(f64),
}

/// As recipes and plans write it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Word(String),
    Number(f64),
}

impl TryFrom<Written> for ImplantShare {
    type Error = String;

    fn try_from(written: Written) -> Result<ImplantShare, String> {
        match written {
            Written::Word(word) => word.parse(),
            Written::Number(share) => share.to_string().parse(),
        }
    }
}

impl From<ImplantShare> for Written {
    fn from(share: ImplantShare) -> Written {
        match share {
            ImplantShare::Share(share) => Written::Number(share),
            other => Written::Word(other.to_string()),
        }
    }
}

impl fmt::Display for ImplantShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImplantShare::None => f.write_str("none"),
            ImplantShare::Auto => f.write_str("auto"),
            ImplantShare::Share(share) => write!(f, "{share}"),
        }
    }
}

impl FromStr for ImplantShare {
    type Err = String;

    fn from_str(text: &str) -> Result<ImplantShare, String> {
        match text {
            "none" => Ok(ImplantShare::None),
            "auto" => Ok(ImplantShare::Auto),
            _ => match text.parse() {
                Ok(share) if share > 0.0 && share <= 1.0 => Ok(ImplantShare::Share(share)),
                Ok(0.0) => Ok(ImplantShare::None),
                _ => Err(format!(
                    "'{text}': implant is none, auto, or a share of the removed units such as 0.1"
                )),
            },
        }
    }
}

/// What the weights of implants start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImplantStart {
    /// The best fit to what their rows make.
    #[default]
    LeastSquares,
    /// Zero, which training is to fill.
    Zero,
}

/// How to implant.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImplantSettings {
    /// How many units.
    pub share: ImplantShare,
    /// What weights start from.
    pub start: ImplantStart,
}
