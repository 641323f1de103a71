//! One array in NumPy's format (versions 1 to 3, `numpy.lib.format`), little and big endian, C and Fortran order.

use bytes::Bytes;
use secateurs_onnx::{ElementType, Tensor};

const MAGIC: &[u8] = b"\x93NUMPY";
/// NumPy's own limit for headers that it reads without being told to trust them is 10,000 characters.
const MAX_HEADER: usize = 65_536;

/// What the header of an array says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub element_type: ElementType,
    pub big_endian: bool,
    pub fortran_order: bool,
    pub shape: Vec<usize>,
    /// Where the data begin.
    pub data_start: usize,
    /// How many bytes of data the shape asks for.
    pub data_len: usize,
}

/// NumPy's codes of the element types that it shares with ONNX.
const CODES: [(&str, ElementType); 12] = [
    ("b1", ElementType::Bool),
    ("i1", ElementType::Int8),
    ("u1", ElementType::Uint8),
    ("i2", ElementType::Int16),
    ("u2", ElementType::Uint16),
    ("i4", ElementType::Int32),
    ("u4", ElementType::Uint32),
    ("i8", ElementType::Int64),
    ("u8", ElementType::Uint64),
    ("f2", ElementType::Float16),
    ("f4", ElementType::Float32),
    ("f8", ElementType::Float64),
];

/// How many bytes from the start are needed to know the length of the header.
pub(super) const PREAMBLE: usize = 12;

/// Where the data begin, from the first [`PREAMBLE`] bytes.
pub(super) fn data_start(start: &[u8]) -> Result<usize, String> {
    if start.len() < PREAMBLE || !start.starts_with(MAGIC) {
        return Err("does not begin like a NumPy array".to_owned());
    }
    let (length, fixed) = match start[6] {
        1 => (usize::from(u16::from_le_bytes([start[8], start[9]])), 10),
        2 | 3 => (u32::from_le_bytes([start[8], start[9], start[10], start[11]]) as usize, 12),
        version => return Err(format!("has version {version} of NumPy's format; 1 to 3 are known")),
    };
    if length > MAX_HEADER {
        return Err(format!("has a header of {length} bytes; more than {MAX_HEADER} are not read"));
    }
    Ok(fixed + length)
}

/// Reads the header from bytes that hold at least all of it.
pub(super) fn header(bytes: &[u8]) -> Result<Header, String> {
    let data_start = data_start(bytes)?;
    let fixed = if bytes[6] == 1 { 10 } else { 12 };
    let text = bytes.get(fixed..data_start).ok_or("ends within its header")?;
    let text = std::str::from_utf8(text).map_err(|_| "has a header that is not text")?;
    let descr = value(text, "descr")?;
    let code = descr
        .strip_prefix(['\'', '"'])
        .and_then(|d| d.split(['\'', '"']).next())
        .ok_or("is a structured array; save its fields one by one")?;
    let (big_endian, code) = match code.split_at_checked(1) {
        Some((">", code)) => (true, code),
        Some(("<" | "|" | "=", code)) => (false, code),
        _ => (false, code),
    };
    let element_type = CODES.iter().find(|(c, _)| *c == code).map(|(_, t)| *t).ok_or_else(|| {
        format!("has elements of NumPy type '{code}'; only booleans, integers and floats of up to 64 bits are read")
    })?;
    let fortran_order = match value(text, "fortran_order")? {
        v if v.starts_with("True") => true,
        v if v.starts_with("False") => false,
        _ => return Err("has a header without fortran_order".to_owned()),
    };
    let shape = value(text, "shape")?
        .strip_prefix('(')
        .and_then(|s| s.split_once(')'))
        .ok_or("has a header without a shape")?
        .0
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty())
        .map(|size| {
            size.trim_end_matches('L').parse().map_err(|_| format!("has a header with the size '{size}'"))
        })
        .collect::<Result<Vec<usize>, String>>()?;
    let data_len = shape
        .iter()
        .try_fold(item_size(element_type), |product, size| product.checked_mul(*size))
        .filter(|length| isize::try_from(*length).is_ok())
        .ok_or_else(|| format!("has the shape {shape:?}, which no memory can hold"))?;
    Ok(Header { element_type, big_endian, fortran_order, shape, data_start, data_len })
}

