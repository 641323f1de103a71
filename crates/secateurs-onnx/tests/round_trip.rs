//! What is read is written: message for message, in place or with external data.

mod common;

use std::{fs, path::Path};

use common::{everything, external, with_initializers};
use prost::Message;
use secateurs_onnx::{
    ExternalData, Model, Site, Tensor, WriteOptions, encode, for_each_graph, for_each_node, for_each_tensor,
    for_each_tensor_mut, proto::TensorProto, tensor_to_proto, write,
};
use tempfile::tempdir;

fn options(external_data: ExternalData) -> WriteOptions {
    WriteOptions { external_data, ..Default::default() }
}

const ALWAYS: ExternalData = ExternalData::Always { threshold_bytes: 0 };

/// Equal values of every tensor, wherever their data is.
fn assert_same_tensors(a: &Model, b: &Model) {
    let tensors = |model: &Model| {
        let mut tensors = Vec::new();
        for_each_tensor(&model.proto, |_, proto| {
            tensors.push((proto.name().to_owned(), model.tensor(proto).expect("checked")));
        });
        tensors
    };
    assert_eq!(tensors(a), tensors(b));
}

/// The message without what external data changes.
fn without_data(model: &Model) -> Vec<u8> {
    let mut proto = model.proto.clone();
    for_each_tensor_mut(&mut proto, |_, tensor| {
        let TensorProto { name, dims, data_type, doc_string, metadata_props, .. } = std::mem::take(tensor);
        *tensor = TensorProto { name, dims, data_type, doc_string, metadata_props, ..Default::default() };
    });
    proto.encode_to_vec()
}

#[test]
fn every_field_survives() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let original = everything();
    fs::write(&path, original.encode_to_vec()).unwrap();
    let model = Model::read(&path).unwrap();
    assert_eq!(model.proto, original);
    let copy = folder.path().join("copy.onnx");
    write(&model, &copy, &WriteOptions::default()).unwrap();
    assert_eq!(fs::read(&copy).unwrap(), fs::read(&path).unwrap());
    assert_eq!(encode(&model).unwrap(), fs::read(&path).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
}

#[test]
fn data_survives_moving_outside_and_back() {
    let folder = tempdir().unwrap();
    let original = Model::from_proto(everything(), None).unwrap();
    let path = folder.path().join("m.onnx");
    write(&original, &path, &options(ALWAYS)).unwrap();
    let outside = Model::read(&path).unwrap();
    assert_same_tensors(&original, &outside);
    assert_eq!(without_data(&original), without_data(&outside));
    for initializer in &outside.graph().initializer {
        let is_string = initializer.data_type() == 8;
        assert_eq!(initializer.data_location.is_some(), !is_string, "{}", initializer.name());
    }

    let back = folder.path().join("back.onnx");
    write(&outside, &back, &options(ExternalData::Inline)).unwrap();
    assert!(!folder.path().join("back.onnx.data").exists());
    let inside = Model::read(&back).unwrap();
    assert_same_tensors(&original, &inside);
    assert_eq!(without_data(&original), without_data(&inside));
    // What a runtime gets from memory needs no other file.
    assert_same_tensors(&original, &Model::from_bytes(encode(&outside).unwrap(), None).unwrap());
}

#[test]
fn external_data_stays_external_by_default_even_when_changed() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("w.bin"), [0; 16]).unwrap();
    let inline = tensor_to_proto("inline", &Tensor::from_slice(vec![2], &[1.0f32, 2.0]).unwrap());
    let place = [("location", "w.bin"), ("offset", "4"), ("length", "8"), ("checksum", "x")];
    let proto = with_initializers(vec![
        external("w", &[2], &place),
        external("v", &[1], &[("location", "w.bin")]),
        inline,
    ]);
    let mut model = Model::from_proto(proto, Some(folder.path())).unwrap();
    let changed = Tensor::from_slice(vec![3], &[1.0f32, 2.0, 3.0]).unwrap();
    model.graph_mut().initializer[0] = tensor_to_proto("w", &changed);

    let path = folder.path().join("out.onnx");
    write(&model, &path, &WriteOptions::default()).unwrap();
    let read = Model::read(&path).unwrap();
    assert_same_tensors(&model, &read);
    let locations: Vec<_> =
        read.graph().initializer.iter().map(|t| t.external_data.first().map(|e| e.value())).collect();
    assert_eq!(locations, [Some("out.onnx.data"), Some("out.onnx.data"), None]);
}

