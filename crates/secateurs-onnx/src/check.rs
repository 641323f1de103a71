//! What a model that was read must satisfy, so that later code need not doubt it.

use crate::{Error, Model, TensorError, sparse, tensor_proto::shape, walk};

/// Checks versions, imports and every tensor. Weights are not looked at, except those in typed fields.
pub(crate) fn check(model: &Model) -> Result<(), Error> {
    let problem = |problem: String| Err(Error::Model { file: model.file().to_owned(), problem });
    let proto = &model.proto;
    if proto.graph.is_none() {
        return problem(
            "it has no graph, so it is no model; perhaps a single tensor (.pb) or part of a model".into(),
        );
    }
    // A version above ours is accepted: newer versions added types and fields, and never changed old ones.
    match proto.ir_version {
        None => return problem("it has no ir_version; export the model again".into()),
        Some(version) if version < 1 => {
            return problem(format!("its ir_version is {version}; the file is damaged"));
        }
        Some(_) => {}
    }
    // ir_version 3 introduced opset_import; older files mean version 1.
    if proto.opset_import.is_empty() && proto.ir_version() >= 3 {
        return problem(
            "it has no opset_import, so its operators' versions are unknown; export it again".into(),
        );
    }
    if let Some(import) = proto.opset_import.iter().find(|import| import.version() < 1) {
        let (domain, version) = (import.domain(), import.version());
        return problem(format!("it imports version {version} of opset `{domain}`; versions start at 1"));
    }
    let mut result = Ok(());
    walk::for_each_tensor(proto, |site, tensor| {
        if result.is_ok() {
            result = model.tensor_at(tensor, &|| site.describe(tensor)).map(|_| ());
        }
    });
    walk::for_each_sparse_tensor(proto, |site, sparse| {
        if result.is_ok() {
            let name = || sparse.values.as_ref().map_or_else(String::new, |values| site.describe(values));
            result = check_sparse(model, sparse, &name);
        }
    });
    result
}

fn check_sparse(
    model: &Model,
    sparse: &crate::proto::SparseTensorProto,
    name: &dyn Fn() -> String,
) -> Result<(), Error> {
    let (values, indices) = model.sparse_parts(sparse, name)?;
    let checked: Result<_, TensorError> =
        shape(&sparse.dims).and_then(|shape| sparse::positions(&shape, &values, &indices));
    checked.map(|_| ()).map_err(|problem| model.tensor_error(name(), problem))
}
