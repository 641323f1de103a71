//! A teacher that is another model: its inputs and outputs in the order of the model's, and its sizes where it names them otherwise.

use std::path::Path;

use secateurs_graph::{Bindings, Dim, Graph, ValueId};

use super::job::JobError;
use super::latency::{self, LatencyError, at_batch, fixes_batch, latency_job};
use super::plan::macs_sizes;
use crate::runtime::LatencyJob;
use crate::tune::Head;

/// The teacher with the inputs and outputs of a model, in the model's order, as batches and losses have them by place. `outputs` are those
/// of the model that are looked at.
pub(super) fn aligned(teacher: &Graph, graph: &Graph, outputs: &[usize]) -> Result<Graph, JobError> {
    let names = |graph: &Graph, values: &[ValueId]| -> Vec<String> {
        values.iter().map(|value| graph.values[*value].name.clone()).collect()
    };
    let matched = |kind: &str, own: &[ValueId], theirs: &[ValueId], needed: &dyn Fn(usize) -> bool| {
        let (own, named) = (names(graph, own), names(teacher, theirs));
        let found: Vec<Option<ValueId>> = own
            .iter()
            .map(|name| named.iter().position(|other| other == name).map(|at| theirs[at]))
            .collect();
        if found.iter().all(Option::is_none) && own.len() == named.len() {
            return Ok(theirs.to_vec());
        }
        let missing: Vec<&str> = (0..own.len())
            .filter(|&place| found[place].is_none() && needed(place))
            .map(|place| own[place].as_str())
            .collect();
        // What nobody looks at is filled with anything.
        match missing.is_empty() {
            true => Ok(found.into_iter().filter_map(|value| value.or(theirs.first().copied())).collect()),
            false => Err(JobError::Settings(format!(
                "{}: the teacher has no {kind} '{}', as the model has; it has {}. Teach with a model of the same {kind}s, or rename them",
                teacher.source.file(),
                missing.join("', '"),
                named.join(", ")
            ))),
        }
    };
    let inputs = matched("input", &graph.inputs, &teacher.inputs, &|_| true)?;
    if let Some(&further) = teacher.inputs.iter().find(|input| !inputs.contains(input)) {
        return Err(JobError::Settings(format!(
            "{}: the teacher has an input '{}', and the model that is tuned has none of that name, so that no data are read for it",
            teacher.source.file(),
            teacher.values[further].name
        )));
    }
    let needed = outputs;
    let outputs = matched("output", &graph.outputs, &teacher.outputs, &|place| needed.contains(&place))?;
    let mut aligned = Graph { inputs, outputs, ..teacher.clone() };
    // Outputs that are matched by place are asked for by the model's names.
    for &place in needed {
        let name = &graph.values[graph.outputs[place]].name;
        if aligned.values.values().all(|value| value.name != *name) {
            aligned.values[aligned.outputs[place]].name = name.clone();
        }
    }
    Ok(aligned)
}

/// Refuses a teacher that says something in other numbers than the model: one reads as probabilities what the other gives as logits.
pub(super) fn check_meaning(
    teacher: &Graph,
    theirs: &[Head],
    graph: &Graph,
    own: &[Head],
) -> Result<(), JobError> {
    match own.iter().zip(theirs).find(|(own, theirs)| own.meaning != theirs.meaning) {
        None => Ok(()),
        Some((own, theirs)) => Err(JobError::Settings(format!(
            "{}: the teacher's output '{}' holds {}, and the model's {}; teach with a model that ends as this one does",
            teacher.source.file(),
            graph.values[graph.outputs[own.index]].name,
            theirs.meaning,
            own.meaning
        ))),
    }
}

/// The batch sizes that an original, or a teacher, and a model are timed at: where one of them fixes its batch, that one.
pub(super) fn batches(graph: &Graph, original: &Graph, asked: &[usize], sizes: &Bindings) -> Vec<usize> {
    let fixed = [original, graph].into_iter().find(|graph| fixes_batch(graph));
    latency::batches(fixed.unwrap_or(graph), asked, sizes)
}

/// What is timed side by side at a batch: the original, or the teacher, and the result, which has the inputs of the model that is worked
/// on.
pub(super) fn latency_jobs(
    (graph, sizes): (&Graph, &Bindings),
    original: &Graph,
    result: &Graph,
    batch: usize,
) -> Result<Vec<LatencyJob>, LatencyError> {
    let sizes = macs_sizes(graph, &at_batch(graph, batch, sizes));
    let timed = |graph: &Graph, sizes| latency_job(graph, Path::new(graph.source.file()), batch, sizes);
    Ok(vec![timed(original, &sizes_of(original, graph, &sizes))?, timed(result, &sizes)?])
}

