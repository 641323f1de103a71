//! Tensors: every way that ONNX stores them, and where their bytes are.

mod common;

use std::fs;

use common::{every_element_type, external, with_initializers};
use prost::Message;
use secateurs_onnx::{
    Bytes, ElementType, Model, Tensor, TensorError,
    half::{bf16, f16},
    proto::{SparseTensorProto, TensorProto},
    tensor_to_proto,
};
use tempfile::tempdir;

fn read(tensor: TensorProto) -> Tensor {
    let model = Model::from_proto(with_initializers(vec![tensor]), None).unwrap();
    model.tensor(&model.graph().initializer[0]).unwrap()
}

fn typed(data_type: i32, dims: &[i64]) -> TensorProto {
    TensorProto { data_type: Some(data_type), dims: dims.to_vec(), ..Default::default() }
}

#[test]
fn every_type_survives_the_message() {
    for tensor in every_element_type() {
        assert_eq!(read(tensor_to_proto("t", &tensor)), tensor, "{}", tensor.element_type());
    }
}

/// The typed fields, whose conventions the comments of `onnx-ml.proto` state.
#[test]
fn typed_fields_are_read_as_the_schema_says() {
    let ints = |data_type, dims: &[i64], entries: &[i32]| {
        read(TensorProto { int32_data: entries.to_vec(), ..typed(data_type, dims) })
    };
    let f64s = |tensor: Tensor| tensor.to_f64_vec().unwrap();
    assert_eq!(f64s(read(TensorProto { float_data: vec![1.5, -2.0], ..typed(1, &[2]) })), [1.5, -2.0]);
    assert_eq!(f64s(read(TensorProto { double_data: vec![0.1], ..typed(11, &[]) })), [0.1]);
    assert_eq!(
        f64s(read(TensorProto { uint64_data: vec![7, 1 << 31], ..typed(12, &[2]) })),
        [7.0, 2147483648.0]
    );
    assert_eq!(read(TensorProto { int64_data: vec![-1], ..typed(7, &[1]) }).to_i64_vec(), Ok(vec![-1]));
    assert_eq!(f64s(ints(10, &[3], &[0x3C00, 0xC000, -16384])), [1.0, -2.0, -2.0]);
    assert_eq!(f64s(ints(16, &[2], &[0x3F80, 0xC000])), [1.0, -2.0]);
    assert_eq!(ints(3, &[3], &[-128, -1, 127]).to_vec::<i8>(), Ok(vec![-128, -1, 127]));
    assert_eq!(ints(2, &[2], &[0, 255]).to_vec::<u8>(), Ok(vec![0, 255]));
    assert_eq!(ints(5, &[2], &[-32768, 5]).to_vec::<i16>(), Ok(vec![-32768, 5]));
    assert_eq!(ints(4, &[1], &[65535]).to_vec::<u16>(), Ok(vec![65535]));
    assert_eq!(ints(6, &[1], &[i32::MIN]).to_vec::<i32>(), Ok(vec![i32::MIN]));
    assert_eq!(ints(9, &[3], &[0, 1, 5]).to_vec::<bool>(), Ok(vec![false, true, true]));
    // Two 4-bit elements in an entry, the first in the low bits; the last entry half empty.
    assert_eq!(ints(22, &[3], &[0x8F, 0x07]).to_i64_vec(), Ok(vec![-1, -8, 7]));
    assert_eq!(ints(21, &[3], &[0x8F, 0x07]).to_i64_vec(), Ok(vec![15, 8, 7]));
    assert_eq!(f64s(ints(23, &[2], &[0x97])), [6.0, -0.5]);
    assert_eq!(ints(26, &[5], &[0b11_10_01_00, 0b01]).to_i64_vec(), Ok(vec![0, 1, -2, -1, 1]));
    assert_eq!(ints(25, &[4], &[0b11_10_01_00]).to_i64_vec(), Ok(vec![0, 1, 2, 3]));
    // One 6-bit element in an entry.
    assert_eq!(f64s(ints(27, &[3], &[0x1F, 0x08, 0x21])), [7.5, 1.0, -0.125]);
    assert_eq!(f64s(ints(17, &[2], &[0x38, 0xB8])), [1.0, -1.0]);
    let complex = read(TensorProto { float_data: vec![1.0, 2.0], ..typed(14, &[1]) });
    assert_eq!(complex.bytes()[..], [0, 0, 0x80, 0x3F, 0, 0, 0, 0x40]);
    let strings = read(TensorProto { string_data: vec![Bytes::from("a"), Bytes::new()], ..typed(8, &[2]) });
    assert_eq!(strings.strings().unwrap(), [Bytes::from("a"), Bytes::new()]);
}

