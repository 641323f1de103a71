//! Texts and labels from Parquet files, as the Hugging Face hub has them.
//!
//! Columns of text (UTF-8) and labels that are whole numbers, booleans, or names of classes; only the columns that are
//! asked for are read.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;

use super::error::{DataError, Result};
use super::records::{Columns, Records};

/// Reads the columns of a file.
pub(super) fn read(path: &Path, columns: &Columns<'_>) -> Result<Records> {
    let file = File::open(path).map_err(DataError::io(path))?;
    // The crate checks what it reads, but not everything: a damaged page must not end the process.
    let read = catch_unwind(AssertUnwindSafe(|| read_columns(path, file, columns)));
    read.unwrap_or_else(|_| Err(damaged(path, "it is damaged".to_owned())))
}

fn read_columns(path: &Path, file: File, columns: &Columns<'_>) -> Result<Records> {
    let reader = SerializedFileReader::new(file).map_err(|e| unreadable(path, &e))?;
    let schema = reader.metadata().file_metadata().schema();
    let fields = schema.get_fields();
    let field = |name: &str| fields.iter().find(|field| field.name() == name).cloned();
    let present = || fields.iter().map(|field| format!("'{}'", field.name())).collect::<Vec<_>>().join(", ");
    let missing = |column: &str, flag| DataError::MissingColumn {
        path: path.to_owned(),
        column: column.to_owned(),
        present: present(),
        flag,
    };
    let mut wanted: Vec<Arc<Type>> = Vec::new();
    for column in columns.texts {
        let found = field(&column.name).ok_or_else(|| missing(&column.name, column.flag))?;
        wanted.push(primitive(path, found)?);
    }
    let label = field(columns.label()).map(|found| primitive(path, found)).transpose()?;
    if let (None, Some(label)) = (&label, columns.label) {
        return Err(missing(label, "--label-column"));
    }
    let labelled = label.is_some();
    // A label that is a text as well is read once.
    let new = label.filter(|label| !columns.texts.iter().any(|text| text.name == label.name()));
    wanted.extend(new);
    let projection = Type::group_type_builder(schema.name()).with_fields(wanted).build();
    let projection = projection.map_err(|e| unreadable(path, &e))?;
    let rows = reader.get_row_iter(Some(projection)).map_err(|e| unreadable(path, &e))?;
    let mut records = Records { texts: Vec::new(), labels: labelled.then(Vec::new), lines: Vec::new() };
    for (number, row) in rows.enumerate() {
        let row = row.map_err(|e| unreadable(path, &e))?;
        let texts = columns.texts.iter().map(|column| text(path, number, &row, &column.name));
        records.texts.push(texts.collect::<Result<_>>()?);
        if let Some(labels) = &mut records.labels {
            labels.push(class(path, number, &row, columns)?);
        }
    }
    if records.texts.is_empty() {
        return Err(DataError::Empty { path: path.to_owned(), what: "the file has no rows".to_owned() });
    }
    Ok(records)
}

fn primitive(path: &Path, field: Arc<Type>) -> Result<Arc<Type>> {
    match field.is_primitive() {
        true => Ok(field),
        false => Err(damaged(
            path,
            format!("column '{}' holds lists or groups, not texts or labels", field.name()),
        )),
    }
}

fn value<'r>(row: &'r Row, column: &str) -> Option<&'r Field> {
    row.get_column_iter().find(|(name, _)| *name == column).map(|(_, value)| value)
}

fn text(path: &Path, number: usize, row: &Row, column: &str) -> Result<String> {
    match value(row, column) {
        Some(Field::Str(text)) => Ok(text.clone()),
        // Writers that know no text type.
        Some(Field::Bytes(bytes)) => String::from_utf8(bytes.data().to_vec())
            .map_err(|_| damaged(path, format!("row {number}: '{column}' is not UTF-8 text"))),
        other => Err(damaged(path, format!("row {number}: '{column}' is {}, not a text", shown(other)))),
    }
}

fn class(path: &Path, number: usize, row: &Row, columns: &Columns<'_>) -> Result<i64> {
    let place = format!("row {number}");
    match value(row, columns.label()) {
        Some(Field::Bool(holds)) => Ok(i64::from(*holds)),
        // They may be names as well.
        Some(
            number @ (Field::Byte(_)
            | Field::Short(_)
            | Field::Int(_)
            | Field::Long(_)
            | Field::UByte(_)
            | Field::UShort(_)
            | Field::UInt(_)
            | Field::ULong(_)),
        ) => columns.class(path, &number.to_string(), place),
        Some(Field::Str(name)) => columns.class(path, name, place),
        Some(Field::Bytes(name)) => columns.class(path, &String::from_utf8_lossy(name.data()), place),
        other => Err(DataError::Label {
            path: path.to_owned(),
            place,
            label: shown(other),
            message: "is no class; labels are whole numbers, booleans or names".to_owned(),
        }),
    }
}

fn shown(value: Option<&Field>) -> String {
    match value {
        None | Some(Field::Null) => "missing".to_owned(),
        Some(value) => value.to_string(),
    }
}

