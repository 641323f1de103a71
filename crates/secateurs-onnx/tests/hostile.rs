//! Files that are wrong, by accident or on purpose: each ends in an error that says so, never in a panic.

mod common;

use std::{fs, path::Path};

use common::{everything, external, text, with_initializers};
use proptest::prelude::*;
use prost::Message;
use secateurs_onnx::{Bytes, Model, for_each_tensor, proto::*};
use tempfile::tempdir;

fn bytes_of(change: impl FnOnce(&mut ModelProto)) -> Vec<u8> {
    let mut model = with_initializers(vec![]);
    change(&mut model);
    model.encode_to_vec()
}

fn with_tensor(tensor: TensorProto) -> Vec<u8> {
    with_initializers(vec![TensorProto { name: text("w"), ..tensor }]).encode_to_vec()
}

fn tensor(data_type: i32, dims: &[i64]) -> TensorProto {
    TensorProto { data_type: Some(data_type), dims: dims.to_vec(), ..Default::default() }
}

fn raw(data_type: i32, dims: &[i64], bytes: usize) -> TensorProto {
    TensorProto { raw_data: Some(vec![0; bytes].into()), ..tensor(data_type, dims) }
}

fn sparse(dims: &[i64], values: TensorProto, indices: TensorProto) -> Vec<u8> {
    bytes_of(|model| {
        let values = TensorProto { name: text("s"), ..values };
        model.graph.as_mut().unwrap().sparse_initializer =
            vec![SparseTensorProto { values: Some(values), indices: Some(indices), dims: dims.to_vec() }];
    })
}

/// `depth` If nodes inside one another.
fn nested(depth: usize) -> Vec<u8> {
    let mut graph = GraphProto::default();
    for _ in 0..depth {
        let node =
            NodeProto { attribute: vec![AttributeProto::from_graph("then", graph)], ..Default::default() };
        graph = GraphProto { node: vec![node], ..Default::default() };
    }
    ModelProto { graph: Some(graph), ..with_initializers(vec![]) }.encode_to_vec()
}