#[test]
fn a_model_can_be_written_over_its_own_files() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let weights: Vec<f32> = (0..10_000).map(|i| i as f32).collect();
    let tensor = Tensor::from_slice(vec![100, 100], &weights).unwrap();
    let model = Model::from_proto(with_initializers(vec![tensor_to_proto("w", &tensor)]), None).unwrap();
    write(&model, &path, &options(ALWAYS)).unwrap();
    for round in 0..3 {
        let model = Model::read(&path).unwrap();
        write(&model, &path, &WriteOptions::default()).unwrap();
        // The map of the replaced file is still good.
        assert_eq!(model.tensor(&model.graph().initializer[0]).unwrap(), tensor);
        let again = Model::read(&path).unwrap();
        assert_eq!(again.tensor(&again.graph().initializer[0]).unwrap(), tensor);
        let data = if round % 2 == 0 { "m.onnx.1.data" } else { "m.onnx.data" };
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names.len(), 2, "the replaced data is gone: {names:?}");
        assert!(names.iter().any(|name| name == data), "{names:?}");
    }
}

#[test]
fn data_of_others_is_never_overwritten_or_removed() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    fs::write(folder.path().join("m.onnx.data"), b"mine").unwrap();
    let tensor = tensor_to_proto("w", &Tensor::scalar(1.0f32));
    let model = Model::from_proto(with_initializers(vec![tensor]), None).unwrap();
    for _ in 0..2 {
        write(&model, &path, &options(ALWAYS)).unwrap();
        assert_eq!(fs::read(folder.path().join("m.onnx.data")).unwrap(), b"mine");
    }
    assert_same_tensors(&model, &Model::read(&path).unwrap());
}

#[test]
fn large_tensors_are_aligned() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let tensors = [3usize, 1 << 20, 5, (1 << 20) + 1].map(|len| {
        let tensor = Tensor::new(secateurs_onnx::ElementType::Uint8, vec![len], vec![7; len].into()).unwrap();
        tensor_to_proto(&format!("w{len}"), &tensor)
    });
    let model = Model::from_proto(with_initializers(tensors.to_vec()), None).unwrap();
    for alignment in [0, 4096, 65536] {
        let options = WriteOptions { external_data: ALWAYS, alignment };
        write(&model, &path, &options).unwrap();
        let read = Model::read(&path).unwrap();
        assert_same_tensors(&model, &read);
        for proto in &read.graph().initializer {
            let offset: u64 = proto.external_data[1].value().parse().unwrap();
            let large = proto.dims[0] >= 1 << 20;
            assert_eq!(offset % if large { alignment.max(1) } else { 64 }, 0);
        }
    }
}

/// Protobuf's limit. Run with `cargo test -- --ignored`.
#[test]
#[ignore = "writes 2 GB"]
fn weights_above_the_limit_go_outside_whatever_the_options_say() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let weights =
        Tensor::new(secateurs_onnx::ElementType::Uint8, vec![2_000_000_000], vec![0; 2_000_000_000].into());
    let small = tensor_to_proto("small", &Tensor::scalar(1.0f32));
    let proto = with_initializers(vec![tensor_to_proto("w", &weights.unwrap()), small]);
    let model = Model::from_proto(proto, None).unwrap();
    write(&model, &path, &options(ExternalData::Inline)).unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 1000);
    let read = Model::read(&path).unwrap();
    let external: Vec<_> = read.graph().initializer.iter().map(|t| t.data_location == Some(1)).collect();
    assert_eq!(external, [true, false]);
    // And it stays so for a copy, whatever it asks for.
    write(&read, &folder.path().join("copy.onnx"), &options(ExternalData::Inline)).unwrap();
    assert!(fs::metadata(folder.path().join("copy.onnx")).unwrap().len() < 1000);
    // Between the two limits a message for a runtime in memory is still possible, above them not.
    assert_eq!(encode(&read).unwrap().len() / 1_000_000, 2000);
    let mut larger = read.clone();
    larger.graph_mut().initializer.extend(read.graph().initializer.clone());
    let error = encode(&larger).unwrap_err().to_string();
    assert!(error.contains("limited to 2147483647"), "{error}");
}

