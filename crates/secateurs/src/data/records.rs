//! Texts and labels from `.tsv`, `.csv`, `.jsonl`, `.json` (an array), `.txt` and `.parquet` files.
//!
//! In `.tsv` files a quotation mark is a character like any other (as in GLUE); in `.csv` files it quotes
//! (RFC 4180). A `.txt` file is a `.tsv` file if its first line names the text column between tabs, and otherwise one
//! text per line without labels.

use std::path::Path;

use serde_json::Value;

use super::error::{DataError, Result};
use super::labels::class_index;
use super::parquet;

/// The suffixes of the files that hold texts.
pub(super) const SUFFIXES: [&str; 6] = ["tsv", "csv", "jsonl", "json", "txt", "parquet"];

/// What a text file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Records {
    /// For every sample the texts of the columns that were asked for, in their order.
    pub texts: Vec<Vec<String>>,
    pub labels: Option<Vec<i64>>,
    /// The line of every sample, from 1, for messages; empty where the file has no lines.
    pub lines: Vec<u64>,
}

/// A column of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TextColumn {
    pub name: String,
    /// The option that names it.
    pub flag: &'static str,
}

/// Which columns to read; a label that was not asked for by name may be missing.
pub(super) struct Columns<'a> {
    /// At least one.
    pub texts: &'a [TextColumn],
    pub label: Option<&'a str>,
    /// The names of the classes in order, for labels that are names.
    pub classes: Option<&'a [String]>,
}

impl Columns<'_> {
    pub fn label(&self) -> &str {
        self.label.unwrap_or("label")
    }

    /// A label from its text: a class's name if names were given, a class index otherwise. Where all names are numbers, one that is none of
    /// them is no index either.
    pub fn class(&self, path: &Path, text: &str, place: String) -> Result<i64> {
        let named = self.classes.and_then(|classes| class_index(classes, text));
        let number = |name: &String| name.parse::<i64>().is_ok();
        let index = || match self.classes {
            Some(classes) if classes.iter().all(number) => None,
            _ => text.parse().ok(),
        };
        named.or_else(index).ok_or_else(|| DataError::Label {
            path: path.to_owned(),
            place,
            label: format!("'{text}'"),
            message: match self.classes {
                Some(classes) => format!("is none of the classes {}", classes.join(", ")),
                None => "is no class index; name the classes in order with --classes".to_owned(),
            },
        })
    }
}

/// Reads a file by its suffix.
pub(super) fn read(path: &Path, columns: &Columns<'_>) -> Result<Records> {
    let suffix = path.extension().unwrap_or_default().to_ascii_lowercase();
    if suffix == "parquet" {
        return parquet::read(path, columns);
    }
    let bytes = std::fs::read(path).map_err(DataError::io(path))?;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(e) => {
            let line = 1 + bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count() as u64;
            return Err(record(path, line, "is not UTF-8 text; convert the file".to_owned()));
        }
    };
    let mut reader =
        Reader { path, columns, records: Records { texts: vec![], labels: None, lines: vec![] } };
    match suffix.to_str() {
        Some("csv") => reader.table(text, b',', true)?,
        Some("tsv") => reader.table(text, b'\t', false)?,
        Some("txt") if is_table(text, &columns.texts[0].name) => reader.table(text, b'\t', false)?,
        Some("txt") => reader.lines(text)?,
        Some("json") => reader.json(text)?,
        _ => reader.json_lines(text)?,
    }
    if reader.records.texts.is_empty() {
        return Err(DataError::Empty { path: path.to_owned(), what: "the file holds no texts".to_owned() });
    }
    Ok(reader.records)
}

fn is_table(text: &str, column: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.contains('\t') && first.split('\t').any(|name| name == column)
}

fn record(path: &Path, line: u64, message: String) -> DataError {
    DataError::Record { path: path.to_owned(), line, message }
}

struct Reader<'a> {
    path: &'a Path,
    columns: &'a Columns<'a>,
    records: Records,
}

