//! Which of a model's inputs takes what of which texts.

use std::path::Path;

use secateurs_onnx::ElementType;

use super::error::{DataError, Result};
use super::options::DataOptions;
use super::records::TextColumn;
use super::signature::InputSpec;

/// What an input takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Ids,
    Mask,
    Types,
    Positions,
}

impl Column {
    /// The word in `--input`, and the name of the inputs that are taken for it.
    const NAMES: [(Column, &str, &str); 4] = [
        (Column::Ids, "ids", "input_ids"),
        (Column::Mask, "mask", "attention_mask"),
        (Column::Types, "types", "token_type_ids"),
        (Column::Positions, "positions", "position_ids"),
    ];
}

/// A text that is made tokens of: one column, or a pair of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextSource {
    pub first: usize,
    pub second: Option<usize>,
}

/// What every input takes.
#[derive(Debug)]
pub(super) struct TokenInputs {
    /// The columns of the data that are read.
    pub columns: Vec<TextColumn>,
    pub sources: Vec<TextSource>,
    /// For every input the text and what of its tokens.
    pub inputs: Vec<(usize, Column)>,
}

impl TokenInputs {
    /// What was asked for, and for other inputs what their names say.
    pub fn new(path: &Path, options: &DataOptions, inputs: &[InputSpec]) -> Result<TokenInputs> {
        let unknown = options.inputs.keys().find(|name| inputs.iter().all(|input| input.name != **name));
        if let Some(name) = unknown {
            let known = inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(DataError::Options(format!(
                "--input {name}: the model has no such input; it has {known}"
            )));
        }
        let mut found = TokenInputs { columns: Vec::new(), sources: Vec::new(), inputs: Vec::new() };
        let text = options.text_column.as_deref().unwrap_or("text");
        let default =
            [(text, "--text-column"), (options.pair_column.as_deref().unwrap_or(""), "--pair-column")];
        for input in inputs {
            let (column, source) = match options.inputs.get(&input.name) {
                Some(asked) => {
                    let (column, names) = parse(&input.name, asked)?;
                    let named = names.map(|(first, second)| [(first, "--input"), (second, "--input")]);
                    (column, found.source(named.unwrap_or(default)))
                }
                None => (by_name(path, input, inputs.len())?, found.source(default)),
            };
            check(path, input, column)?;
            found.inputs.push((source, column));
        }
        Ok(found)
    }

    /// The number of a text that is made of a column, or of two where the second has a name.
    fn source(&mut self, [first, second]: [(&str, &'static str); 2]) -> usize {
        let mut column = |(name, flag): (&str, &'static str)| {
            self.columns.iter().position(|column| column.name == name).unwrap_or_else(|| {
                self.columns.push(TextColumn { name: name.to_owned(), flag });
                self.columns.len() - 1
            })
        };
        let first = column(first);
        let source =
            TextSource { first, second: Some(second).filter(|(name, _)| !name.is_empty()).map(column) };
        self.sources.iter().position(|known| *known == source).unwrap_or_else(|| {
            self.sources.push(source);
            self.sources.len() - 1
        })
    }
}

/// `ids`, `ids:COLUMN` or `ids:COLUMN+COLUMN`.
fn parse<'a>(input: &str, asked: &'a str) -> Result<(Column, Option<(&'a str, &'a str)>)> {
    let (word, columns) =
        asked.split_once(':').map_or((asked, None), |(word, columns)| (word, Some(columns)));
    let column = Column::NAMES.iter().find(|(_, name, _)| *name == word.trim()).map(|(column, _, _)| *column);
    let names = columns.map(|columns| columns.split_once('+').unwrap_or((columns, "")));
    let empty = names.is_some_and(|(first, _)| first.is_empty());
    column.filter(|_| !empty).map(|column| (column, names)).ok_or_else(|| {
        DataError::Options(format!(
            "--input {input}={asked}: must be ids, mask, types or positions, with the columns of the text behind it where they are \
             others, as in ids:question or ids:question+answer"
        ))
    })
}

fn by_name(path: &Path, input: &InputSpec, inputs: usize) -> Result<Column> {
    let named = Column::NAMES.iter().find(|(_, _, name)| *name == input.name).map(|(column, _, _)| *column);
    match named {
        Some(column) => Ok(column),
        None if inputs == 1 => Ok(Column::Ids),
        None => Err(unfit(
            path,
            input,
            "of several inputs only input_ids, attention_mask, token_type_ids and position_ids are made from \
             text unless --input says what others take, as in --input NAME=ids; or give arrays named as the model's inputs as .npz",
        )),
    }
}

fn check(path: &Path, input: &InputSpec, column: Column) -> Result<()> {
    if input.shape.len() != 2 {
        return Err(unfit(path, input, "give arrays named as the model's inputs as .npz instead"));
    }
    let takes_tokens = input.element_type.is_integer()
        || column == Column::Mask
            && (input.element_type.is_float() || input.element_type == ElementType::Bool);
    if takes_tokens { Ok(()) } else { Err(unfit(path, input, "the input takes no tokens")) }
}

fn unfit(path: &Path, input: &InputSpec, remedy: &str) -> DataError {
    DataError::Signature {
        path: path.to_owned(),
        input: input.name.clone(),
        expected: input.to_string(),
        got: "tokens int64 [N, length]".to_owned(),
        remedy: remedy.to_owned(),
    }
}