#[test]
fn a_failed_write_leaves_the_old_file_and_no_other() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    fs::write(&path, b"old").unwrap();
    let mut model = Model::from_proto(with_initializers(vec![]), None).unwrap();
    model.graph_mut().initializer.push(TensorProto { data_type: Some(99), ..Default::default() });
    let error = write(&model, &path, &options(ALWAYS)).unwrap_err().to_string();
    assert!(error.contains("element type number 99"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    for (path, expected) in
        [(folder.path().to_owned(), "is a folder"), (folder.path().join("no/m.onnx"), "no such folder")]
    {
        let error = write(&model, &path, &WriteOptions::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn walking_reaches_subgraphs_functions_and_training() {
    let mut proto = everything();
    let mut graphs = Vec::new();
    for_each_graph(&proto, |graph| graphs.push(graph.name()));
    // The second branch is in the function.
    assert_eq!(graphs, ["main", "branch", "step", "branch"]);
    let mut nodes = 0;
    for_each_node(&proto, |_| nodes += 1);
    assert_eq!(nodes, 2);
    let mut shared = Vec::new();
    for_each_tensor(&proto, |site, tensor| shared.push((format!("{site:?}"), tensor.name().to_owned())));
    assert!(shared.iter().any(|(_, name)| name == "inner") && shared.iter().any(|(_, name)| name == "rate"));
    assert!(shared.iter().any(|(site, _)| site.contains("beta")));
    let mut mutable = Vec::new();
    for_each_tensor_mut(&mut proto, |site: Site<'_>, tensor| {
        mutable.push((format!("{site:?}"), tensor.name().to_owned()))
    });
    assert_eq!(shared, mutable);
}

/// Every model of `shared/models` and `data/zoo` that this machine has, and of the folders in `SECATEURS_MODELS`.
#[test]
fn real_models_survive() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut folders: Vec<_> =
        ["../shared/models", "shared/models", "data/zoo", "../data/zoo"].map(|name| root.join(name)).into();
    folders.extend(std::env::var_os("SECATEURS_MODELS").iter().flat_map(std::env::split_paths));
    let files = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let files: Vec<_> =
        files.map(|e| e.path()).filter(|path| path.extension().is_some_and(|e| e == "onnx")).collect();
    if files.is_empty() {
        eprintln!("skipped: no models in {folders:?}");
    }
    let folder = tempdir().unwrap();
    for file in files {
        let model = Model::read(&file).unwrap();
        let copy = folder.path().join("copy.onnx");
        write(&model, &copy, &WriteOptions::default()).unwrap();
        let read = Model::read(&copy).unwrap();
        assert_same_tensors(&model, &read);
        assert_eq!(without_data(&model), without_data(&read), "{}", file.display());
        let mut any_external = false;
        for_each_tensor(&model.proto, |_, tensor| any_external |= tensor.data_location == Some(1));
        if !any_external {
            // Bytes, because NaN attributes do not equal themselves. And as many as in the source: nothing that
            // the schema does not know was dropped.
            assert!(model.proto.encode_to_vec() == read.proto.encode_to_vec(), "{}", file.display());
            assert_eq!(
                fs::metadata(&file).unwrap().len(),
                fs::metadata(&copy).unwrap().len(),
                "{}",
                file.display()
            );
        }
        write(&model, &copy, &options(ExternalData::Always { threshold_bytes: 1024 })).unwrap();
        assert_same_tensors(&model, &Model::read(&copy).unwrap());
        eprintln!("{}: {} nodes", file.display(), model.graph().node.len());
    }
}
