//! Bad input of every kind: exit code 2, an error that names the file and what is wrong, nothing written, no panic.

mod support;

use std::path::{Path, PathBuf};

use secateurs::data::npz;
use secateurs_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto,
};
use secateurs_onnx::{ElementType, ModelBuilder, Tensor, encode, tensor_to_proto, value_info};
use support::{SECATEURS, ended, secateurs, unread, with_room};

/// Runs it and checks that it refuses as it should; `words` must all be in the message.
fn refuses(what: &str, arguments: &[&str], words: &[&str]) {
    let output = secateurs(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{what}: {:?}\n{message}", output.status);
    assert!(!message.contains("panicked"), "{what}: {message}");
    for word in words {
        assert!(message.contains(word), "{what}: no '{word}' in: {message}");
    }
}

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    let (input, output) = (names(inputs), names(outputs));
    NodeProto {
        name: Some(format!("the_{}", op.to_lowercase())),
        op_type: Some(op.into()),
        input,
        output,
        ..Default::default()
    }
}

/// `y = x W + b` over 4 features and 3 classes.
fn linear() -> ModelProto {
    let weight = Tensor::from_slice(vec![4, 3], &[0.5f32; 12]).unwrap();
    let bias = Tensor::from_slice(vec![3], &[0f32, 1.0, 2.0]).unwrap();
    let builder = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "4"])
        .constant("w", &weight)
        .constant("b", &bias)
        .output("y");
    let mut model = builder.proto();
    graph(&mut model).node = vec![node("MatMul", &["x", "w"], &["h"]), node("Add", &["h", "b"], &["y"])];
    model
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().into()
    }

    fn model(&self, name: &str, change: impl FnOnce(&mut ModelProto)) -> String {
        use prost::Message as _;
        let mut model = linear();
        change(&mut model);
        self.file(name, &model.encode_to_vec())
    }

    fn npz(&self, name: &str, arrays: &[(&str, Tensor)]) -> String {
        let path = self.path(name);
        let arrays: Vec<(&str, &Tensor)> = arrays.iter().map(|(n, t)| (*n, t)).collect();
        npz::write(&path, &arrays).unwrap();
        path.to_str().unwrap().into()
    }
}

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

fn external(location: &str, offset: &str, length: &str) -> TensorProto {
    let entry =
        |key: &str, value: &str| StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) };
    TensorProto {
        name: Some("w".into()),
        dims: vec![4, 3],
        data_type: Some(ElementType::Float32.to_onnx()),
        data_location: Some(1),
        external_data: vec![entry("location", location), entry("offset", offset), entry("length", length)],
        ..Default::default()
    }
}

#[test]
fn damaged_files_are_refused() {
    let folder = Folder::new();
    let whole = {
        use prost::Message as _;
        linear().encode_to_vec()
    };
    let good = folder.file("good.onnx", &whole);
    assert!(secateurs(&["inspect", &good]).status.success());
    let mut nested = vec![0x0a; 4];
    for _ in 0..4000 {
        let mut outer = vec![0x3a];
        prost::encoding::encode_varint(nested.len() as u64, &mut outer);
        outer.extend(&nested);
        nested = outer;
    }
    let table: &[(&str, Vec<u8>, &[&str])] = &[
        ("empty", vec![], &["empty.onnx"]),
        ("truncated", whole[..whole.len() / 2].to_vec(), &["truncated.onnx"]),
        ("png", b"\x89PNG\r\n\x1a\n0000".to_vec(), &["png.onnx", "not an ONNX model"]),
        ("huge-length", vec![0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], &["huge-length.onnx"]),
        ("nested", nested, &["nested.onnx"]),
    ];
    for (name, bytes, words) in table {
        let path = folder.file(&format!("{name}.onnx"), bytes);
        refuses(name, &["inspect", &path], words);
        refuses(name, &["bench", &path], words);
    }
    refuses("missing file", &["inspect", "no/such.onnx"], &["no/such.onnx"]);
    refuses("a folder", &["inspect", folder.0.path().to_str().unwrap()], &["folder"]);
    for bit in 0..whole.len() * 8 {
        // Bit flips may leave a valid model; what they must not do is crash.
        if bit % 37 == 0 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let path = folder.file("flipped.onnx", &flipped);
            let code = secateurs(&["inspect", &path]).status.code();
            assert!(matches!(code, Some(0 | 2)), "bit {bit}: {code:?}");
        }
    }
}