#[test]
fn values_convert_and_wrong_types_are_refused() {
    let halves = Tensor::from_slice(vec![2], &[f16::from_f32(0.5), f16::NEG_INFINITY]).unwrap();
    assert_eq!(halves.to_f64_vec(), Ok(vec![0.5, f64::NEG_INFINITY]));
    assert_eq!(Tensor::scalar(bf16::from_f32(3.0)).to_f64_vec(), Ok(vec![3.0]));
    assert_eq!(Tensor::scalar(true).to_i64_vec(), Ok(vec![1]));
    assert_eq!(Tensor::scalar(u64::MAX).to_f64_vec(), Ok(vec![u64::MAX as f64]));
    assert!(matches!(Tensor::scalar(u64::MAX).to_i64_vec(), Err(TensorError::OutOfRange { .. })));
    assert!(matches!(Tensor::scalar(1.0f32).to_i64_vec(), Err(TensorError::WrongType { .. })));
    assert!(matches!(Tensor::scalar(1.0f32).to_vec::<f64>(), Err(TensorError::WrongType { .. })));
    let strings = Tensor::from_strings(vec![1], [Bytes::from("a")]).unwrap();
    assert!(strings.to_f64_vec().is_err() && strings.to_vec::<u8>().is_err() && strings.bytes().is_empty());

    assert!(Tensor::from_slice(vec![2, 2], &[1i32, 2, 3]).is_err());
    assert!(Tensor::new(ElementType::Float32, vec![usize::MAX, 2], Bytes::new()).is_err());
    let empty = Tensor::from_slice::<f32>(vec![0, usize::MAX, 3], &[]).unwrap();
    assert_eq!((empty.is_empty(), empty.len(), empty.to_f64_vec()), (true, 0, Ok(vec![])));
    assert_eq!(halves.reshaped(vec![2, 1]).unwrap().shape(), [2, 1]);
    assert!(halves.reshaped(vec![3]).is_err());
}

#[test]
fn unaligned_data_is_read() {
    let shared = Bytes::from([&[0xAA][..], &1.5f64.to_le_bytes(), &2.5f64.to_le_bytes()].concat());
    for (start, expected) in [(1, vec![1.5]), (9, vec![2.5])] {
        let tensor = Tensor::new(ElementType::Float64, vec![1], shared.slice(start..start + 8)).unwrap();
        assert_eq!(tensor.to_vec(), Ok(expected));
    }
}

#[test]
fn sparse_tensors_become_dense() {
    let model = Model::from_proto(with_initializers(vec![]), None).unwrap();
    let values = TensorProto { float_data: vec![5.0, 6.0], ..typed(1, &[2]) };
    let dense = |dims: &[i64], index_dims: &[i64], indices: &[i64]| {
        let indices = TensorProto { int64_data: indices.to_vec(), ..typed(7, index_dims) };
        let sparse =
            SparseTensorProto { values: Some(values.clone()), indices: Some(indices), dims: dims.to_vec() };
        model.sparse_tensor(&sparse).unwrap()
    };
    let expected = Tensor::from_slice(vec![2, 3], &[0.0f32, 5.0, 0.0, 0.0, 0.0, 6.0]).unwrap();
    assert_eq!(dense(&[2, 3], &[2], &[1, 5]), expected);
    assert_eq!(dense(&[2, 3], &[2, 2], &[0, 1, 1, 2]), expected);
    assert_eq!(dense(&[3], &[2, 1], &[0, 2]).to_vec(), Ok(vec![5.0f32, 0.0, 6.0]));
}

/// The file whose memory map contains this address.
#[cfg(target_os = "linux")]
fn mapped_file(address: *const u8) -> Option<String> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        (number(start)?..number(end)?).contains(&(address as usize)).then(|| rest.to_owned())
    })
}

#[cfg(target_os = "linux")]
#[test]
fn weights_stay_in_the_map_of_their_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("large.onnx");
    let weights = Tensor::new(ElementType::Float32, vec![25_000_000], vec![1; 100_000_000].into()).unwrap();
    fs::write(folder.path().join("external.bin"), vec![2; 4096]).unwrap();
    let initializers = vec![
        tensor_to_proto("inside", &weights),
        external("outside", &[1024], &[("location", "external.bin")]),
    ];
    fs::write(&path, with_initializers(initializers).encode_to_vec()).unwrap();
    drop(weights);

    let model = Model::read(&path).unwrap();
    let [inside, outside] = &model.graph().initializer[..] else { panic!("there are two") };
    for (proto, file) in [(inside, "large.onnx"), (outside, "external.bin")] {
        let tensor = model.tensor(proto).unwrap();
        let mapped = mapped_file(tensor.bytes().as_ptr()).unwrap_or_default();
        assert!(mapped.ends_with(file), "{} is in `{mapped}`", proto.name());
    }
    // The tensors keep the map.
    let tensor = model.tensor(inside).unwrap();
    drop(model);
    assert_eq!(tensor.bytes().last(), Some(&1));
}