fn damaged(path: &Path, message: String) -> DataError {
    DataError::Table { path: path.to_owned(), message }
}

fn unreadable(path: &Path, error: &ParquetError) -> DataError {
    damaged(path, format!("cannot be read as Parquet: {error}"))
}

#[cfg(test)]
mod tests {
    use parquet::basic::{Compression, ZstdLevel};
    use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
    use parquet::schema::parser::parse_message_type;

    use super::super::records::{self, TextColumn};
    use super::*;

    const SCHEMA: &str = "message schema { REQUIRED INT64 idx; OPTIONAL BYTE_ARRAY text (UTF8); REQUIRED BYTE_ARRAY other (UTF8); \
                          REQUIRED INT64 label; REQUIRED BOOLEAN flag; REQUIRED BYTE_ARRAY mood (UTF8); }";

    fn bytes(compression: Compression, texts: &[Option<&str>]) -> Vec<u8> {
        let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let mut written = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut written, schema, properties).unwrap();
        // Two row groups, as large files have.
        for part in texts.chunks(2) {
            let mut group = writer.next_row_group().unwrap();
            let n = part.len();
            let strings = |name: &str| vec![ByteArray::from(name); n];
            let held: Vec<ByteArray> = part.iter().flatten().map(|text| ByteArray::from(*text)).collect();
            let levels: Vec<i16> = part.iter().map(|text| i16::from(text.is_some())).collect();
            column::<Int64Type>(&mut group, &vec![7; n], None);
            column::<ByteArrayType>(&mut group, &held, Some(&levels));
            column::<ByteArrayType>(&mut group, &strings("second"), None);
            column::<Int64Type>(&mut group, &vec![1; n], None);
            column::<BoolType>(&mut group, &vec![true; n], None);
            column::<ByteArrayType>(&mut group, &strings("good"), None);
            group.close().unwrap();
        }
        writer.close().unwrap();
        written
    }

    fn column<T: parquet::data_type::DataType>(
        group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
        values: &[T::T],
        levels: Option<&[i16]>,
    ) {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<T>().write_batch(values, levels, None).unwrap();
        column.close().unwrap();
    }

    fn read_bytes(
        bytes: &[u8],
        texts: &[&str],
        label: Option<&str>,
        classes: Option<&[String]>,
    ) -> Result<Records> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.parquet");
        std::fs::write(&path, bytes).unwrap();
        let texts: Vec<TextColumn> =
            texts.iter().map(|name| TextColumn { name: (*name).to_owned(), flag: "--text-column" }).collect();
        records::read(&path, &Columns { texts: &texts, label, classes })
    }

    #[test]
    fn texts_pairs_and_labels_of_every_kind_are_read_however_they_are_compressed() {
        for compression in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(Default::default()),
            Compression::ZSTD(ZstdLevel::default()),
        ] {
            let file = bytes(compression, &[Some("one"), Some("two"), Some("three")]);
            let records = read_bytes(&file, &["text", "other"], None, None).unwrap();
            let texts = ["one", "two", "three"].map(|text| vec![text.to_owned(), "second".to_owned()]);
            assert_eq!((records.texts, records.labels), (texts.to_vec(), Some(vec![1; 3])));
            let flags = read_bytes(&file, &["text"], Some("flag"), None).unwrap();
            assert_eq!(flags.labels, Some(vec![1; 3]));
            let classes = ["bad".to_owned(), "good".to_owned()];
            let named = read_bytes(&file, &["text"], Some("mood"), Some(&classes)).unwrap();
            assert_eq!(named.labels, Some(vec![1; 3]));
            let stars = ["1".to_owned(), "2".to_owned()];
            let stars = read_bytes(&file, &["text"], None, Some(&stars)).unwrap();
            assert_eq!(stars.labels, Some(vec![0; 3]));
        }
    }

    #[test]
    fn what_is_not_there_or_does_not_fit_is_an_error_with_its_place() {
        let file = bytes(Compression::SNAPPY, &[Some("one"), None]);
        let error = |texts: &[&str], label: Option<&str>| {
            read_bytes(&file, texts, label, None).unwrap_err().to_string()
        };
        let missing = error(&["sentence"], None);
        assert!(missing.contains("'sentence'") && missing.contains("'other'"), "{missing}");
        assert!(error(&["other"], Some("stars")).contains("--label-column"));
        assert!(error(&["text"], None).contains("row 1: 'text' is missing"));
        assert!(error(&["idx"], None).contains("'idx' is 7, not a text"));
        assert!(error(&["other"], Some("mood")).contains("--classes"));
    }

    #[test]
    fn damaged_files_are_errors() {
        let whole = bytes(Compression::SNAPPY, &[Some("one"), Some("two"), Some("three")]);
        assert!(read_bytes(b"text\nno", &["text"], None, None).unwrap_err().to_string().contains("Parquet"));
        for length in (0..whole.len()).step_by(7) {
            assert!(read_bytes(&whole[..length], &["text"], None, None).is_err(), "{length} bytes");
        }
        // Other texts may come of it, but nothing that ends the process.
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x55;
            let _ = read_bytes(&bytes, &["text"], None, None);
        }
    }
}