impl Reader<'_> {
    fn table(&mut self, text: &str, delimiter: u8, quoting: bool) -> Result<()> {
        let mut table = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .quoting(quoting)
            .flexible(!quoting)
            .from_reader(text.as_bytes());
        let path = self.path;
        let header = table.headers().map_err(|e| record(path, 1, e.to_string()))?.clone();
        let place = |column: &str| header.iter().position(|name| name.trim() == column);
        let missing = |column: &str, flag| DataError::MissingColumn {
            path: path.to_owned(),
            column: column.to_owned(),
            present: header.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", "),
            flag,
        };
        let texts_at = self.columns.texts.iter().map(|column| {
            let at = place(&column.name).ok_or_else(|| missing(&column.name, column.flag))?;
            Ok((at, column.name.as_str()))
        });
        let texts_at = texts_at.collect::<Result<Vec<_>>>()?;
        let label_at = place(self.columns.label());
        if let (None, Some(label)) = (label_at, self.columns.label) {
            return Err(missing(label, "--label-column"));
        }
        let mut row = csv::StringRecord::new();
        let mut lines = Lines { text, at: 0, line: 1 };
        loop {
            let more = table.read_record(&mut row).map_err(|e| {
                let line = lines.line(e.position());
                record(path, line, format!("is no row of the table: {e}"))
            })?;
            if !more {
                return Ok(());
            }
            let line = lines.line(row.position());
            let cell = |at: usize, name: &str| {
                row.get(at).ok_or_else(|| {
                    record(path, line, format!("has {} columns, none for '{name}'", row.len()))
                })
            };
            let texts = texts_at.iter().map(|(at, name)| Ok(cell(*at, name)?.to_owned()));
            let texts = texts.collect::<Result<Vec<_>>>()?;
            let label = match label_at {
                None => None,
                Some(at) => Some(self.label(cell(at, self.columns.label())?.trim(), line)?),
            };
            self.push(texts, label, line);
        }
    }

    fn lines(&mut self, text: &str) -> Result<()> {
        let label = self.columns.label.map(|label| (label, "--label-column"));
        let others = self.columns.texts[1..].iter().map(|column| (column.name.as_str(), column.flag));
        if let Some((column, flag)) = label.into_iter().chain(others).next() {
            return Err(DataError::MissingColumn {
                path: self.path.to_owned(),
                column: column.to_owned(),
                present: "none: the first line names no columns".to_owned(),
                flag,
            });
        }
        for (line, text) in (1..).zip(text.lines()) {
            if !text.trim().is_empty() {
                self.push(vec![text.to_owned()], None, line);
            }
        }
        Ok(())
    }

    fn json_lines(&mut self, text: &str) -> Result<()> {
        for (line, text) in (1..).zip(text.lines()) {
            if !text.trim().is_empty() {
                let object =
                    serde_json::from_str(text).map_err(|e| record(self.path, line, e.to_string()))?;
                self.object(&object, line)?;
            }
        }
        Ok(())
    }

    fn json(&mut self, text: &str) -> Result<()> {
        let objects: Vec<Value> =
            serde_json::from_str(text).map_err(|e| record(self.path, e.line() as u64, e.to_string()))?;
        (1..).zip(&objects).try_for_each(|(number, object)| self.object(object, number))
    }

    fn object(&mut self, object: &Value, line: u64) -> Result<()> {
        let field = |name: &str| object.get(name).filter(|value| !value.is_null());
        let missing = |column: &str, flag| DataError::MissingColumn {
            path: self.path.to_owned(),
            column: column.to_owned(),
            present: match object {
                Value::Object(fields) => {
                    let names: Vec<String> = fields.keys().map(|name| format!("'{name}'")).collect();
                    format!("in line {line} {}", names.join(", "))
                }
                _ => format!("none: line {line} is no object"),
            },
            flag,
        };
        let texts = self.columns.texts.iter().map(|column| {
            let text = field(&column.name).ok_or_else(|| missing(&column.name, column.flag))?;
            let text = text
                .as_str()
                .ok_or_else(|| record(self.path, line, format!("'{}' is {text}, not a text", column.name)))?;
            Ok(text.to_owned())
        });
        let texts = texts.collect::<Result<Vec<_>>>()?;
        // Labels must be in every line or in none.
        let wanted = self.columns.label.is_some() || self.records.labels.is_some();
        let label = match field(self.columns.label()) {
            None if wanted => return Err(missing(self.columns.label(), "--label-column")),
            Some(_) if self.records.labels.is_none() && !self.records.texts.is_empty() => {
                return Err(record(self.path, line, "has a label, the lines before have none".to_owned()));
            }
            None => None,
            Some(Value::String(name)) => Some(self.label(name, line)?),
            Some(value) => Some(self.label(&value.to_string(), line)?),
        };
        self.push(texts, label, line);
        Ok(())
    }

    fn label(&self, text: &str, line: u64) -> Result<i64> {
        self.columns.class(self.path, text, format!("line {line}"))
    }

    fn push(&mut self, texts: Vec<String>, label: Option<i64>, line: u64) {
        self.records.texts.push(texts);
        self.records.lines.push(line);
        if let Some(label) = label {
            self.records.labels.get_or_insert_default().push(label);
        }
    }
}

