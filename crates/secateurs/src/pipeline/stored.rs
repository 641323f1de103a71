//! Limits on bytes hold in the file: what surgery adds to put sizes right is counted too.

use secateurs_graph::coupling::Coupling;
use secateurs_graph::surgery::Choice;
use secateurs_graph::{Graph, GraphError};

use crate::search::{Amount, Budget, Limit, Reached, Resource, SelectError, SelectOptions, Selected};

/// So often less is asked for: each try knows what the one before it added.
const TRIES: usize = 3;

/// What `select` chooses. Where bytes are limited they are counted in the smaller graph, and less is asked for if they are too many;
/// where they stay too many, the limit cannot be met.
pub(super) fn within_bytes(
    graph: &Graph,
    coupling: &Coupling,
    budget: &Budget,
    guards: &SelectOptions,
    select: impl Fn(&Budget) -> Result<Selected, SelectError>,
) -> Result<Selected, SelectError> {
    let Some(limit) = budget.limit(Resource::Bytes) else { return select(budget) };
    let own = |reached: &&mut Reached| reached.limit.resource == Resource::Bytes;
    // What is nearest is told in the bytes of the file, too.
    let select = |budget: &Budget| {
        select(budget).map_err(|mut error| {
            let SelectError::Unmeetable { nearest, .. } = &mut error else { return error };
            if let Some(reached) = nearest.iter_mut().find(own) {
                let amount = Amount::Absolute(reached.kept);
                let smallest = select(&budget.with(Limit { resource: Resource::Bytes, amount })).ok();
                let bytes = smallest.and_then(|smallest| stored(graph, coupling, &smallest.choice));
                *reached =
                    Reached { limit: *limit, kept: bytes.unwrap_or(0.0).max(reached.kept), ..*reached };
            }
            error
        })
    };
    let mut selected = select(budget)?;
    for tries in 0.. {
        let Some(bytes) = stored(graph, coupling, &selected.choice) else { break };
        let Some(reached) = selected.reached.iter_mut().find(own) else { break };
        let (counted, allowed) = (reached.kept, limit.allowed(reached.of));
        *reached = Reached { limit: *limit, kept: bytes, ..*reached };
        if bytes <= allowed * (1.0 + 1e-12) {
            break;
        }
        if tries == TRIES {
            return Err(SelectError::Unmeetable {
                nearest: selected.reached,
                max_removed: guards.max_removed,
                multiples: guards.multiple_of.is_some(),
            });
        }
        let amount = Amount::Absolute((allowed - (bytes - counted)).max(1.0));
        selected = select(&budget.with(Limit { resource: Resource::Bytes, amount }))?;
    }
    Ok(selected)
}

