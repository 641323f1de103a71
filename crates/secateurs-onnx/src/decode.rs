//! Decoding, with an error that says what a file is when it is not a model.

use bytes::Bytes;
use prost::Message;

use crate::{Error, proto::ModelProto};

/// Decodes a model. Every `bytes` field shares `bytes`.
pub(crate) fn decode(bytes: Bytes, file: &str) -> Result<ModelProto, Error> {
    let file = || file.to_owned();
    if bytes.is_empty() {
        return Err(Error::Empty { file: file() });
    }
    if let Some(format) = other_format(&bytes) {
        return Err(Error::NotOnnx { file: file(), looks_like: format.to_owned() });
    }
    let unknown = || Error::NotOnnx { file: file(), looks_like: describe_start(&bytes) };
    match ModelProto::decode(bytes.clone()) {
        Ok(proto) if proto.graph.is_none() && proto.ir_version.is_none() => Err(unknown()),
        Ok(proto) => Ok(proto),
        Err(cause) if cause.to_string().contains("recursion limit") => Err(Error::TooDeep { file: file() }),
        Err(cause) if starts_like_a_model(&bytes) => Err(Error::Damaged {
            file: file(),
            cause: truncation(&bytes).unwrap_or_else(|| cause.to_string()),
        }),
        Err(_) => Err(unknown()),
    }
}

/// Formats that people take for ONNX models, by their first bytes. None of them begins like a model.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    const PYTORCH: &str =
        "it is a PyTorch file or another zip archive; export the model with torch.onnx.export";
    const FLATBUFFER: &str =
        "it is a flatbuffer (TensorFlow Lite or .ort); use the .onnx file it was made from";
    const FORMATS: &[(usize, &[u8], &str)] = &[
        (0, b"version https://git-lfs", "it is a Git LFS pointer; run `git lfs pull` in its repository"),
        (0, b"PK\x03\x04", PYTORCH),
        (0, b"\x80\x02", "it is a Python pickle; load it in Python and export with torch.onnx.export"),
        (0, b"\x80\x03", "it is a Python pickle; load it in Python and export with torch.onnx.export"),
        (0, b"\x80\x04", "it is a Python pickle; load it in Python and export with torch.onnx.export"),
        (0, b"\x80\x05", "it is a Python pickle; load it in Python and export with torch.onnx.export"),
        (0, b"\x89PNG", "it is a PNG image"),
        (0, b"\xFF\xD8\xFF", "it is a JPEG image"),
        (0, b"\x89HDF", "it is an HDF5 file, as Keras writes; convert it with tf2onnx"),
        (0, b"\x93NUMPY", "it is a NumPy array"),
        (0, b"\x1F\x8B", "it is compressed with gzip; decompress it first"),
        (0, b"\xFD7zXZ", "it is compressed with xz; decompress it first"),
        (0, b"\x28\xB5\x2F\xFD", "it is compressed with zstd; decompress it first"),
        (0, b"BZh", "it is compressed with bzip2; decompress it first"),
        (0, b"\x7FELF", "it is a program or library"),
        (4, b"TFL3", FLATBUFFER),
        (4, b"ORTM", FLATBUFFER),
        (8, b"{\"", "it is a safetensors file, which has weights and no graph; export the model to ONNX"),
        (0, b"{", "it is text, perhaps JSON; give the binary .onnx file"),
        (0, b"<", "it is text, perhaps an HTML page or ONNX's text form; give the binary .onnx file"),
    ];
    let format =
        FORMATS.iter().find(|(at, magic, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    format.map(|(_, _, name)| *name)
}

fn describe_start(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(8)];
    let text = bytes.iter().take(64).all(|b| matches!(b, b'\t' | b'\n' | b'\r' | b' '..=b'~'));
    if text { "it is text".to_owned() } else { format!("it begins with the bytes {start:02x?}") }
}

/// Whether the first field is one of `ModelProto`, in its wire type: varints 1 (ir_version) and 5
/// (model_version), messages and strings 2, 3, 4, 6, 7, 8, 14, 20, 25, 26.
fn starts_like_a_model(bytes: &[u8]) -> bool {
    let Some((key, _)) = varint(bytes) else { return false };
    matches!((key >> 3, key & 7), (1 | 5, 0) | (2 | 3 | 4 | 6 | 7 | 8 | 14 | 20 | 25 | 26, 2))
}

/// Says so when a field of the model is longer than what is left of the file.
fn truncation(mut bytes: &[u8]) -> Option<String> {
    let total = bytes.len();
    while !bytes.is_empty() {
        let (key, rest) = varint(bytes)?;
        let (value, rest) = match key & 7 {
            0 | 2 => varint(rest)?,
            _ => return None,
        };
        bytes = rest;
        if key & 7 == 2 {
            let name = match key >> 3 {
                7 => "the graph".to_owned(),
                field => format!("field {field}"),
            };
            let left = bytes.len();
            let Some(rest) = usize::try_from(value).ok().and_then(|length| bytes.get(length..)) else {
                return Some(format!(
                    "{name} takes {value} bytes, and only {left} are left of the file's {total}; it is truncated"
                ));
            };
            bytes = rest;
        }
    }
    None
}

/// A varint, and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut rest = bytes;
    prost::encoding::decode_varint(&mut rest).ok().map(|value| (value, rest))
}