#[test]
fn wrong_files_end_in_a_message_that_says_what_is_wrong() {
    let good = everything().encode_to_vec();
    let longs = |values: &[i64], dims: &[i64]| TensorProto { int64_data: values.to_vec(), ..tensor(7, dims) };
    let floats =
        |values: &[f32]| TensorProto { float_data: values.to_vec(), ..tensor(1, &[values.len() as i64]) };
    let mut huge_length = bytes_of(|_| ());
    huge_length.extend([0x3A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]);
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "is empty"),
        ("png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), "not an ONNX model: it is a PNG image"),
        ("prose", b"hello, this is no model".to_vec(), "not an ONNX model: it is text"),
        ("json", b"{\"model\": 1}".to_vec(), "not an ONNX model: it is text"),
        ("html", b"<!DOCTYPE html>".to_vec(), "not an ONNX model: it is text"),
        ("lfs", b"version https://git-lfs.github.com/spec/v1\n".to_vec(), "git lfs pull"),
        ("torch", b"PK\x03\x04\0\0".to_vec(), "torch.onnx.export"),
        ("safetensors", b"\x40\0\0\0\0\0\0\0{\"w\":{}}".to_vec(), "safetensors"),
        ("zeros", vec![0; 64], "not an ONNX model: it begins with"),
        ("noise", vec![0xFF; 64], "not an ONNX model"),
        ("truncated", good[..good.len() / 2].to_vec(), "it is truncated"),
        ("one byte short", good[..good.len() - 1].to_vec(), "is damaged"),
        ("huge length", huge_length, "it is truncated"),
        ("too deep", nested(40), "nests graphs or types too deeply"),
        ("no graph", bytes_of(|m| m.graph = None), "has no graph"),
        ("no ir_version", bytes_of(|m| m.ir_version = None), "has no ir_version"),
        ("negative ir_version", bytes_of(|m| m.ir_version = Some(-1)), "ir_version is -1"),
        ("no opset", bytes_of(|m| m.opset_import.clear()), "has no opset_import"),
        ("opset 0", bytes_of(|m| m.opset_import[0].version = None), "version 0 of opset ``"),
        ("type 0", with_tensor(tensor(0, &[])), "element type number 0"),
        ("type 29", with_tensor(raw(29, &[1], 4)), "initializer `w`: has element type number 29"),
        ("type -1", with_tensor(raw(-1, &[1], 4)), "element type number -1"),
        ("negative dim", with_tensor(raw(1, &[2, -1], 8)), "negative dim in its shape [2, -1]"),
        ("overflow", with_tensor(raw(1, &[i64::MAX, 4], 8)), "overflows"),
        ("byte overflow", with_tensor(raw(7, &[i64::MAX], 8)), "overflows"),
        ("large", with_tensor(raw(1, &[1 << 40], 8)), "takes 4398046511104 bytes, but there are 8"),
        ("raw short", with_tensor(raw(1, &[2, 3], 20)), "float32 [2, 3] takes 24 bytes, but there are 20"),
        ("raw long", with_tensor(raw(22, &[3], 3)), "int4 [3] takes 2 bytes, but there are 3"),
        ("no data", with_tensor(tensor(1, &[2])), "takes 8 bytes, but there are 0"),
        (
            "floats short",
            with_tensor(TensorProto { float_data: vec![1.0], ..tensor(1, &[2]) }),
            "2 entries of `float_data`, but there are 1",
        ),
        (
            "wrong field",
            with_tensor(TensorProto { int32_data: vec![1, 2], ..tensor(1, &[2]) }),
            "takes 8 bytes, but there are 0",
        ),
        (
            "complex",
            with_tensor(TensorProto { float_data: vec![1.0], ..tensor(14, &[1]) }),
            "2 entries of `float_data`",
        ),
        (
            "int8 range",
            with_tensor(TensorProto { int32_data: vec![1, 300], ..tensor(3, &[2]) }),
            "entry 1 of `int32_data` is 300",
        ),
        (
            "uint32 range",
            with_tensor(TensorProto { uint64_data: vec![1 << 32], ..tensor(12, &[1]) }),
            "which no uint32 holds",
        ),
        ("raw strings", with_tensor(raw(8, &[1], 1)), "strings must be in `string_data`"),
        ("strings short", with_tensor(tensor(8, &[1])), "1 entries of `string_data`, but there are 0"),
        (
            "segment",
            with_tensor(TensorProto { segment: Some(tensor_proto::Segment::default()), ..raw(1, &[1], 4) }),
            "segment",
        ),
        (
            "location",
            with_tensor(TensorProto { data_location: Some(7), ..raw(1, &[1], 4) }),
            "data location 7",
        ),
        (
            "sparse without indices",
            bytes_of(|m| {
                m.graph.as_mut().unwrap().sparse_initializer =
                    vec![SparseTensorProto { values: Some(floats(&[1.0])), ..Default::default() }];
            }),
            "without indices",
        ),
        (
            "sparse outside",
            sparse(&[2, 2], floats(&[1.0]), longs(&[4], &[1])),
            "index 4 outside of its dims [2, 2]",
        ),
        (
            "sparse negative",
            sparse(&[2, 2], floats(&[1.0]), longs(&[0, -1], &[1, 2])),
            "index [0, -1] outside",
        ),
        (
            "sparse rank",
            sparse(&[2, 2], floats(&[1.0]), longs(&[0, 0, 0], &[1, 3])),
            "indices have shape [1, 3]",
        ),
        ("sparse dims", sparse(&[-2, 2], floats(&[1.0]), longs(&[0], &[1])), "negative dim"),
        (
            "in an attribute",
            bytes_of(|m| {
                let attribute = AttributeProto::from_tensor("value", raw(1, &[2], 4));
                m.graph.as_mut().unwrap().node = vec![NodeProto {
                    name: text("c"),
                    op_type: text("Constant"),
                    attribute: vec![attribute],
                    ..Default::default()
                }];
            }),
            "attribute `value` of node `c` (Constant)",
        ),
        (
            "external in memory",
            with_initializers(vec![external("w", &[1], &[("location", "w.bin")])]).encode_to_vec(),
            "no folder to look in",
        ),
    ];
    let folder = tempdir().unwrap();
    let path = folder.path().join("the model.onnx");
    for (name, bytes, expected) in rows {
        let error = Model::from_bytes(bytes.clone().into(), None).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
        if !error.contains("no folder") {
            fs::write(&path, bytes).unwrap();
            let error = Model::read(&path).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("the model.onnx"), "{name}: {error}");
        }
    }
}

