//! Texts as tokens: a `tokenizer.json` makes `input_ids`, `attention_mask` and `token_type_ids` of them.
//!
//! Batches are padded to their longest text, or to the model's sequence length where that is fixed; [`Texts::lengths`] is
//! what batches of texts of like length are made by.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use secateurs_onnx::Tensor;
use tokenizers::{
    EncodeInput, Encoding, PaddingDirection, PostProcessor, Tokenizer, TruncationParams, TruncationStrategy,
};

use super::cast;
use super::error::{DataError, Result};
use super::options::{DataOptions, TokenLimits};
use super::signature::InputSpec;
use super::token_inputs::{Column, TextSource, TokenInputs};

/// Tokens per text if neither the user nor the tokenizer says how many.
const DEFAULT_MAX_LENGTH: usize = 128;
/// What padding tokens are called, in the order in which they are looked for.
const PAD_TOKENS: [&str; 5] = ["[PAD]", "<pad>", "<|pad|>", "<|endoftext|>", "</s>"];

/// Texts and what turns them into tokens.
#[derive(Debug)]
pub(super) struct Texts {
    path: PathBuf,
    /// For every sample the texts of the columns.
    texts: Vec<Vec<String>>,
    /// The line of every sample, where the file has lines.
    lines: Vec<u64>,
    tokenizer: Tokenizer,
    max_length: usize,
    /// For every text that tokens are made of the length that every batch is padded to, where the model fixes it.
    fixed_lengths: Vec<Option<usize>>,
    pad_id: Option<u32>,
    pad_type_id: u32,
    pad_left: bool,
    mapping: TokenInputs,
    limits: TokenLimits,
    lengths: OnceLock<Vec<u32>>,
}

