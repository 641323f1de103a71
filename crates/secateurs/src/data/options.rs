//! How data are to be read: everything beside the path that `--data` gives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{DataError, Result};
use super::preprocess::{Preprocess, Preset};

/// Options for reading data; the default reads plain images, arrays and text columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataOptions {
    /// Preprocessing by name, the weakest of the three.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// A file of preprocessing: TOML, or a `preprocessor_config.json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preprocess_file: Option<PathBuf>,
    /// Steps of preprocessing, the strongest of the three.
    pub preprocess: Preprocess,
    /// The names of the classes in the order of the model's outputs, for folders and labels that are names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// A label of rows (tokens, pixels) or flags that does not count, beside all negative ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_label: Option<i64>,
    /// The `tokenizer.json`, or its folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// The column of the text; `text` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_column: Option<String>,
    /// The column of the second text of a pair; without it, samples are single texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair_column: Option<String>,
    /// What inputs take of texts where their names do not say it: `ids`, `mask`, `types` or `positions`, and behind a colon the columns
    /// of the text where they are others, as in `ids:question+answer`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
    /// The column of the label; `label` by default, which may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_column: Option<String>,
    /// Tokens per text; the tokenizer's truncation by default, else 128, and never more than the model has positions for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// The model's folder, where `tokenizer.json` and `preprocessor_config.json` are looked for.
    #[serde(skip)]
    pub model_folder: Option<PathBuf>,
    /// What the model takes of texts.
    #[serde(skip)]
    pub token_limits: TokenLimits,
}

/// What a model can take of texts, as its graph says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenLimits {
    /// The most tokens of a text, where there is a limit.
    pub positions: Option<usize>,
    /// For inputs that index tables the rows of the smallest one.
    pub rows: BTreeMap<String, usize>,
    /// The inputs that are more than indices into tables: the model computes with what they hold. `None` where that is not known.
    pub computed_with: Option<Vec<String>>,
}

impl DataOptions {
    /// Whether a file is read as texts, by its suffix.
    pub fn reads_texts(path: &Path) -> bool {
        let suffix = path.extension().unwrap_or_default().to_ascii_lowercase();
        super::records::SUFFIXES.iter().any(|known| suffix == *known)
    }

    /// The preprocessing that was asked for: options over file over preset.
    pub fn explicit_preprocess(&self) -> Result<Preprocess> {
        let file = self.preprocess_file.as_deref().map(Preprocess::read).transpose()?;
        let preset = self.preset.map(Preset::preprocess);
        Ok(self.preprocess.clone().or(file.unwrap_or_default()).or(preset.unwrap_or_default()))
    }

    /// The preprocessing for images: what was asked for, and without a file or preset what a
    /// `preprocessor_config.json` beside the model or in the data's folder says.
    pub(super) fn image_preprocess(&self, data: &Path) -> Result<Preprocess> {
        let explicit = self.explicit_preprocess()?;
        if self.preset.is_some() || self.preprocess_file.is_some() {
            return Ok(explicit);
        }
        let folder = if data.is_dir() { Some(data) } else { data.parent() };
        let found = [self.model_folder.as_deref(), folder]
            .into_iter()
            .flatten()
            .map(|folder| folder.join("preprocessor_config.json"))
            .find(|path| path.is_file());
        match found {
            None => Ok(explicit),
            Some(path) => Ok(explicit.or(Preprocess::read(&path)?)),
        }
    }

    /// What changes where data are read otherwise: a hash of the options, of the preprocessing that they come to, and of the tokenizer.
    pub(super) fn reading(&self, preprocess: Preprocess, tokenizer: Option<&Path>) -> Result<String> {
        let plain =
            DataOptions { preset: None, preprocess_file: None, preprocess, tokenizer: None, ..self.clone() };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&serde_json::to_vec(&plain).expect("options are plain data"));
        if let Some(path) = tokenizer {
            let read = std::fs::File::open(path).and_then(|file| hasher.update_reader(file).map(|_| ()));
            read.map_err(DataError::io(path))?;
        }
        Ok(hasher.finalize().to_hex().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Resize;

    #[test]
    fn options_win_over_the_file_and_the_file_over_the_preset() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("steps.toml");
        std::fs::write(&file, "resize = 100\nmean = 0.25\n").unwrap();
        let mut options: DataOptions =
            toml::from_str("preset = \"imagenet\"\n[preprocess]\nmean = 0.5\n").unwrap();
        options.preprocess_file = Some(file.clone());
        let preprocess = options.explicit_preprocess().unwrap();
        assert_eq!(preprocess.mean, Some(vec![0.5]));
        assert_eq!(preprocess.resize, Some(Resize::ShorterSide(100)));
        assert_eq!(preprocess.std, Some(vec![0.229, 0.224, 0.225]));

        std::fs::write(&file, "resise = 100\n").unwrap();
        let error = options.explicit_preprocess().unwrap_err();
        assert!(
            matches!(error, DataError::Unsupported { .. }) && error.to_string().contains("steps.toml"),
            "{error}"
        );
        assert!(toml::from_str::<DataOptions>("tokeniser = \"x\"").is_err());
    }
}