#[test]
fn what_is_unusual_and_right_is_accepted() {
    let opset = |bytes: Vec<u8>| Model::from_bytes(bytes.into(), None).unwrap().opset("ai.onnx");
    let old = |m: &mut ModelProto| {
        m.ir_version = Some(2);
        m.opset_import.clear();
    };
    assert_eq!(opset(bytes_of(old)), Some(1));
    assert_eq!(opset(bytes_of(|m| m.ir_version = Some(1000))), Some(21));
    assert_eq!(opset(nested(20)), Some(21));
    assert_eq!(opset(with_tensor(tensor(1, &[0, i64::MAX, i64::MAX]))), Some(21));
    // An empty `raw_data` beside a typed field.
    let both = TensorProto { float_data: vec![1.0], ..raw(1, &[1], 0) };
    assert_eq!(opset(with_tensor(both)), Some(21));
}

#[test]
fn paths_that_are_no_files_are_refused() {
    let folder = tempdir().unwrap();
    let read = |path: &Path| Model::read(path).map(|_| ()).unwrap_err().to_string();
    assert!(read(folder.path()).contains("is a folder, not a file"));
    let missing = read(&folder.path().join("missing.onnx"));
    assert!(missing.contains("cannot open") && missing.contains("missing.onnx"), "{missing}");
    #[cfg(unix)]
    assert!(read(Path::new("/dev/null")).contains("is a device or a pipe"));
}