#[test]
fn broken_graphs_are_refused() {
    let folder = Folder::new();
    std::fs::write(folder.path("weights.bin"), [0u8; 16]).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc/hostname", folder.path("link.bin")).unwrap();
    type Change = fn(&mut ModelProto);
    let table: &[(&str, Change, &[&str])] = &[
        (
            "cycle",
            |m| {
                graph(m).node[0].input[0] = "y".into();
            },
            &["cycle", "the_matmul", "the_add"],
        ),
        ("duplicate value", |m| graph(m).node[1].output[0] = "h".into(), &["'h'", "twice", "the_matmul"]),
        (
            "duplicate initializer",
            |m| {
                let copy = graph(m).initializer[0].clone();
                graph(m).initializer.push(copy);
            },
            &["'w'", "twice"],
        ),
        ("missing initializer", |m| drop(graph(m).initializer.remove(0)), &["the_matmul", "'w'", "export"]),
        ("missing output", |m| graph(m).output[0].name = Some("z".into()), &["'z'"]),
        (
            "absolute external path",
            |m| graph(m).initializer[0] = external("/etc/hostname", "0", "48"),
            &["w", "/etc/hostname"],
        ),
        (
            "external path out of the folder",
            |m| graph(m).initializer[0] = external("../weights.bin", "0", "48"),
            &["w", "../weights.bin"],
        ),
        (
            "external symlink",
            |m| graph(m).initializer[0] = external("link.bin", "0", "48"),
            &["w", "link.bin"],
        ),
        (
            "external data past the end",
            |m| graph(m).initializer[0] = external("weights.bin", "0", "48"),
            &["w", "weights.bin"],
        ),
        (
            "external file missing",
            |m| graph(m).initializer[0] = external("nothing.bin", "0", "48"),
            &["w", "nothing.bin"],
        ),
        ("wrong element count", |m| graph(m).initializer[0].dims = vec![4, 5], &["w", "5"]),
        ("negative dimension", |m| graph(m).initializer[0].dims = vec![-4, 3], &["w", "-4"]),
        ("overflowing dimensions", |m| graph(m).initializer[0].dims = vec![i64::MAX, i64::MAX], &["w"]),
        ("unknown element type", |m| graph(m).initializer[0].data_type = Some(99), &["w", "99"]),
        (
            "negative input size",
            |m| graph(m).input[0] = value_info("x", ElementType::Float32, &["-2", "4"]),
            &["'x'", "-2"],
        ),
        (
            "shapes that do not fit",
            |m| graph(m).input[0] = value_info("x", ElementType::Float32, &["batch", "7"]),
            &["the_matmul", "MatMul"],
        ),
        (
            "attribute of the wrong type",
            |m| {
                graph(m).node[1] = NodeProto {
                    attribute: vec![AttributeProto {
                        name: Some("axis".into()),
                        r#type: Some(3),
                        s: Some("one".into()),
                        ..Default::default()
                    }],
                    ..node("Softmax", &["h"], &["y"])
                };
            },
            &["the_softmax", "axis"],
        ),
        (
            "axis out of range",
            |m| {
                graph(m).node[1] = NodeProto {
                    attribute: vec![AttributeProto::from_int("axis", 9)],
                    ..node("Softmax", &["h"], &["y"])
                };
            },
            &["the_softmax", "9"],
        ),
    ];
    for (name, change, words) in table {
        let file = format!("{}.onnx", name.replace(' ', "-"));
        let path = folder.model(&file, change);
        let words: Vec<&str> = words.iter().copied().chain([file.as_str()]).collect();
        refuses(name, &["inspect", &path], &words);
    }
}

#[test]
fn unknown_ops_are_listed_and_cannot_run() {
    let folder = Folder::new();
    let path = folder.model("unknown.onnx", |m| {
        graph(m).node[1] =
            NodeProto { domain: Some("acme".into()), ..node("Frobnicate", &["h", "b"], &["y"]) };
        m.opset_import.push(OperatorSetIdProto { domain: Some("acme".into()), version: Some(1) });
    });
    let output = secateurs(&["inspect", &path]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("acme::Frobnicate") && text.contains("MatMul"), "{text}");
    let inputs = folder.npz("x.npz", &[("x", Tensor::from_slice(vec![1, 4], &[0f32; 4]).unwrap())]);
    let target = folder.path("y.npz");
    refuses(
        "an unknown op",
        &["run", &path, "--inputs", &inputs, "-o", target.to_str().unwrap()],
        &["the_frobnicate", "Frobnicate", "unknown.onnx"],
    );
    assert!(!target.exists());
}

