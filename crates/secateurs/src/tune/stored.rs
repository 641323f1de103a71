//! Named tensors as the bytes of a safetensors file.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use secateurs_graph::session::{Floats, to_device, to_host};
use secateurs_onnx::{ElementType, Tensor as HostTensor};
use secateurs_torch::tch::{Device, Kind, Tensor};

const TYPES: [(ElementType, Dtype); 10] = [
    (ElementType::Float32, Dtype::F32),
    (ElementType::Float64, Dtype::F64),
    (ElementType::Float16, Dtype::F16),
    (ElementType::Bfloat16, Dtype::BF16),
    (ElementType::Int64, Dtype::I64),
    (ElementType::Int32, Dtype::I32),
    (ElementType::Int16, Dtype::I16),
    (ElementType::Int8, Dtype::I8),
    (ElementType::Uint8, Dtype::U8),
    (ElementType::Bool, Dtype::BOOL),
];

/// What is told of a tensor that cannot be stored or read.
fn of(name: &str) -> impl Fn(String) -> String {
    move |reason| format!("'{name}': {reason}")
}

/// The file of these tensors, with a text beside them.
pub(super) fn to_bytes<'a>(
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    metadata: Option<(&str, String)>,
) -> Result<Vec<u8>, String> {
    let mut hosts = Vec::new();
    for (name, tensor) in tensors {
        hosts.push((name, to_host(tensor, None).map_err(|e| of(name)(e.to_string()))?));
    }
    let mut views = Vec::with_capacity(hosts.len());
    for (name, host) in &hosts {
        let element_type = host.element_type();
        let known = TYPES.iter().find(|(known, _)| *known == element_type);
        let (_, dtype) = known.ok_or_else(|| of(name)(format!("has the type {element_type}")))?;
        let view = TensorView::new(*dtype, host.shape().to_vec(), host.bytes());
        views.push((*name, view.map_err(|e| of(name)(e.to_string()))?));
    }
    let metadata = metadata.map(|(key, text)| HashMap::from([(key.to_owned(), text)]));
    serialize(views, metadata).map_err(|e| e.to_string())
}

/// The tensors of a file, in the types that they are stored in.
pub(super) fn from_bytes(bytes: &[u8]) -> Result<HashMap<String, Tensor>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| format!("is no safetensors file ({e})"))?;
    let read = |view: TensorView| {
        let known = TYPES.iter().find(|(_, known)| *known == view.dtype());
        let (element_type, _) = known.ok_or_else(|| format!("has the type {:?}", view.dtype()))?;
        let host = HostTensor::new(*element_type, view.shape().to_vec(), view.data().to_vec().into());
        let as_stored = Floats { single: Kind::Float, half: None, mixed: false };
        to_device(&host.map_err(|e| e.to_string())?, Device::Cpu, as_stored).map_err(|e| e.to_string())
    };
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        let tensor = read(view).map_err(of(&name))?;
        Ok((name, tensor))
    });
    tensors.collect()
}

/// The text beside the tensors of a file.
pub(super) fn metadata(bytes: &[u8], key: &str) -> Option<String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).ok()?;
    metadata.metadata().as_ref()?.get(key).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_as_it_was_stored() {
        secateurs_torch::load().unwrap();
        let numbers = Tensor::f_from_slice(&[0f32, 1.0, 0.0, 5.0]).unwrap().f_view([2, 2]).unwrap();
        let kinds = [
            Kind::Float,
            Kind::Double,
            Kind::Half,
            Kind::BFloat16,
            Kind::Int64,
            Kind::Int,
            Kind::Int16,
            Kind::Int8,
            Kind::Uint8,
            Kind::Bool,
        ];
        let tensors = kinds.map(|kind| (format!("{kind:?}"), numbers.f_to_kind(kind).unwrap()));
        let bytes =
            to_bytes(tensors.iter().map(|(name, t)| (&name[..], t)), Some(("key", "text".into()))).unwrap();
        let read = from_bytes(&bytes).unwrap();
        assert_eq!(read.len(), kinds.len());
        for (name, tensor) in &tensors {
            assert_eq!(read[name].f_kind().unwrap(), tensor.f_kind().unwrap());
            assert_eq!(&read[name], tensor);
        }
        assert_eq!(metadata(&bytes, "key").as_deref(), Some("text"));
        assert_eq!(metadata(&bytes, "other"), None);
        assert!(from_bytes(&bytes[..bytes.len() - 1]).unwrap_err().contains("no safetensors file"));
    }
}