/// Counts lines, because the positions that the crate `csv` gives lie before the ends of lines that it skips.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of a row, from 1; positions must not go back.
    fn line(&mut self, position: Option<&csv::Position>) -> u64 {
        let start = position.map_or(self.at, |p| p.byte() as usize);
        let bytes = self.text.as_bytes();
        while self.at < bytes.len() && (self.at < start || matches!(bytes[self.at], b'\r' | b'\n')) {
            self.line += u64::from(bytes[self.at] == b'\n');
            self.at += 1;
        }
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> Vec<TextColumn> {
        let flags = ["--text-column", "--pair-column"];
        names.iter().zip(flags).map(|(name, flag)| TextColumn { name: (*name).to_owned(), flag }).collect()
    }

    fn plain() -> Columns<'static> {
        static TEXT: std::sync::LazyLock<Vec<TextColumn>> = std::sync::LazyLock::new(|| texts(&["text"]));
        Columns { texts: &TEXT, label: None, classes: None }
    }

    fn read_as(name: &str, content: &str, columns: &Columns<'_>) -> Result<Records> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        read(&path, columns)
    }

    fn error(name: &str, content: &str, columns: &Columns<'_>) -> String {
        read_as(name, content, columns).unwrap_err().to_string()
    }

    #[test]
    fn all_formats_give_the_same_records() {
        let expected = Records {
            texts: vec![vec!["so \"good\"".into()], vec!["bad, really".into()]],
            labels: Some(vec![1, 0]),
            lines: vec![2, 3],
        };
        assert_eq!(
            read_as("a.tsv", "label\ttext\n1\tso \"good\"\n0\tbad, really\n", &plain()).unwrap(),
            expected
        );
        assert_eq!(
            read_as("a.txt", "label\ttext\r\n1\tso \"good\"\r\n0\tbad, really", &plain()).unwrap(),
            expected
        );
        assert_eq!(
            read_as("a.csv", "\u{feff}text,label\n\"so \"\"good\"\"\",1\n\"bad, really\",0\n", &plain())
                .unwrap(),
            expected
        );
        let objects = [
            "{\"text\": \"so \\\"good\\\"\", \"label\": 1}",
            "{\"label\": \"0\", \"text\": \"bad, really\"}",
        ];
        let lines = read_as("a.jsonl", &format!("\n{}\n{}\n", objects[0], objects[1]), &plain()).unwrap();
        assert_eq!(lines, expected);
        let array = read_as("a.json", &format!("[{}, {}]", objects[0], objects[1]), &plain()).unwrap();
        assert_eq!((array.texts, array.labels), (expected.texts, expected.labels));
    }

    #[test]
    fn plain_lines_have_no_labels() {
        let records = read_as("a.txt", "one\n\nthree\n", &plain()).unwrap();
        assert_eq!((records.texts.len(), records.labels, records.lines), (2, None, vec![1, 3]));
    }

    #[test]
    fn columns_and_classes_go_by_the_names_given() {
        let classes = ["neg".to_owned(), "pos".to_owned()];
        let review = texts(&["review"]);
        let columns = Columns { texts: &review, label: Some("mood"), classes: Some(&classes) };
        let records = read_as("a.csv", "review,mood\nfine,pos\npoor,0\n", &columns).unwrap();
        assert_eq!(records.labels, Some(vec![1, 0]));
        let message = error("a.csv", "review,mood\nfine,good\n", &columns);
        assert!(message.contains("line 2") && message.contains("neg, pos"), "{message}");
        assert!(error("a.csv", "text,label\nfine,pos\n", &plain()).contains("--classes"));

        let stars: Vec<String> = (1..=5).map(|stars| stars.to_string()).collect();
        let columns = Columns { classes: Some(&stars), ..plain() };
        assert_eq!(
            read_as("a.csv", "text,label\nfine,5\npoor,1\n", &columns).unwrap().labels,
            Some(vec![4, 0])
        );
        let message = error("a.jsonl", "{\"text\": \"poor\", \"label\": 0}", &columns);
        assert!(message.contains("'0' is none of the classes 1, 2"), "{message}");
    }

    #[test]
    fn missing_columns_are_named_with_those_that_are_there() {
        let message = error("a.csv", "sentence,label\nx,1\n", &plain());
        assert!(
            message.contains("'text'") && message.contains("'sentence'") && message.contains("--text-column")
        );
        let columns = Columns { label: Some("mood"), ..plain() };
        for (name, content) in
            [("a.tsv", "text\tlabel\nx\t1\n"), ("a.jsonl", "{\"text\": \"x\"}"), ("a.txt", "x\n")]
        {
            assert!(error(name, content, &columns).contains("--label-column"));
        }
        assert!(read_as("a.csv", "text\nx\n", &plain()).unwrap().labels.is_none());
    }

    #[test]
    fn pairs_are_two_columns() {
        let pair = texts(&["first", "second"]);
        let columns = Columns { texts: &pair, label: None, classes: None };
        let expected = [["a", "b"], ["c", "d"]];
        for (name, content) in [
            ("a.tsv", "second\tlabel\tfirst\nb\t0\ta\nd\t1\tc\n"),
            (
                "a.jsonl",
                "{\"first\": \"a\", \"second\": \"b\", \"label\": 0}\n{\"first\": \"c\", \"second\": \"d\", \"label\": 1}",
            ),
        ] {
            let records = read_as(name, content, &columns).unwrap();
            assert_eq!(
                (records.texts, records.labels),
                (expected.map(|p| p.map(str::to_owned).to_vec()).to_vec(), Some(vec![0, 1]))
            );
        }
        for (name, content) in [("a.csv", "first\na\n"), ("a.jsonl", "{\"first\": \"a\"}"), ("a.txt", "a\n")]
        {
            let message = error(name, content, &columns);
            assert!(message.contains("'second'") && message.contains("--pair-column"), "{name}: {message}");
        }
        assert!(error("a.tsv", "first\tsecond\na\n", &columns).contains("line 2"));
    }

    #[test]
    fn damaged_files_are_errors_that_name_the_line() {
        assert!(error("a.csv", "text,label\nx\n", &plain()).contains("line 2"));
        assert!(error("a.tsv", "text\tlabel\nx\t1\ny\n", &plain()).contains("line 3"));
        assert!(error("a.jsonl", "{\"text\": \"x\"}\n{\"text\"", &plain()).contains("line 2"));
        assert!(error("a.jsonl", "{\"text\": 3}", &plain()).contains("not a text"));
        assert!(error("a.jsonl", "[1]", &plain()).contains("no object"));
        assert!(
            error("a.jsonl", "{\"text\": \"x\"}\n{\"text\": \"y\", \"label\": 1}", &plain())
                .contains("line 2")
        );
        assert!(error("a.txt", "", &plain()).contains("no texts"));
        assert!(error("a.csv", "text\n", &plain()).contains("no texts"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latin.txt");
        std::fs::write(&path, b"fine\ncaf\xe9\n").unwrap();
        assert!(read(&path, &plain()).unwrap_err().to_string().contains("line 2: is not UTF-8"));
    }
}