/// Bytes of the constants of the smaller graph. That it cannot be made is told by the step that makes it.
fn stored(graph: &Graph, coupling: &Coupling, choice: &Choice) -> Option<f64> {
    let carried = coupling.carry_out(graph, choice, |_| Ok::<_, GraphError>(None)).ok()?;
    Some(carried.graph.cost().bytes as f64)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use secateurs_graph::coupling::CouplingOptions;
    use secateurs_onnx::proto::{AttributeProto, attribute_proto::AttributeType};
    use secateurs_onnx::{ElementType, ModelBuilder, Tensor, WriteOptions, write};

    use super::*;
    use crate::methods::method;
    use crate::pipeline::{PlanOptions, apply, plan};

    fn floats(shape: &[usize]) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| (i % 7) as f32 - 3.0).collect();
        Tensor::from_slice(shape.to_vec(), &values).unwrap()
    }

    fn attribute(name: &str, kind: AttributeType, i: Option<i64>, ints: &[i64]) -> AttributeProto {
        let (name, r#type) = (Some(name.into()), Some(kind.into()));
        AttributeProto { name, r#type, i, ints: ints.to_vec(), ..AttributeProto::default() }
    }

    /// Layers that share a bias and part, a scale in 64 bits, heads whose number is frozen in a shape, a mean over hidden units that is
    /// rescaled, and a table that nothing shrinks.
    fn mixed() -> ModelBuilder {
        let doubles: Vec<f64> = (0..16).map(f64::from).collect();
        let to = attribute("to", AttributeType::Int, Some(1), &[]);
        let axes = attribute("axes", AttributeType::Ints, None, &[1]);
        ModelBuilder::new(13)
            .input("x", ElementType::Float32, &["batch", "4"])
            .constant("w", &floats(&[4, 16]))
            .constant("bias", &floats(&[16]))
            .constant("v", &floats(&[16, 16]))
            .constant("scale", &Tensor::from_slice(vec![16], &doubles).unwrap())
            .constant("heads", &Tensor::from_slice(vec![3], &[0i64, 4, 4]).unwrap())
            .constant("u", &floats(&[4, 3]))
            .constant("table", &Tensor::from_slice(vec![9], &[1i64; 9]).unwrap())
            .node("MatMul", &["x", "w"], &["a"])
            .node("Add", &["a", "bias"], &["b"])
            .node("Relu", &["b"], &["c"])
            .node("MatMul", &["c", "v"], &["d"])
            .node("Add", &["d", "bias"], &["e"])
            .node_with("Cast", &["scale"], &["f"], vec![to])
            .node("Mul", &["e", "f"], &["g"])
            .node("Reshape", &["g", "heads"], &["h"])
            .node_with(
                "ReduceMean",
                &["h"],
                &["i"],
                vec![axes, attribute("keepdims", AttributeType::Int, Some(0), &[])],
            )
            .node("MatMul", &["i", "u"], &["y"])
            .node("Identity", &["table"], &["z"])
            .output("y")
            .output("z")
    }

    #[test]
    fn the_bytes_of_a_plan_are_those_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        write(&mixed().build().unwrap(), &path, &WriteOptions::default()).unwrap();
        let graph = Graph::read(&path).unwrap();
        for (seed, keep) in ["bytes=0.8", "bytes=0.5", "bytes=700B", "bytes=0.6"].into_iter().enumerate() {
            let options = PlanOptions {
                method: method("random").unwrap(),
                seed: seed as u64,
                budget: Budget::new(vec![keep.parse().unwrap()]).unwrap(),
                ..PlanOptions::default()
            };
            let plan = plan(&graph, &options).unwrap();
            let smaller = folder.path().join("smaller.onnx");
            let applied = apply(&graph, &plan).unwrap();
            write(&applied.graph.to_model(), &smaller, &WriteOptions::default()).unwrap();
            let bytes = Graph::read(&smaller).unwrap().cost().bytes as f64;
            let reached = &plan.reached["bytes"];
            assert_eq!((reached.kept, reached.of), (bytes, graph.cost().bytes as f64), "{keep}");
            assert!(bytes <= options.budget.limits()[0].allowed(reached.of), "{keep}: {bytes}");
        }
    }

    #[test]
    fn a_limit_that_files_stay_above_cannot_be_met() {
        let graph = Graph::from_model(mixed().build().unwrap()).unwrap();
        let coupling = graph.coupling(&CouplingOptions::default());
        let budget = Budget::new(vec!["bytes=0.5".parse().unwrap()]).unwrap();
        let bytes = graph.cost().bytes as f64;
        let tries = Cell::new(0);
        // Whatever it is asked for, it leaves the model as it is.
        let select = |budget: &Budget| {
            tries.set(tries.get() + 1);
            let limit = budget.limits()[0];
            let reached = vec![Reached { limit, kept: 1.0, of: bytes }];
            Ok(Selected { reached, ..Selected::without(&coupling, &vec![Vec::new(); coupling.groups.len()]) })
        };
        let found = within_bytes(&graph, &coupling, &budget, &SelectOptions::default(), select);
        let Err(SelectError::Unmeetable { nearest, .. }) = found else { panic!("{found:?}") };
        assert_eq!((nearest[0].limit, nearest[0].kept), (budget.limits()[0], bytes));
        assert_eq!(tries.get(), TRIES + 1);
    }
}