/// The sizes of a teacher: of the same axes of the same inputs those of the model.
fn sizes_of(teacher: &Graph, graph: &Graph, sizes: &Bindings) -> Bindings {
    let mut own = Bindings::new();
    let shape = |graph: &Graph, input: ValueId| graph.values[input].fact.shape.clone().unwrap_or_default();
    for (&theirs, &ours) in teacher.inputs.iter().zip(&graph.inputs) {
        for (theirs, ours) in shape(teacher, theirs).iter().zip(shape(graph, ours)) {
            if let ([symbol], Some(size)) = (&theirs.symbols()[..], ours.bind(sizes).known())
                && *theirs == Dim::symbol(symbol.clone())
            {
                own.entry(symbol.to_string()).or_insert(size);
            }
        }
    }
    // A size that stands alone in no axis, as in `2*n`.
    for (symbol, size) in sizes {
        own.entry(symbol.clone()).or_insert(*size);
    }
    own
}

#[cfg(test)]
mod tests {
    use secateurs_onnx::{ElementType, ModelBuilder};

    use super::*;

    /// A model that gives each of its inputs under another name.
    fn graph(ports: &[(&str, &str, &[&str])]) -> Graph {
        let model = ports.iter().fold(ModelBuilder::new(17), |model, &(input, output, shape)| {
            let model = model.input(input, ElementType::Float32, shape);
            model.node("Relu", &[input], &[output]).output(output)
        });
        Graph::from_model(model.build().unwrap()).unwrap()
    }

    fn ports(graph: &Graph) -> (Vec<&str>, Vec<&str>) {
        let names = |values: &[ValueId]| values.iter().map(|v| graph.values[*v].name.as_str()).collect();
        (names(&graph.inputs), names(&graph.outputs))
    }

    const ROWS: &[&str] = &["batch", "4"];

    #[test]
    fn inputs_and_outputs_are_those_of_the_same_names() {
        let model = graph(&[("ids", "logits", ROWS), ("mask", "hidden", ROWS), ("types", "pooled", ROWS)]);
        let other = graph(&[("types", "pooled", ROWS), ("ids", "logits", ROWS), ("mask", "hidden", ROWS)]);
        let found = aligned(&other, &model, &[0, 1, 2]).unwrap();
        assert_eq!(ports(&found), ports(&model));
        assert!(found.verify().is_ok());
        // By place where no name is the same; what is looked at has the model's name then.
        let unnamed = graph(&[("0", "a", ROWS), ("1", "b", ROWS), ("2", "c", ROWS)]);
        let found = aligned(&unnamed, &model, &[0]).unwrap();
        assert_eq!(ports(&found), (vec!["0", "1", "2"], vec!["logits", "b", "c"]));
        assert!(found.verify().is_ok());
    }

    #[test]
    fn what_a_teacher_lacks_is_named_unless_nobody_looks_at_it() {
        let model = graph(&[("ids", "hidden", ROWS), ("mask", "logits", ROWS)]);
        let other = graph(&[("ids", "logits", ROWS), ("mask", "states", ROWS)]);
        let error = aligned(&other, &model, &[0, 1]).unwrap_err().to_string();
        assert!(error.contains("has no output 'hidden'") && error.contains("logits, states"), "{error}");
        let found = aligned(&other, &model, &[1]).unwrap();
        assert_eq!(ports(&found).1[1], "logits");
        assert!(found.verify().is_ok());
        let fewer = graph(&[("ids", "logits", ROWS)]);
        let error = aligned(&fewer, &model, &[1]).unwrap_err().to_string();
        assert!(error.contains("has no input 'mask'"), "{error}");
        let error = aligned(&model, &fewer, &[0]).unwrap_err().to_string();
        assert!(error.contains("an input 'mask'") && error.contains("has none"), "{error}");
    }

    #[test]
    fn a_teacher_is_timed_at_the_sizes_of_the_model_whatever_it_calls_them() {
        let model = graph(&[("ids", "y", &["batch", "sequence"]), ("mask", "z", &["batch", "sequence"])]);
        // One of its names means something else there.
        let other = graph(&[("ids", "y", &["sequence", "length"]), ("mask", "z", &["sequence", "length"])]);
        let sizes = Bindings::from([("sequence".into(), 64)]);
        let shapes = |original: &Graph, batch: usize| {
            let jobs = latency_jobs((&model, &sizes), original, &model, batch).unwrap();
            jobs.into_iter().map(|job| job.shapes[0].1.clone()).collect::<Vec<_>>()
        };
        assert_eq!(batches(&model, &other, &[1, 32], &sizes), [1, 32]);
        assert_eq!(shapes(&other, 32), [[32, 64], [32, 64]]);
        let fixed = graph(&[("ids", "y", &["8", "n"]), ("mask", "z", &["8", "n"])]);
        assert_eq!(batches(&model, &fixed, &[1, 32], &sizes), [8]);
        assert_eq!(batches(&fixed, &model, &[1, 32], &Bindings::new()), [8]);
        assert_eq!(shapes(&fixed, 8), [[8, 64], [8, 64]]);
    }
}