impl Texts {
    /// Loads the tokenizer for texts whose columns are those of the mapping.
    pub fn open(
        path: &Path,
        (texts, lines): (Vec<Vec<String>>, Vec<u64>),
        tokenizer_path: &Path,
        options: &DataOptions,
        mapping: TokenInputs,
        inputs: &[InputSpec],
    ) -> Result<Texts> {
        let error = |message: String| DataError::Tokenizer { path: tokenizer_path.to_owned(), message };
        let json = std::fs::read(tokenizer_path).map_err(DataError::io(tokenizer_path))?;
        let mut tokenizer =
            Tokenizer::from_bytes(json).map_err(|e| error(format!("cannot be read as a tokenizer: {e}")))?;

        let fixed_lengths = fixed_lengths(path, &mapping, inputs)?;
        let shortest = fixed_lengths.iter().flatten().min().copied();
        let truncation = tokenizer.get_truncation().cloned();
        let wished = options.max_length.or(truncation.as_ref().map(|t| t.max_length));
        let wished = wished.unwrap_or(shortest.unwrap_or(DEFAULT_MAX_LENGTH));
        if wished == 0 {
            return Err(DataError::Options("--max-length must be at least 1".to_owned()));
        }
        let positions = options.token_limits.positions;
        if let (Some(asked), Some(positions)) = (options.max_length, positions)
            && asked > positions
            && shortest.is_none()
        {
            return Err(DataError::Options(format!(
                "--max-length {asked}: the model has positions for {positions} tokens only; give at most {positions}"
            )));
        }
        let max_length = [shortest, positions].into_iter().flatten().fold(wished, usize::min);
        // `with_truncation` subtracts without looking.
        let paired = mapping.sources.iter().any(|source| source.second.is_some());
        let special = tokenizer.get_post_processor().map_or(0, |p| p.added_tokens(paired));
        if max_length <= special {
            return Err(DataError::Options(format!(
                "{max_length} tokens per text leave no room beside the tokenizer's {special} special tokens; \
                 use a larger --max-length"
            )));
        }
        let truncation = truncation.unwrap_or_default();
        // The crate fails at single texts of which the second is to be cut.
        let strategy = match mapping.sources.iter().all(|source| source.second.is_some()) {
            true => truncation.strategy,
            false => TruncationStrategy::LongestFirst,
        };
        // What is cut off is not used, so that it need not overlap; the crate panics where the stride does not fit.
        tokenizer
            .with_truncation(Some(TruncationParams { max_length, strategy, stride: 0, ..truncation }))
            .map_err(|e| error(format!("cannot cut at {max_length} tokens: {e}")))?;
        let padding = tokenizer.get_padding().cloned();
        tokenizer.with_padding(None);
        Ok(Texts {
            path: path.to_owned(),
            texts,
            lines,
            max_length,
            fixed_lengths,
            pad_id: padding
                .as_ref()
                .map(|p| p.pad_id)
                .or_else(|| PAD_TOKENS.iter().find_map(|token| tokenizer.token_to_id(token))),
            pad_type_id: padding.as_ref().map_or(0, |p| p.pad_type_id),
            pad_left: padding.is_some_and(|p| matches!(p.direction, PaddingDirection::Left)),
            tokenizer,
            mapping,
            limits: options.token_limits.clone(),
            lengths: OnceLock::new(),
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

    /// How many tokens every sample has, the longest of its texts, where batches are padded to that; texts are made tokens of once
    /// to find out. Those that cannot be have none: the batch that they are in tells why.
    pub fn lengths(&self) -> Option<&[u32]> {
        if self.fixed_lengths.iter().all(Option::is_some) {
            return None;
        }
        let length = |index: usize| {
            let of = |source: &TextSource| {
                self.encode(index, source, false).map_or(0, |e| e.get_ids().len() as u32)
            };
            self.mapping.sources.iter().map(of).max().unwrap_or(0)
        };
        Some(self.lengths.get_or_init(|| (0..self.len()).map(length).collect()))
    }

    /// Whether the model computes with padding as with any token: none of its inputs says which tokens are padding.
    pub fn padding_counts(&self, inputs: &[InputSpec]) -> bool {
        let Some(computed_with) = &self.limits.computed_with else { return false };
        let sees = |(input, (_, column)): (&InputSpec, &(usize, Column))| {
            matches!(column, Column::Mask | Column::Ids) && computed_with.contains(&input.name)
        };
        !inputs.iter().zip(&self.mapping.inputs).any(sees)
    }

    /// The place among the inputs of the one that says which tokens are none of padding.
    pub fn mask_input(&self) -> Option<usize> {
        self.mapping.inputs.iter().position(|(_, column)| *column == Column::Mask)
    }

    /// The part of a text that the tokens within the maximum are made of, and their number with the special ones; of a pair both parts.
    pub fn preview(&self, index: usize) -> Result<(String, usize)> {
        let source = &self.mapping.sources[0];
        let encoding = self.encode(index, source, true)?;
        let sequences = encoding.get_sequence_ids();
        let part = |number: usize, column: usize| {
            let text = self.texts[index][column].as_str();
            let places = || {
                let own = encoding.get_offsets().iter().zip(&sequences);
                // Special tokens belong to no sequence.
                own.filter(|((start, end), sequence)| start < end && **sequence == Some(number))
                    .map(|(place, _)| *place)
            };
            let start = places().map(|(start, _)| start).min().unwrap_or(0);
            let end = places().map(|(_, end)| end).max().unwrap_or(0);
            text.get(start..end).unwrap_or(text).to_owned()
        };
        let first = part(0, source.first);
        let shown = match source.second {
            Some(second) => format!("{first} ‖ {}", part(1, second)),
            None => first,
        };
        Ok((shown, encoding.get_ids().len()))
    }

    /// A sample's tokens; with their places in the text where these are wanted.
    fn encode(&self, index: usize, source: &TextSource, places: bool) -> Result<Encoding> {
        let texts = &self.texts[index];
        let first = texts[source.first].as_str();
        let input: EncodeInput = match source.second {
            Some(second) => (first, texts[second].as_str()).into(),
            None => first.into(),
        };
        let encoded = match places {
            true => self.tokenizer.encode(input, true),
            false => self.tokenizer.encode_fast(input, true),
        };
        encoded.map_err(|e| {
            self.error(format!("the text of {} cannot be made tokens of: {e}", self.place(index)))
        })
    }

    fn place(&self, index: usize) -> String {
        self.lines.get(index).map_or_else(|| format!("row {index}"), |line| format!("line {line}"))
    }

    fn error(&self, message: String) -> DataError {
        DataError::Tokenizer { path: self.path.clone(), message }
    }

    /// The texts at `indices` as tokens, a tensor `[N, length]` for each of the inputs.
    pub fn batch(&self, indices: &[usize], inputs: &[InputSpec]) -> Result<Vec<Tensor>> {
        let mut encoded = Vec::with_capacity(self.mapping.sources.len());
        for (source, fixed) in self.mapping.sources.iter().zip(&self.fixed_lengths) {
            let encodings =
                indices.iter().map(|index| self.encode(*index, source, false)).collect::<Result<Vec<_>>>()?;
            let longest = encodings.iter().map(|e| e.get_ids().len()).max().unwrap_or(0);
            let length = fixed.unwrap_or(longest.max(1));
            if self.pad_id.is_none() && encodings.iter().any(|e| e.get_ids().len() < length) {
                return Err(self.error(
                    "the tokenizer has no padding token; add \"padding\" to tokenizer.json or use batches of 1"
                        .to_owned(),
                ));
            }
            encoded.push((encodings, length));
        }
        let columns = inputs.iter().zip(&self.mapping.inputs);
        columns
            .map(|(input, (source, column))| {
                let (encodings, length) = &encoded[*source];
                if *column == Column::Ids {
                    self.check_rows(input, indices, encodings)?;
                }
                self.tensor(input, *column, encodings, *length)
            })
            .collect()
    }

    /// One input: a row a text.
    fn tensor(
        &self,
        input: &InputSpec,
        column: Column,
        encodings: &[Encoding],
        length: usize,
    ) -> Result<Tensor> {
        let mut values = Vec::with_capacity(encodings.len() * length);
        for encoding in encodings {
            let tokens = encoding.get_ids().len();
            let (row, pad): (Vec<i64>, i64) = match column {
                Column::Ids => (
                    encoding.get_ids().iter().map(|id| i64::from(*id)).collect(),
                    i64::from(self.pad_id.unwrap_or(0)),
                ),
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
    }

    /// Refuses tokens for which the model's table has no row.
    fn check_rows(&self, input: &InputSpec, indices: &[usize], encodings: &[Encoding]) -> Result<()> {
        let Some(&rows) = self.limits.rows.get(&input.name) else { return Ok(()) };
        let outside = |id: &u32| *id as usize >= rows;
        for (index, encoding) in indices.iter().zip(encodings) {
            if let Some(place) = encoding.get_ids().iter().position(outside) {
                return Err(self.error(format!(
                    "{}: the tokenizer makes token '{}' with id {}, and the model's table for input '{}' has {rows} rows; is this \
                     the model's own tokenizer? Give the right one with --tokenizer",
                    self.place(*index),
                    self.tokenizer.id_to_token(encoding.get_ids()[place]).unwrap_or_default(),
                    encoding.get_ids()[place],
                    input.name,
                )));
            }
        }
        match self.pad_id.filter(outside) {
            Some(pad) => Err(self.error(format!(
                "the tokenizer pads with id {pad}, and the model's table for input '{}' has {rows} rows; is this the model's own \
                 tokenizer? Give the right one with --tokenizer",
                input.name
            ))),
            None => Ok(()),
        }
    }
}

/// For every text the length that the model fixes for the inputs made of it.
fn fixed_lengths(path: &Path, mapping: &TokenInputs, inputs: &[InputSpec]) -> Result<Vec<Option<usize>>> {
    let of_source = |source: usize| {
        let own = inputs.iter().zip(&mapping.inputs).filter(|(_, (from, _))| *from == source);
        let mut fixed = own.filter_map(|(input, _)| input.size(1));
        let length = fixed.next();
        match fixed.find(|other| Some(*other) != length) {
            None => Ok(length),
            Some(other) => Err(DataError::Options(format!(
                "{}: the model's inputs have different sequence lengths, {} and {other}; --input gives them texts of their own",
                path.display(),
                length.unwrap_or_default()
            ))),
        }
    };
    (0..mapping.sources.len()).map(of_source).collect()
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
pub(crate) mod tests {
    use secateurs_onnx::ElementType;

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
        let texts: Vec<[&str; 1]> = texts.iter().map(|text| [*text]).collect();
        open_as(&texts, tokenizer, &DataOptions { max_length, ..DataOptions::default() }, inputs)
    }

    fn open_as<const N: usize>(
        texts: &[[&str; N]],
        tokenizer: &str,
        options: &DataOptions,
        inputs: &[InputSpec],
    ) -> Result<Texts> {
        let folder = tempfile::tempdir().unwrap();
        let (data, path) = (Path::new("data.tsv"), folder.path().join("tokenizer.json"));
        std::fs::write(&path, tokenizer).unwrap();
        let lines = (2..).take(texts.len()).collect();
        let texts = texts.iter().map(|texts| texts.map(str::to_owned).to_vec()).collect();
        let mapping = TokenInputs::new(data, options, inputs)?;
        Texts::open(data, (texts, lines), &path, options, mapping, inputs)
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
    fn texts_are_cut_whatever_stride_and_strategy_the_tokenizer_has() {
        let truncating = |strategy: &str, stride: usize| {
            let truncation = format!(
                r#""truncation": {{"direction": "Right", "max_length": 64, "strategy": "{strategy}", "stride": {stride}}}"#
            );
            TOKENIZER.replace(r#""truncation": null"#, &truncation)
        };
        let inputs = [input("input_ids", None)];
        for stride in [2, 3] {
            let texts =
                open(&["a good movie"], &truncating("LongestFirst", stride), Some(4), &inputs).unwrap();
            assert_eq!(values(&texts, &[0], &inputs), [(vec![1, 4], vec![2, 4, 6, 3])]);
        }
        let texts = open(&["a good movie"], &truncating("OnlySecond", 0), Some(4), &inputs).unwrap();
        assert_eq!(values(&texts, &[0], &inputs), [(vec![1, 4], vec![2, 4, 6, 3])]);
        // Of pairs it is the second text that is cut.
        let options =
            DataOptions { pair_column: Some("second".into()), max_length: Some(6), ..DataOptions::default() };
        let pairs = [["a good", "movie movie movie"]];
        let texts = open_as(&pairs, &truncating("OnlySecond", 2), &options, &inputs).unwrap();
        assert_eq!(values(&texts, &[0], &inputs), [(vec![1, 6], vec![2, 4, 6, 3, 5, 3])]);
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
    fn pairs_have_types_and_are_cut_together() {
        let inputs = [input("input_ids", None), input("token_type_ids", None)];
        let options = DataOptions { pair_column: Some("second".into()), ..DataOptions::default() };
        let pairs = [["a movie", "good"], ["a", "a movie"]];
        let texts = open_as(&pairs, TOKENIZER, &options, &inputs).unwrap();
        let expected = [
            (vec![2, 6], vec![2, 4, 5, 3, 6, 3, 2, 4, 3, 4, 5, 3]),
            (vec![2, 6], vec![0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1]),
        ];
        assert_eq!(values(&texts, &[0, 1], &inputs), expected);
        assert_eq!(texts.preview(0).unwrap(), ("a movie ‖ good".to_owned(), 6));
        let options = DataOptions { max_length: Some(5), ..options };
        let texts = open_as(&pairs, TOKENIZER, &options, &inputs[..1]).unwrap();
        assert_eq!(values(&texts, &[0], &inputs[..1]), [(vec![1, 5], vec![2, 4, 3, 6, 3])]);
    }

    #[test]
    fn inputs_take_the_columns_that_they_are_told_to() {
        let inputs = [input("query", None), input("query_mask", None), input("passage", None)];
        let mut options = DataOptions::default();
        options.inputs.insert("query".into(), "ids:question".into());
        options.inputs.insert("query_mask".into(), "mask:question".into());
        options.inputs.insert("passage".into(), "ids:title+answer".into());
        let mapping = TokenInputs::new(Path::new("data.tsv"), &options, &inputs).unwrap();
        let columns: Vec<&str> = mapping.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(columns, ["question", "title", "answer"]);
        let texts = open_as(&[["movie", "a", "good !"], ["a movie", "a", "a"]], TOKENIZER, &options, &inputs)
            .unwrap();
        let expected = [
            (vec![2, 4], vec![2, 5, 3, 0, 2, 4, 5, 3]),
            (vec![2, 4], vec![1, 1, 1, 0, 1, 1, 1, 1]),
            (vec![2, 6], vec![2, 4, 3, 6, 8, 3, 2, 4, 3, 4, 3, 0]),
        ];
        assert_eq!(values(&texts, &[0, 1], &inputs), expected);
        assert_eq!(texts.lengths(), Some(&[6, 5][..]));
        let error = |name: &str, what: &str| {
            let mut options = options.clone();
            options.inputs.insert(name.into(), what.into());
            TokenInputs::new(Path::new("data.tsv"), &options, &inputs).unwrap_err().to_string()
        };
        assert!(error("audio", "ids").contains("it has query, query_mask, passage"));
        assert!(error("query", "words").contains("must be ids, mask, types or positions"));
        assert!(error("query", "ids:").contains("ids:question+answer"));
    }

    #[test]
    fn no_text_is_longer_than_the_model_has_positions_for() {
        let inputs = [input("input_ids", None)];
        let token_limits = TokenLimits { positions: Some(4), ..TokenLimits::default() };
        let options = DataOptions { token_limits, ..DataOptions::default() };
        let texts = open_as(&[["a good movie"]], TOKENIZER, &options, &inputs).unwrap();
        assert_eq!(values(&texts, &[0], &inputs), [(vec![1, 4], vec![2, 4, 6, 3])]);
        let options = DataOptions { max_length: Some(5), ..options };
        let error = open_as(&[["a"]], TOKENIZER, &options, &inputs).unwrap_err().to_string();
        assert!(error.contains("--max-length 5") && error.contains("positions for 4 tokens"), "{error}");
    }

    #[test]
    fn tokens_without_a_row_in_the_models_table_are_named() {
        let inputs = [input("input_ids", None)];
        let rows = [("input_ids".to_owned(), 6)].into();
        let options = DataOptions {
            token_limits: TokenLimits { rows, ..TokenLimits::default() },
            ..DataOptions::default()
        };
        let texts = open_as(&[["a movie"], ["good"]], TOKENIZER, &options, &inputs).unwrap();
        assert!(texts.batch(&[0], &inputs).is_ok());
        let error = texts.batch(&[0, 1], &inputs).unwrap_err().to_string();
        for part in ["line 3", "'good'", "id 6", "has 6 rows", "--tokenizer"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn what_no_vocabulary_has_is_an_error_where_no_token_stands_for_it() {
        let inputs = [input("input_ids", None)];
        let unknown = open(&["a", "xyz"], TOKENIZER, None, &inputs).unwrap();
        assert_eq!(values(&unknown, &[1], &inputs), [(vec![1, 3], vec![2, 1, 3])]);
        let without = TOKENIZER.replace(r#""unk_token": "[UNK]""#, r#""unk_token": "[NONE]""#);
        let texts = open(&["a", "xyz"], &without, None, &inputs).unwrap();
        let error = texts.batch(&[0, 1], &inputs).unwrap_err().to_string();
        assert!(error.contains("data.tsv") && error.contains("line 3"), "{error}");
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
