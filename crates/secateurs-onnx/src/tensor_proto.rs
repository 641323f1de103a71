//! Between ONNX's `TensorProto` and [`Tensor`].

use bytes::Bytes;

use crate::{
    ElementType, Tensor, TensorError,
    minifloat::pack,
    proto::{TensorProto, tensor_proto::DataLocation},
    tensor::{Data, byte_len, elements},
};

/// The message for a tensor, with its data in `raw_data`, or in `string_data` for strings.
pub fn tensor_to_proto(name: &str, tensor: &Tensor) -> TensorProto {
    let mut proto = TensorProto {
        name: Some(name.to_owned()),
        dims: tensor.shape().iter().map(|&dim| dim as i64).collect(),
        data_type: Some(tensor.element_type().to_onnx()),
        ..Default::default()
    };
    match tensor.data() {
        Data::Numeric(bytes) => proto.raw_data = Some(bytes.clone()),
        Data::Strings(strings) => proto.string_data = strings.to_vec(),
    }
    proto
}

/// The element type and shape of a tensor, checked.
pub(crate) fn type_and_shape(proto: &TensorProto) -> Result<(ElementType, Vec<usize>), TensorError> {
    if proto.segment.is_some() {
        return Err(TensorError::Segment);
    }
    let number = proto.data_type();
    let element_type = ElementType::from_onnx(number).ok_or(TensorError::UnknownType(number))?;
    Ok((element_type, shape(&proto.dims)?))
}

/// Dims as a shape: none negative, and their product and its bytes can be addressed.
pub(crate) fn shape(dims: &[i64]) -> Result<Vec<usize>, TensorError> {
    if dims.iter().any(|&dim| dim < 0) {
        return Err(TensorError::NegativeDim(dims.to_vec()));
    }
    let shape: Result<Vec<usize>, _> = dims.iter().map(|&dim| usize::try_from(dim)).collect();
    let shape = shape.map_err(|_| TensorError::ShapeOverflow(dims.to_vec()))?;
    elements(&shape)?;
    Ok(shape)
}

/// Whether the data is in another file.
pub(crate) fn is_external(proto: &TensorProto) -> Result<bool, TensorError> {
    let number = proto.data_location.unwrap_or_default();
    match DataLocation::try_from(number) {
        Ok(location) => Ok(location == DataLocation::External),
        Err(_) => Err(TensorError::UnknownLocation(number)),
    }
}

/// The tensor whose data is in this message. `raw_data` is shared, typed fields are copied.
pub(crate) fn from_inline(proto: &TensorProto) -> Result<Tensor, TensorError> {
    let (element_type, shape) = type_and_shape(proto)?;
    if element_type == ElementType::String {
        if proto.raw_data.is_some() {
            return Err(TensorError::RawStrings);
        }
        return Tensor::from_strings(shape, proto.string_data.as_slice());
    }
    match &proto.raw_data {
        // Some writers set an empty `raw_data` beside a typed field.
        Some(raw) if !raw.is_empty() => Tensor::new(element_type, shape, raw.clone()),
        _ => {
            let bytes = from_typed_field(proto, element_type, &shape)?;
            Tensor::new(element_type, shape, bytes)
        }
    }
}

