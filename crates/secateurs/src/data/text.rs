//! Texts as tokens: a `tokenizer.json` makes `input_ids`, `attention_mask` and `token_type_ids` of them.
//!
//! Batches are padded to their longest text, or to the model's sequence length where that is fixed.

use std::path::{Path, PathBuf};

use secateurs_onnx::{ElementType, Tensor};
use tokenizers::{Encoding, PaddingDirection, PostProcessor, Tokenizer, TruncationParams};

use super::cast;
use super::error::{DataError, Result};
use super::signature::InputSpec;

/// Tokens per text if neither the user nor the tokenizer says how many.
const DEFAULT_MAX_LENGTH: usize = 128;
/// What padding tokens are called, in the order in which they are looked for.
const PAD_TOKENS: [&str; 5] = ["[PAD]", "<pad>", "<|pad|>", "<|endoftext|>", "</s>"];

/// Texts and what turns them into tokens.
#[derive(Debug)]
pub(super) struct Texts {
    path: PathBuf,
    texts: Vec<String>,
    tokenizer: Tokenizer,
    max_length: usize,
    /// The length that every batch is padded to, where the model fixes it.
    fixed_length: Option<usize>,
    pad_id: Option<u32>,
    pad_type_id: u32,
    pad_left: bool,
    columns: Vec<Column>,
}

/// What an input takes.
#[derive(Debug, Clone, Copy)]
enum Column {
    Ids,
    Mask,
    Types,
    Positions,
}