#[test]
fn variants_of_ops_that_cannot_run_are_listed_with_what_is_lacking() {
    let folder = Folder::new();
    let path = folder.model("variant.onnx", |m| {
        graph(m).node[1] = NodeProto {
            domain: Some("com.microsoft".into()),
            attribute: vec![
                AttributeProto::from_int("num_heads", 2),
                AttributeProto::from_int("do_rotary", 1),
            ],
            ..node("Attention", &["h", "b"], &["y"])
        };
        m.opset_import.push(OperatorSetIdProto { domain: Some("com.microsoft".into()), version: Some(1) });
    });
    let output = secateurs(&["inspect", &path]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("com.microsoft::Attention") && text.contains("'do_rotary'"), "{text}");
}

#[test]
fn data_that_do_not_fit_are_refused() {
    let folder = Folder::new();
    let model = folder.model("linear.onnx", |_| {});
    let x = |shape: Vec<usize>| {
        let n = shape.iter().product();
        Tensor::from_slice(shape, &vec![0.5f32; n]).unwrap()
    };
    let labels = |values: &[i64]| Tensor::from_slice(vec![values.len()], values).unwrap();
    let good = folder.npz("good.npz", &[("x", x(vec![2, 4])), ("y", labels(&[0, 2]))]);
    let output = secateurs(&["eval", &model, "--data", &good, "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    type Row<'a> = (&'a str, &'a [(&'a str, Tensor)], &'a [&'a str]);
    let table: &[Row] = &[
        ("five-features", &[("x", x(vec![2, 5])), ("y", labels(&[0, 1]))], &["five-features.npz", "x"]),
        ("rank", &[("x", x(vec![2, 4, 1])), ("y", labels(&[0, 1]))], &["rank.npz"]),
        ("label", &[("x", x(vec![2, 4])), ("y", labels(&[0, 3]))], &["label.npz", "3"]),
        ("negative-label", &[("x", x(vec![2, 4])), ("y", labels(&[0, -1]))], &["negative-label.npz", "-1"]),
        ("lengths", &[("x", x(vec![2, 4])), ("y", labels(&[0, 1, 2]))], &["lengths.npz"]),
        ("no-labels", &[("x", x(vec![2, 4]))], &["no-labels.npz", "labels"]),
        ("no-x", &[("z", x(vec![2, 4]))], &["no-x.npz"]),
    ];
    for (name, arrays, words) in table {
        let path = folder.npz(&format!("{name}.npz"), arrays);
        refuses(name, &["eval", &model, "--data", &path], words);
    }
    let truncated = std::fs::read(&good).unwrap();
    let truncated = folder.file("truncated.npz", &truncated[..truncated.len() / 2]);
    refuses("truncated npz", &["eval", &model, "--data", &truncated], &["truncated.npz"]);
    refuses("missing data", &["eval", &model, "--data", "no/such"], &["no/such"]);

    let empty = folder.path("empty");
    std::fs::create_dir(&empty).unwrap();
    refuses("empty folder", &["eval", &model, "--data", empty.to_str().unwrap()], &["empty"]);

    let target = folder.path("out.npz");
    let run = |inputs: &str| {
        ["run", model.as_str(), "--inputs", inputs, "-o", target.to_str().unwrap()].map(String::from)
    };
    let wrong = folder.npz("wrong.npz", &[("x", x(vec![2, 5]))]);
    let arguments = run(&wrong);
    refuses("run on a wrong shape", &arguments.each_ref().map(String::as_str), &["wrong.npz", "'x'"]);
    let extra = folder.npz("extra.npz", &[("x", x(vec![2, 4])), ("q", x(vec![1]))]);
    let arguments = run(&extra);
    refuses("run with an extra array", &arguments.each_ref().map(String::as_str), &["'q'"]);
    assert!(!target.exists());
}

#[test]
fn unreadable_images_are_named() {
    let folder = Folder::new();
    let model = folder.model("pixels.onnx", |m| {
        let input = value_info("x", ElementType::Float32, &["batch", "3", "2", "2"]);
        let graph = graph(m);
        graph.input[0] = input;
        graph.node = vec![node("Flatten", &["x"], &["f"]), node("MatMul", &["f", "w"], &["y"])];
        let weight = Tensor::from_slice(vec![12, 3], &[0.5f32; 36]).unwrap();
        graph.initializer = vec![tensor_to_proto("w", &weight)];
    });
    for class in ["cat", "dog", "fox"] {
        std::fs::create_dir_all(folder.path("images").join(class)).unwrap();
        std::fs::write(folder.path("images").join(class).join("broken.png"), b"not a picture").unwrap();
    }
    let images = folder.path("images");
    refuses("broken image", &["eval", &model, "--data", images.to_str().unwrap()], &["broken.png"]);
}

#[test]
fn what_cannot_be_saved_is_a_failure_and_told_all_the_same() {
    let folder = Folder::new();
    let model = folder.model("linear.onnx", |_| {});
    let x = Tensor::from_slice(vec![2, 4], &[0.5f32; 8]).unwrap();
    let labels = Tensor::from_slice(vec![2], &[0i64, 2]).unwrap();
    let data = folder.npz("data.npz", &[("x", x.clone()), ("y", labels)]);
    let inputs = folder.npz("inputs.npz", &[("x", x)]);
    let saved = folder.path("saved.npz");
    let saved = saved.to_str().unwrap();
    let eval = with_room(100, &["eval", &model, "--data", &data, "--save", saved]);
    assert!(ended(1, &eval, &["saved.npz"]).contains("accuracy"));
    ended(1, &with_room(100, &["run", &model, "--inputs", &inputs, "-o", saved]), &["saved.npz"]);
    assert!(!Path::new(saved).exists());
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    let folder = Folder::new();
    let model = folder.model("linear.onnx", |_| {});
    let inputs = folder.npz("inputs.npz", &[("x", Tensor::from_slice(vec![1, 4], &[0f32; 4]).unwrap())]);
    let output = folder.path("y.npz");
    let run = ["run", &model, "--inputs", &inputs, "-o", output.to_str().unwrap()];
    for words in [&run[..], &["completions", "bash"]] {
        let status = std::process::Command::new(SECATEURS).args(words).stdout(unread()).status().unwrap();
        assert_eq!(status.code(), Some(0), "{words:?}");
    }
    assert!(output.exists());
}

#[test]
fn bad_usage_is_refused() {
    let folder = Folder::new();
    let model = folder.model("linear.onnx", |_| {});
    refuses("unknown command", &["frobnicate"], &["frobnicate"]);
    refuses("unknown size", &["inspect", &model, "--dim", "sequence=4"], &["sequence", "batch"]);
    refuses("size of nothing", &["inspect", &model, "--dim", "batch=0"], &["batch=0"]);
    refuses("shape of an unknown input", &["inspect", &model, "--shape", "z=1,4"], &["'z'", "'x'"]);
    refuses("shape against the model", &["inspect", &model, "--shape", "x=1,5"], &["5", "4"]);
    refuses("shape of another rank", &["inspect", &model, "--shape", "x=1,4,1"], &["3", "2"]);
    refuses("no output folder", &["run", &model, "--inputs", &model, "-o", "y.npz"], &["linear.onnx"]);
    let good = folder.npz("good.npz", &[("x", Tensor::from_slice(vec![1, 4], &[0f32; 4]).unwrap())]);
    let nowhere = folder.path("no/such/y.npz");
    let nowhere = nowhere.to_str().unwrap();
    refuses("run into no folder", &["run", &model, "--inputs", &good, "-o", nowhere], &["no such folder"]);
    let eval = ["eval", &model, "--data", &good, "--save", nowhere];
    refuses("eval into no folder", &eval, &["no such folder"]);
    assert!(!Path::new("y.npz").exists());
    // A model in memory that cannot be encoded would never get here; a valid one round-trips.
    let read = secateurs_onnx::Model::read(Path::new(&model)).unwrap();
    assert!(encode(&read).is_ok());
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_are_refused_by_name_where_a_run_keeps_them() {
    use std::os::unix::ffi::OsStrExt;

    let folder = Folder::new();
    let model = folder.model("model.onnx", |_| {});
    let data = folder.path("").join(std::ffi::OsStr::from_bytes(b"tr\xffain.npz"));
    std::fs::write(&data, "").unwrap();
    let output = std::process::Command::new(SECATEURS)
        .arg("tune")
        .arg(&model)
        .arg("--data")
        .arg(&data)
        .arg("-o")
        .arg(folder.path("run"))
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("ain.npz: the name is no UTF-8"), "{message}");
}
