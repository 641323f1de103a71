//! External data above 2 GB, which no protobuf message holds: offsets and lengths beyond 32 bits. The files are sparse, so that they take
//! no place.

mod common;

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use common::{external, with_initializers};
use prost::Message;
use secateurs_onnx::{Model, Tensor, WriteOptions, write};
use tempfile::tempdir;

/// Floats of the large tensor: 2 GiB and a bit.
const LARGE: i64 = (1 << 29) + 16;
/// Where the tensor behind it lies, beyond 4 GiB.
const BEHIND: u64 = (4 << 30) + 4096;

/// A model of a large tensor, whose last number is 7, and a small one behind it.
fn large(folder: &Path) -> std::path::PathBuf {
    let mut data = File::create(folder.join("w.bin")).unwrap();
    data.seek(SeekFrom::Start(LARGE as u64 * 4 - 4)).unwrap();
    data.write_all(&7f32.to_le_bytes()).unwrap();
    data.seek(SeekFrom::Start(BEHIND)).unwrap();
    [1f32, 2.0].iter().for_each(|value| data.write_all(&value.to_le_bytes()).unwrap());
    let length = (LARGE * 4).to_string();
    let w = external("w", &[LARGE], &[("location", "w.bin"), ("offset", "0"), ("length", &length)]);
    let offset = BEHIND.to_string();
    let v = external("v", &[2], &[("location", "w.bin"), ("offset", &offset), ("length", "8")]);
    let path = folder.join("m.onnx");
    fs::write(&path, with_initializers(vec![w, v]).encode_to_vec()).unwrap();
    path
}

fn tensors(path: &Path) -> [Tensor; 2] {
    let model = Model::read(path).unwrap();
    [0, 1].map(|i| model.tensor(&model.graph().initializer[i]).unwrap())
}

fn check([w, v]: &[Tensor; 2]) {
    assert_eq!(w.shape(), [LARGE as usize]);
    assert_eq!(w.bytes()[w.bytes().len() - 4..], 7f32.to_le_bytes());
    assert_eq!(w.bytes()[..4], [0; 4]);
    assert_eq!(v.to_vec::<f32>().unwrap(), [1.0, 2.0]);
}

#[test]
fn tensors_beyond_two_and_four_gigabytes_are_read_in_place() {
    let folder = tempdir().unwrap();
    let path = large(folder.path());
    check(&tensors(&path));
    // One byte more than there is.
    let offset = (BEHIND + 1).to_string();
    let v = external("v", &[2], &[("location", "w.bin"), ("offset", &offset), ("length", "8")]);
    fs::write(&path, with_initializers(vec![v]).encode_to_vec()).unwrap();
    let error = Model::read(&path).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("are asked for, and the file has"), "{error}");
}

#[test]
#[ignore = "writes 2 GB"]
fn a_model_above_two_gigabytes_is_written_with_external_data_and_comes_back() {
    let folder = tempdir().unwrap();
    let model = Model::read(&large(folder.path())).unwrap();
    let copy = tempdir().unwrap();
    let path = copy.path().join("copy.onnx");
    write(&model, &path, &WriteOptions::default()).unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 10_000, "the weights are not in the message");
    check(&tensors(&path));
}
