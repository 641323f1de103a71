//! A model: the decoded message, and the file that it came from.

use std::{collections::HashSet, fs, path::Path, sync::Arc};

use bytes::Bytes;

use crate::{
    Error, ExternalError, Tensor, TensorError, check, decode,
    external::{Files, Place, map},
    proto::{GraphProto, ModelProto, SparseTensorProto, TensorProto},
    sparse, tensor_proto,
    walk::{Site, for_each_tensor},
};

/// An ONNX model. Cloning shares the weights and the open files.
#[derive(Clone, Debug)]
pub struct Model {
    /// The message, as in the file. It always has a graph.
    pub proto: ModelProto,
    source: Arc<Source>,
}

/// Where a model came from.
#[derive(Debug)]
struct Source {
    /// How errors name it.
    file: String,
    files: Files,
    /// Names of the initializers that were external, so that writing can put them outside again after their
    /// data changed.
    external_names: HashSet<String>,
}

impl Model {
    /// Reads and checks a file. Its weights stay in a memory map; the file must not be truncated while the model
    /// or its tensors live.
    pub fn read(path: &Path) -> Result<Model, Error> {
        let io = |action| move |cause| Error::Io { action, path: path.to_owned(), cause };
        // Before opening, which would wait on a pipe.
        let metadata = fs::metadata(path).map_err(io("open"))?;
        if !metadata.is_file() {
            let kind = if metadata.is_dir() { "a folder" } else { "a device or a pipe" };
            return Err(Error::NotAFile { path: path.to_owned(), kind });
        }
        let bytes = map(path).map_err(io("read"))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = path.display().to_string();
        let proto = decode::decode(bytes, &file)?;
        Model::checked(proto, file, Some(folder))
    }

    /// Decodes and checks a model in memory. Weights share the bytes. External data is looked for in `folder`;
    /// without one, external data is an error.
    pub fn from_bytes(bytes: Bytes, folder: Option<&Path>) -> Result<Model, Error> {
        let file = "(model in memory)".to_owned();
        let proto = decode::decode(bytes, &file)?;
        Model::checked(proto, file, folder)
    }

    /// Checks a model that was made in code. External data as in [`Model::from_bytes`].
    pub fn from_proto(proto: ModelProto, folder: Option<&Path>) -> Result<Model, Error> {
        Model::checked(proto, "(model in memory)".to_owned(), folder)
    }

    fn checked(proto: ModelProto, file: String, folder: Option<&Path>) -> Result<Model, Error> {
        let mut external_names = HashSet::new();
        for_each_tensor(&proto, |site, tensor| {
            if site == Site::Initializer && tensor_proto::is_external(tensor) == Ok(true) {
                external_names.insert(tensor.name().to_owned());
            }
        });
        let source = Source { file, files: Files::in_folder(folder), external_names };
        let model = Model { proto, source: Arc::new(source) };
        check::check(&model)?;
        Ok(model)
    }

    /// The main graph.
    pub fn graph(&self) -> &GraphProto {
        static EMPTY: GraphProto = GraphProto {
            node: Vec::new(),
            name: None,
            initializer: Vec::new(),
            sparse_initializer: Vec::new(),
            doc_string: None,
            input: Vec::new(),
            output: Vec::new(),
            value_info: Vec::new(),
            quantization_annotation: Vec::new(),
            metadata_props: Vec::new(),
        };
        self.proto.graph.as_ref().unwrap_or(&EMPTY)
    }

    /// The main graph, to be changed.
    pub fn graph_mut(&mut self) -> &mut GraphProto {
        self.proto.graph.get_or_insert_default()
    }

    /// A model of another graph, such as a subgraph of this one, with the same functions, operator sets and files.
    pub fn with_graph(&self, graph: GraphProto) -> Model {
        let proto = ModelProto {
            ir_version: self.proto.ir_version,
            opset_import: self.proto.opset_import.clone(),
            functions: self.proto.functions.clone(),
            graph: Some(graph),
            ..ModelProto::default()
        };
        Model { proto, source: self.source.clone() }
    }

    /// How messages name this model: its path as given, or "(model in memory)".
    pub fn file(&self) -> &str {
        &self.source.file
    }

    /// The version that the model imports of an operator set, the highest if there are several. The domains ""
    /// and "ai.onnx" are one. Files before IR version 3 import nothing and mean version 1 of it.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        let canonical = |domain: &str| if domain == "ai.onnx" { String::new() } else { domain.to_owned() };
        let wanted = canonical(domain);
        if self.proto.opset_import.is_empty() && wanted.is_empty() {
            return Some(1);
        }
        let imports = self.proto.opset_import.iter().filter(|import| canonical(import.domain()) == wanted);
        imports.map(|import| import.version()).max()
    }

    /// A tensor of this model. Raw and external data are shared with the file's map; typed fields are copied.
    pub fn tensor(&self, tensor: &TensorProto) -> Result<Tensor, Error> {
        self.tensor_at(tensor, &|| match tensor.name() {
            "" => "a tensor without a name".to_owned(),
            name => format!("tensor `{name}`"),
        })
    }

    /// A sparse tensor of this model, made dense. At most 2 GiB, and element types of whole bytes.
    pub fn sparse_tensor(&self, sparse: &SparseTensorProto) -> Result<Tensor, Error> {
        let name =
            || format!("sparse tensor `{}`", sparse.values.as_ref().map_or("", |values| values.name()));
        let (values, indices) = self.sparse_parts(sparse, &name)?;
        sparse::densify(&sparse.dims, &values, &indices).map_err(|problem| self.tensor_error(name(), problem))
    }

    /// The values and the indices of a sparse tensor.
    pub(crate) fn sparse_parts(
        &self,
        sparse: &SparseTensorProto,
        name: &dyn Fn() -> String,
    ) -> Result<(Tensor, Tensor), Error> {
        let part = |part: &Option<TensorProto>, which: &str| match part {
            Some(tensor) => self.tensor_at(tensor, name),
            None => {
                let problem = TensorError::Sparse(format!("without {which}"));
                Err(self.tensor_error(name(), problem))
            }
        };
        Ok((part(&sparse.values, "values")?, part(&sparse.indices, "indices")?))
    }

    /// [`Model::tensor`] with a name for errors.
    pub(crate) fn tensor_at(&self, tensor: &TensorProto, name: &dyn Fn() -> String) -> Result<Tensor, Error> {
        let fail = |problem| self.tensor_error(name(), problem);
        if !tensor_proto::is_external(tensor).map_err(fail)? {
            return tensor_proto::from_inline(tensor).map_err(fail);
        }
        let (element_type, shape) = tensor_proto::type_and_shape(tensor).map_err(fail)?;
        let expected = crate::tensor::byte_len(element_type, &shape).map_err(fail)?;
        let external = |location: &str, problem: ExternalError| Error::External {
            file: self.source.file.clone(),
            tensor: name(),
            location: location.to_owned(),
            problem,
        };
        let place = Place::of(tensor).map_err(|problem| external("", problem))?;
        let bytes = self.source.files.bytes(&place, expected);
        let bytes = bytes.map_err(|problem| external(place.location, problem))?;
        Tensor::new(element_type, shape, bytes).map_err(fail)
    }

    pub(crate) fn tensor_error(&self, tensor: String, problem: TensorError) -> Error {
        Error::Tensor { file: self.source.file.clone(), tensor, problem }
    }

    /// Whether an initializer of this name had external data when the model was read.
    pub(crate) fn was_external(&self, name: &str) -> bool {
        self.source.external_names.contains(name)
    }
}