/// The packed bytes of a numeric tensor from the typed field that holds its element type.
fn from_typed_field(
    proto: &TensorProto,
    element_type: ElementType,
    shape: &[usize],
) -> Result<Bytes, TensorError> {
    use ElementType::*;
    let count = elements(shape)?;
    let field =
        |field, entries_per_element: usize| Field { element_type, shape, field, count, entries_per_element };
    match element_type {
        Float32 => field("float_data", 1).copy(&proto.float_data, |v| v.to_le_bytes()),
        Complex64 => field("float_data", 2).copy(&proto.float_data, |v| v.to_le_bytes()),
        Float64 => field("double_data", 1).copy(&proto.double_data, |v| v.to_le_bytes()),
        Complex128 => field("double_data", 2).copy(&proto.double_data, |v| v.to_le_bytes()),
        Int64 => field("int64_data", 1).copy(&proto.int64_data, |v| v.to_le_bytes()),
        Uint64 => field("uint64_data", 1).copy(&proto.uint64_data, |v| v.to_le_bytes()),
        Uint32 => {
            let field = field("uint64_data", 1);
            field.in_range(&proto.uint64_data, 0..=u32::MAX.into())?;
            field.copy(&proto.uint64_data, |v| (v as u32).to_le_bytes())
        }
        Int32 => field("int32_data", 1).copy(&proto.int32_data, |v| v.to_le_bytes()),
        // Bit patterns (float16, bfloat16) and values (int16, uint16) alike: the lower half of the entry.
        // A signed reading of a bit pattern is accepted, as some writers sign-extend.
        Float16 | Bfloat16 | Int16 | Uint16 => {
            let field = field("int32_data", 1);
            field.in_range(&proto.int32_data, i16::MIN.into()..=u16::MAX.into())?;
            field.copy(&proto.int32_data, |v| (v as u16).to_le_bytes())
        }
        Bool => field("int32_data", 1).copy(&proto.int32_data, |v| [u8::from(v != 0)]),
        Int8 | Uint8 | Float8E4M3Fn | Float8E4M3FnUz | Float8E5M2 | Float8E5M2FnUz | Float8E8M0 => {
            let field = field("int32_data", 1);
            field.in_range(&proto.int32_data, i8::MIN.into()..=u8::MAX.into())?;
            field.copy(&proto.int32_data, |v| [v as u8])
        }
        // Each entry is one byte of the packed stream.
        Int4 | Uint4 | Float4E2M1 | Int2 | Uint2 => {
            let bytes = byte_len(element_type, shape)?;
            let field = Field { count: bytes, ..field("int32_data", 1) };
            field.in_range(&proto.int32_data, i8::MIN.into()..=u8::MAX.into())?;
            field.copy(&proto.int32_data, |v| [v as u8])
        }
        // Each entry is one element, unlike the narrower types.
        Float6E2M3 | Float6E3M2 => {
            let field = field("int32_data", 1);
            field.in_range(&proto.int32_data, 0..=0x3F)?;
            field.check_count(proto.int32_data.len())?;
            Ok(pack(proto.int32_data.iter().map(|&v| v as u8), 6).into())
        }
        String => Err(TensorError::RawStrings),
    }
}

/// A typed field, and what its tensor expects of it.
struct Field<'a> {
    element_type: ElementType,
    shape: &'a [usize],
    field: &'static str,
    count: usize,
    entries_per_element: usize,
}

impl Field<'_> {
    fn check_count(&self, found: usize) -> Result<(), TensorError> {
        // An overflow cannot equal the length of a slice.
        let expected = self.count.saturating_mul(self.entries_per_element);
        if found == expected {
            return Ok(());
        }
        let (element_type, shape) = (self.element_type, self.shape.to_vec());
        if found == 0 {
            // Perhaps it never had this field: the weights were stripped, or `raw_data` is meant.
            let expected = byte_len(element_type, &shape)?;
            return Err(TensorError::WrongByteCount { element_type, shape, expected, found });
        }
        Err(TensorError::WrongEntryCount { element_type, shape, field: self.field, expected, found })
    }

    fn copy<T: Copy, const N: usize>(
        &self,
        entries: &[T],
        to_le: fn(T) -> [u8; N],
    ) -> Result<Bytes, TensorError> {
        self.check_count(entries.len())?;
        let mut bytes = Vec::with_capacity(entries.len() * N);
        entries.iter().for_each(|&entry| bytes.extend_from_slice(&to_le(entry)));
        Ok(bytes.into())
    }

    fn in_range<T>(&self, entries: &[T], range: std::ops::RangeInclusive<T>) -> Result<(), TensorError>
    where
        T: Copy + PartialOrd + Into<i128>,
    {
        match entries.iter().position(|entry| !range.contains(entry)) {
            None => Ok(()),
            Some(index) => Err(TensorError::OutOfRange {
                element_type: self.element_type,
                field: self.field,
                index,
                value: entries[index].into(),
            }),
        }
    }
}