impl Texts {
    /// Loads the tokenizer and finds out which input takes what.
    pub fn open(
        path: &Path,
        texts: Vec<String>,
        tokenizer_path: &Path,
        max_length: Option<usize>,
        inputs: &[InputSpec],
    ) -> Result<Texts> {
        let columns =
            inputs.iter().map(|input| column(path, input, inputs.len())).collect::<Result<Vec<_>>>()?;
        let error = |message: String| DataError::Tokenizer { path: tokenizer_path.to_owned(), message };
        let json = std::fs::read(tokenizer_path).map_err(DataError::io(tokenizer_path))?;
        let mut tokenizer =
            Tokenizer::from_bytes(json).map_err(|e| error(format!("cannot be read as a tokenizer: {e}")))?;

        let mut fixed = inputs.iter().filter_map(|input| input.size(1));
        let fixed_length = fixed.next();
        if let Some(other) = fixed.find(|length| Some(*length) != fixed_length) {
            return Err(DataError::Options(format!(
                "{}: the model's inputs have different sequence lengths, {} and {other}",
                path.display(),
                fixed_length.unwrap_or_default()
            )));
        }
        let truncation = tokenizer.get_truncation().cloned();
        let wished = max_length
            .or(truncation.as_ref().map(|t| t.max_length))
            .unwrap_or(fixed_length.unwrap_or(DEFAULT_MAX_LENGTH));
        if wished == 0 {
            return Err(DataError::Options("--max-length must be at least 1".to_owned()));
        }
        let max_length = fixed_length.map_or(wished, |fixed| wished.min(fixed));
        // `with_truncation` subtracts without looking.
        let special = tokenizer.get_post_processor().map_or(0, |p| p.added_tokens(false));
        if max_length <= special {
            return Err(DataError::Options(format!(
                "{max_length} tokens per text leave no room beside the tokenizer's {special} special tokens; \
                 use a larger --max-length"
            )));
        }
        tokenizer
            .with_truncation(Some(TruncationParams { max_length, ..truncation.unwrap_or_default() }))
            .map_err(|e| error(format!("cannot cut at {max_length} tokens: {e}")))?;
        let padding = tokenizer.get_padding().cloned();
        tokenizer.with_padding(None);
        Ok(Texts {
            path: path.to_owned(),
            texts,
            max_length,
            fixed_length,
            pad_id: padding
                .as_ref()
                .map(|p| p.pad_id)
                .or_else(|| PAD_TOKENS.iter().find_map(|token| tokenizer.token_to_id(token))),
            pad_type_id: padding.as_ref().map_or(0, |p| p.pad_type_id),
            pad_left: padding.is_some_and(|p| matches!(p.direction, PaddingDirection::Left)),
            tokenizer,
            columns,
        })
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// The most tokens that a text is cut to.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The part of a text that the tokens within the maximum are made of, and their number with the special ones.
    pub fn preview(&self, index: usize) -> Result<(String, usize)> {
        let text = self.texts[index].as_str();
        let encoding = self.tokenizer.encode(text, true).map_err(|e| self.cannot_tokenize(&e))?;
        // Special tokens have empty places at the start of the text.
        let places = encoding.get_offsets().iter().filter(|(start, end)| start < end);
        let start = places.clone().map(|(start, _)| *start).min().unwrap_or(0);
        let end = places.map(|(_, end)| *end).max().unwrap_or(0);
        Ok((text.get(start..end).unwrap_or(text).to_owned(), encoding.get_ids().len()))
    }

    fn cannot_tokenize(&self, error: &tokenizers::Error) -> DataError {
        DataError::Tokenizer {
            path: self.path.clone(),
            message: format!("a text cannot be tokenized: {error}"),
        }
    }

    /// The texts at `indices` as tokens, a tensor `[N, length]` for each of the inputs.
    pub fn batch(&self, indices: &[usize], inputs: &[InputSpec]) -> Result<Vec<Tensor>> {
        let error = |message: String| DataError::Tokenizer { path: self.path.clone(), message };
        let encodings = indices
            .iter()
            .map(|index| self.tokenizer.encode_fast(self.texts[*index].as_str(), true))
            .collect::<Result<Vec<Encoding>, _>>()
            .map_err(|e| self.cannot_tokenize(&e))?;
        let longest = encodings.iter().map(|e| e.get_ids().len()).max().unwrap_or(0);
        let length = self.fixed_length.unwrap_or(longest.max(1));
        if self.pad_id.is_none() && encodings.iter().any(|e| e.get_ids().len() < length) {
            return Err(error(
                "the tokenizer has no padding token; add \"padding\" to tokenizer.json or use batches of 1"
                    .to_owned(),
            ));
        }
        let pad_id = i64::from(self.pad_id.unwrap_or(0));
        inputs
            .iter()
            .zip(&self.columns)
            .map(|(input, column)| {
                let mut values = Vec::with_capacity(encodings.len() * length);
                for encoding in &encodings {
                    let tokens = encoding.get_ids().len();
                    let (row, pad): (Vec<i64>, i64) = match column {
                        Column::Ids => (encoding.get_ids().iter().map(|id| i64::from(*id)).collect(), pad_id),
                        Column::Mask => (vec![1; tokens], 0),
                        Column::Types => (
                            encoding.get_type_ids().iter().map(|id| i64::from(*id)).collect(),
                            i64::from(self.pad_type_id),
                        ),
                        Column::Positions => ((0..tokens as i64).collect(), 0),
                    };
                    let padding = std::iter::repeat_n(pad, length - tokens);
                    if self.pad_left {
                        values.extend(padding.chain(row));
                    } else {
                        values.extend(row.into_iter().chain(padding));
                    }
                }
                let shape = vec![encodings.len(), length];
                let tensor = if input.element_type.is_float() {
                    // Exact: only masks are exported as floats, and they are 0 or 1.
                    cast::from_f32(values.iter().map(|v| *v as f32).collect(), shape, input.element_type)
                } else {
                    cast::from_i64(&values, shape, input.element_type)
                };
                tensor.map_err(|message| DataError::Signature {
                    path: self.path.clone(),
                    input: input.name.clone(),
                    expected: input.to_string(),
                    got: message,
                    remedy: "is this the model's own tokenizer?".to_owned(),
                })
            })
            .collect()
    }
}

fn column(path: &Path, input: &InputSpec, inputs: usize) -> Result<Column> {
    let unfit = |remedy: &str| DataError::Signature {
        path: path.to_owned(),
        input: input.name.clone(),
        expected: input.to_string(),
        got: "tokens int64 [N, length]".to_owned(),
        remedy: remedy.to_owned(),
    };
    if input.shape.len() != 2 {
        return Err(unfit("give arrays named as the model's inputs as .npz instead"));
    }
    let column = match input.name.as_str() {
        "input_ids" => Column::Ids,
        "attention_mask" => Column::Mask,
        "token_type_ids" => Column::Types,
        "position_ids" => Column::Positions,
        _ if inputs == 1 => Column::Ids,
        _ => {
            return Err(unfit(
                "of several inputs only input_ids, attention_mask, token_type_ids and position_ids are made from \
                 text; give arrays named as the model's inputs as .npz instead",
            ));
        }
    };
    let takes_tokens = input.element_type.is_integer()
        || matches!(column, Column::Mask)
            && (input.element_type.is_float() || input.element_type == ElementType::Bool);
    if takes_tokens { Ok(column) } else { Err(unfit("the input takes no tokens")) }
}

/// The `tokenizer.json` to use: the one given, or one beside the data or the model.
pub(super) fn find_tokenizer(
    given: Option<&Path>,
    data: &Path,
    model_folder: Option<&Path>,
) -> Result<PathBuf> {
    if let Some(given) = given {
        let inside = given.join("tokenizer.json");
        return Ok(if given.is_dir() { inside } else { given.to_owned() });
    }
    let beside = data.parent().unwrap_or(Path::new(""));
    let candidates: Vec<PathBuf> = [model_folder, Some(beside)]
        .into_iter()
        .flatten()
        .map(|folder| folder.join("tokenizer.json"))
        .collect();
    candidates.iter().find(|path| path.is_file()).cloned().ok_or_else(|| DataError::Tokenizer {
        path: data.to_owned(),
        message: format!(
            "texts need a tokenizer, and there is none at {}; give one with --tokenizer",
            candidates.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
        ),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A WordPiece tokenizer as BERT has it, of a handful of words.
    pub const TOKENIZER: &str = r###"{
      "version": "1.0", "truncation": null, "padding": null,
      "added_tokens": [
        {"id": 0, "content": "[PAD]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
        {"id": 1, "content": "[UNK]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
        {"id": 2, "content": "[CLS]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
        {"id": 3, "content": "[SEP]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
      "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
      "pre_tokenizer": {"type": "BertPreTokenizer"},
      "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
      "decoder": null,
      "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "movie": 5, "good": 6, "##ly": 7, "!": 8}}
    }"###;

    pub fn input(name: &str, length: Option<usize>) -> InputSpec {
        InputSpec { name: name.to_owned(), element_type: ElementType::Int64, shape: vec![None, length] }
    }

    fn open(
        texts: &[&str],
        tokenizer: &str,
        max_length: Option<usize>,
        inputs: &[InputSpec],
    ) -> Result<Texts> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, tokenizer).unwrap();
        let texts = texts.iter().map(|t| (*t).to_owned()).collect();
        Texts::open(Path::new("data.tsv"), texts, &path, max_length, inputs)
    }

    fn values(texts: &Texts, indices: &[usize], inputs: &[InputSpec]) -> Vec<(Vec<usize>, Vec<i64>)> {
        let batch = texts.batch(indices, inputs).unwrap();
        batch.iter().map(|t| (t.shape().to_vec(), t.to_i64_vec().unwrap())).collect()
    }

    #[test]
    fn sentences_become_ids_masks_and_types_padded_to_the_longest() {
        let inputs = [input("input_ids", None), input("attention_mask", None), input("token_type_ids", None)];
        let texts = open(&["A goodly movie!", "Movie?"], TOKENIZER, None, &inputs).unwrap();
        assert_eq!(
            values(&texts, &[0, 1], &inputs),
            [
                (vec![2, 7], vec![2, 4, 6, 7, 5, 8, 3, 2, 5, 1, 3, 0, 0, 0]),
                (vec![2, 7], vec![1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]),
                (vec![2, 7], vec![0; 14]),
            ]
        );
        assert_eq!(values(&texts, &[1], &inputs[..1]), [(vec![1, 4], vec![2, 5, 1, 3])]);
    }

    #[test]
    fn texts_are_cut_and_fixed_lengths_are_filled() {
        let inputs = [input("input_ids", None)];
        let texts = open(&["a good movie"], TOKENIZER, Some(4), &inputs).unwrap();
        assert_eq!(values(&texts, &[0], &inputs), [(vec![1, 4], vec![2, 4, 6, 3])]);

        let truncating = TOKENIZER.replace(
            r#""truncation": null"#,
            r#""truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}"#,
        );
        let texts = open(&["a good movie"], &truncating, None, &inputs).unwrap();
        assert_eq!(values(&texts, &[0], &inputs), [(vec![1, 3], vec![2, 4, 3])]);

        let inputs = [input("tokens", Some(6))];
        let texts = open(&["a", "a good movie a good movie"], TOKENIZER, Some(99), &inputs).unwrap();
        assert_eq!(texts.max_length(), 6);
        let expected = vec![2, 4, 3, 0, 0, 0, 2, 4, 6, 5, 4, 3];
        assert_eq!(values(&texts, &[0, 1], &inputs), [(vec![2, 6], expected)]);
    }

    #[test]
    fn the_tokenizers_own_padding_is_used() {
        let padding = TOKENIZER.replace(
            r#""padding": null"#,
            r#""padding": {"strategy": {"Fixed": 64}, "direction": "Left", "pad_to_multiple_of": null, "pad_id": 8,
                "pad_type_id": 1, "pad_token": "!"}"#,
        );
        let inputs = [input("input_ids", None), input("token_type_ids", None)];
        let texts = open(&["a", "a a"], &padding, None, &inputs).unwrap();
        let expected =
            [(vec![2, 4], vec![8, 2, 4, 3, 2, 4, 4, 3]), (vec![2, 4], vec![1, 0, 0, 0, 0, 0, 0, 0])];
        assert_eq!(values(&texts, &[0, 1], &inputs), expected);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let error = |tokenizer: &str, max_length, inputs: &[InputSpec]| {
            open(&["a"], tokenizer, max_length, inputs).err().unwrap().to_string()
        };
        let ids = [input("input_ids", None)];
        assert!(error("{}", None, &ids).contains("tokenizer.json"));
        assert!(error(TOKENIZER, Some(0), &ids).contains("--max-length"));
        assert!(error(TOKENIZER, Some(2), &ids).contains("no room beside the tokenizer's 2"));
        let image = InputSpec { shape: vec![None; 4], ..input("pixels", None) };
        assert!(error(TOKENIZER, None, &[image]).contains("pixels"));
        let unknown = [input("input_ids", None), input("audio", None)];
        assert!(error(TOKENIZER, None, &unknown).contains("'audio'"));
        let float = InputSpec { element_type: ElementType::Float32, ..input("input_ids", None) };
        assert!(error(TOKENIZER, None, &[float]).contains("no tokens"));
        let missing =
            find_tokenizer(None, Path::new("folder/data.tsv"), Some(Path::new("models"))).unwrap_err();
        assert!(missing.to_string().contains("models/tokenizer.json or folder/tokenizer.json"), "{missing}");
    }
}