/// The text after `'key':` in a header, which is a Python dictionary.
fn value<'a>(header: &'a str, key: &str) -> Result<&'a str, String> {
    let missing = || format!("has a header without {key}");
    let after = [format!("'{key}'"), format!("\"{key}\"")]
        .iter()
        .find_map(|quoted| header.split_once(quoted.as_str()))
        .ok_or_else(missing)?
        .1;
    Ok(after.trim_start().strip_prefix(':').ok_or_else(missing)?.trim_start())
}

/// Makes a tensor of a header and exactly the bytes that it asks for.
pub(super) fn tensor(header: Header, data: Vec<u8>) -> Result<Tensor, String> {
    let size = item_size(header.element_type);
    let mut data = data;
    if header.big_endian {
        data.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    if header.element_type == ElementType::Bool {
        data.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
    }
    if header.fortran_order && header.shape.len() > 1 {
        data = to_c_order(&data, &header.shape, size);
    }
    Tensor::new(header.element_type, header.shape, Bytes::from(data)).map_err(|e| e.to_string())
}

/// Reorders elements of `size` bytes from Fortran order (first axis fastest) into C order.
fn to_c_order(data: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = size;
    for axis in shape {
        strides.push(stride);
        stride *= axis;
    }
    let mut ordered = Vec::with_capacity(data.len());
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    while ordered.len() < data.len() {
        ordered.extend_from_slice(&data[at..at + size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    ordered
}

/// The header of a tensor, to be followed by its bytes: version 1, C order, padded to a multiple of 64 bytes.
pub(super) fn write_header(tensor: &Tensor) -> Result<Vec<u8>, String> {
    let element_type = tensor.element_type();
    let code = CODES.iter().find(|(_, t)| *t == element_type).map(|(code, _)| *code).ok_or_else(|| {
        format!("has elements of type {element_type}, which NumPy lacks; cast it in the model")
    })?;
    let order = if item_size(element_type) == 1 { '|' } else { '<' };
    let mut shape: String = tensor.shape().iter().map(|size| format!("{size}, ")).collect();
    if tensor.shape().len() > 1 {
        shape.truncate(shape.len() - 2);
    } else {
        shape.truncate(shape.trim_end().len());
    }
    let mut text = format!("{{'descr': '{order}{code}', 'fortran_order': False, 'shape': ({shape}), }}");
    let unpadded = MAGIC.len() + 4 + text.len() + 1;
    text.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(64) - unpadded));
    text.push('\n');
    let length = u16::try_from(text.len()).map_err(|_| "has too many axes".to_owned())?;
    let mut header = MAGIC.to_vec();
    header.extend([1, 0]);
    header.extend(length.to_le_bytes());
    header.extend(text.as_bytes());
    Ok(header)
}

/// The bytes of one element of a type that NumPy has.
fn item_size(element_type: ElementType) -> usize {
    match element_type {
        ElementType::Bool | ElementType::Int8 | ElementType::Uint8 => 1,
        ElementType::Int16 | ElementType::Uint16 | ElementType::Float16 => 2,
        ElementType::Int32 | ElementType::Uint32 | ElementType::Float32 => 4,
        _ => 8,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An array of NumPy's format with a header of our choosing.
    pub fn raw(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend((header.len() as u16).to_le_bytes()),
            _ => bytes.extend((header.len() as u32).to_le_bytes()),
        }
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    /// Reads an array from the whole of its bytes.
    fn parse(bytes: &[u8]) -> Result<Tensor, String> {
        let header = header(bytes)?;
        let data = &bytes[header.data_start..];
        if data.len() != header.data_len {
            return Err(format!(
                "is damaged: its shape {:?} needs {} bytes, {} are there",
                header.shape,
                header.data_len,
                data.len()
            ));
        }
        tensor(header, data.to_vec())
    }

    fn descr(code: &str, fortran: &str, shape: &str) -> String {
        format!("{{'descr': '{code}', 'fortran_order': {fortran}, 'shape': {shape}, }}  \n")
    }

    #[test]
    fn all_versions_are_read() {
        for version in 1..=3 {
            let data: Vec<u8> = [1.5_f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
            let tensor = parse(&raw(version, &descr("<f4", "False", "(2,)"), &data)).unwrap();
            assert_eq!(tensor.shape(), [2]);
            assert_eq!(tensor.to_f64_vec().unwrap(), [1.5, -2.0]);
        }
        assert!(parse(&raw(4, &descr("<f4", "False", "(0,)"), &[])).unwrap_err().contains("version 4"));
    }

    #[test]
    fn fortran_order_becomes_c_order() {
        // np.asfortranarray(np.arange(24).reshape(2, 3, 4)) in memory: axis 0 fastest.
        let mut data = Vec::new();
        for k in 0..4_u16 {
            for j in 0..3_u16 {
                for i in 0..2_u16 {
                    data.extend((i * 12 + j * 4 + k).to_le_bytes());
                }
            }
        }
        let tensor = parse(&raw(1, &descr("<u2", "True", "(2, 3, 4)"), &data)).unwrap();
        assert_eq!(tensor.to_i64_vec().unwrap(), (0..24).collect::<Vec<i64>>());
    }

    #[test]
    fn big_endian_and_booleans_are_normalized() {
        let tensor =
            parse(&raw(1, &descr(">i4", "False", "(1, 2)"), &[0, 0, 1, 0, 255, 255, 255, 255])).unwrap();
        assert_eq!(tensor.to_i64_vec().unwrap(), [256, -1]);
        let tensor = parse(&raw(1, &descr("|b1", "False", "()"), &[7])).unwrap();
        assert_eq!(tensor.bytes().as_ref(), [1]);
    }

    #[test]
    fn hostile_headers_are_errors() {
        let error = |header: &str, data: &[u8]| parse(&raw(1, header, data)).unwrap_err();
        assert!(error(&descr("<f4", "False", "(2,)"), &[0; 7]).contains("damaged"));
        assert!(error(&descr("<f4", "False", "(2,)"), &[0; 9]).contains("damaged"));
        assert!(
            error(&descr("<f8", "False", "(4611686018427387904, 4611686018427387904)"), &[])
                .contains("memory")
        );
        assert!(error(&descr("<f8", "False", "(0, -3)"), &[]).contains("size '-3'"));
        assert!(error(&descr("<U5", "False", "(1,)"), &[]).contains("U5"));
        assert!(error(&descr("|O", "False", "(1,)"), &[]).contains('O'));
        assert!(
            error("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", &[])
                .contains("structured")
        );
        assert!(error("{}", &[]).contains("descr"));
        assert!(error("{'descr': '<f4'}", &[]).contains("fortran_order"));
        assert!(error(&descr("<f4", "False", "(2"), &[]).contains("shape"));
        assert!(error("{'descr': '", &[]).contains("''"));
        assert!(parse(b"\x93NUM").is_err());
        assert!(parse(&raw(2, "", &[])[..12].iter().copied().chain([0]).collect::<Vec<_>>()).is_err());
        let mut long = raw(2, "", &[]);
        long[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(parse(&long).unwrap_err().contains("header of"));
    }

    #[test]
    fn what_is_written_is_read_and_aligned() {
        for shape in [vec![], vec![3], vec![2, 3], vec![0, 4]] {
            let n: usize = shape.iter().product();
            let values: Vec<f32> = (0..n).map(|i| i as f32 / 2.0).collect();
            let tensor = Tensor::from_slice(shape.clone(), &values).unwrap();
            let mut bytes = write_header(&tensor).unwrap();
            assert_eq!(bytes.len() % 64, 0);
            bytes.extend(tensor.bytes().as_ref());
            let back = parse(&bytes).unwrap();
            assert_eq!((back.shape(), back.bytes()), (&*shape, tensor.bytes()));
        }
    }
}