#[test]
fn external_data_stays_inside_the_folder() {
    let outer = tempdir().unwrap();
    let folder = outer.path().join("model");
    fs::create_dir_all(folder.join("sub/dir")).unwrap();
    fs::write(outer.path().join("secret"), [1; 64]).unwrap();
    fs::write(folder.join("w.bin"), [2; 8]).unwrap();
    fs::write(folder.join("sub/v.bin"), [3; 8]).unwrap();
    fs::write(folder.join("empty"), []).unwrap();
    let absolute = outer.path().join("secret").to_str().unwrap().to_owned();
    let inside_absolute = folder.join("w.bin").to_str().unwrap().to_owned();
    let place = |location: &str| vec![("location".to_owned(), location.to_owned())];
    let at = |location: &str, offset: &str, length: &str| {
        [place(location), vec![("offset".into(), offset.into()), ("length".into(), length.into())]].concat()
    };
    let mut rows = vec![
        (vec![], Some("names no location")),
        (place(""), Some("names no location")),
        (place(&absolute), Some("an absolute path is refused")),
        (place(&inside_absolute), Some("an absolute path is refused")),
        (place("C:\\secret"), Some("an absolute path is refused")),
        (place("\\\\host\\share"), Some("an absolute path is refused")),
        (place("../secret"), Some("a path with `..` is refused")),
        (place("sub/../../secret"), Some("a path with `..` is refused")),
        (place("sub\\..\\..\\secret"), Some("a path with `..` is refused")),
        (place("missing.bin"), Some("no such file")),
        (place("w.bin/x"), Some("external data `w.bin/x`")),
        (place("a\0b"), Some("cannot read it")),
        (place("sub/dir"), Some("not a regular file")),
        (place("."), Some("not a regular file")),
        (place("empty"), Some("the file has 0")),
        (at("w.bin", "4", "8"), Some("bytes 4 to 4 + 8 are asked for, and the file has 8")),
        (at("w.bin", "9", "0"), Some("the file has 8")),
        (at("w.bin", "18446744073709551615", "8"), Some("the file has 8")),
        (at("w.bin", "0", "4"), Some("takes 8 bytes, but there are 4")),
        (at("w.bin", "-1", "8"), Some("offset is `-1`")),
        (at("w.bin", "0", "many"), Some("length is `many`")),
        (at("w.bin", "0", "8"), None),
        (place("w.bin"), None),
        (place("./w.bin"), None),
        (place("sub/v.bin"), None),
    ];
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink(outer.path().join("secret"), folder.join("link")).unwrap();
        symlink(outer.path(), folder.join("up")).unwrap();
        symlink("w.bin", folder.join("good link")).unwrap();
        symlink("loop", folder.join("loop")).unwrap();
        rows.extend([
            (place("link"), Some("a link that leads out")),
            (place("up/secret"), Some("a link that leads out")),
            (place("loop"), Some("cannot read it")),
            (place("good link"), None),
        ]);
    }
    for (entries, expected) in rows {
        let pairs: Vec<_> = entries.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let path = folder.join("m.onnx");
        fs::write(&path, with_initializers(vec![external("w", &[2], &pairs)]).encode_to_vec()).unwrap();
        match (Model::read(&path), expected) {
            (Ok(_), None) => {}
            (Ok(_), Some(expected)) => panic!("{entries:?} was accepted; expected: {expected}"),
            (Err(error), None) => panic!("{entries:?} was refused: {error}"),
            (Err(error), Some(expected)) => {
                let error = error.to_string();
                assert!(
                    error.contains(expected) && error.contains("initializer `w`"),
                    "{entries:?}: {error}"
                );
            }
        }
    }
}

#[test]
fn a_sparse_tensor_cannot_ask_for_all_memory() {
    let one = TensorProto { float_data: vec![1.0], ..tensor(1, &[1]) };
    let index = TensorProto { int64_data: vec![5], ..tensor(7, &[1]) };
    // The second is below 2 GB, and far beyond what twelve bytes may ask for.
    for (count, bytes) in [(1 << 40, "4398046511104 bytes"), (1 << 28, "1073741824 bytes")] {
        let model = Model::from_bytes(sparse(&[count], one.clone(), index.clone()).into(), None).unwrap();
        let error = model.sparse_tensor(&model.graph().sparse_initializer[0]).unwrap_err().to_string();
        assert!(error.contains("sparse tensor `s`") && error.contains(bytes), "{error}");
        assert!(error.contains("make it dense"), "{error}");
    }
}

/// Reads whatever there is to read.
fn exercise(bytes: Vec<u8>) {
    if let Ok(model) = Model::from_bytes(Bytes::from(bytes), None) {
        for_each_tensor(&model.proto, |_, proto| {
            let tensor = model.tensor(proto).expect("it was checked");
            let _ = (tensor.to_f64_vec(), tensor.to_i64_vec());
        });
        let graph: &GraphProto = model.graph();
        for sparse in graph.sparse_initializer.iter().filter(|s| s.dims.iter().all(|&dim| dim < 1000)) {
            let _ = model.sparse_tensor(sparse);
        }
        let again = secateurs_onnx::encode(&model).expect("it is small");
        Model::from_bytes(again, None).expect("what is written can be read");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        exercise(bytes);
    }

    #[test]
    fn damaged_models_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u8), 1..8)) {
        let mut bytes = everything().encode_to_vec();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        exercise(bytes);
    }

    #[test]
    fn truncated_models_never_panic(at in any::<prop::sample::Index>()) {
        let mut bytes = everything().encode_to_vec();
        bytes.truncate(at.index(bytes.len()));
        exercise(bytes);
    }
}
