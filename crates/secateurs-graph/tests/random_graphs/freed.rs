//! Graphs whose batch is freed: two batches at once give what each gives alone, and what surgery leaves can be freed as well.

use secateurs_graph::Graph;
use secateurs_graph::coupling::{CouplingOptions, Split};
use secateurs_graph::rewrite::free_batch;
use secateurs_onnx::{Model, Tensor};

use crate::check::{close, fed_all, random, run};
use crate::net::Feed;
use crate::rng::Rng;

/// Whether the batch could be freed.
pub fn check(model: &Model, feeds: &[Feed], split: Split, seed: u64) -> Result<bool, String> {
    let graph = Graph::from_model(model.clone()).map_err(|e| format!("the graph: {e}"))?;
    if !apart(&graph, feeds)? {
        return Ok(false);
    }
    let coupling = graph.coupling(&CouplingOptions { split, ..CouplingOptions::default() });
    let selection = random(&coupling, false, &mut Rng::new(seed));
    let patch = coupling.surgery(&graph, &selection).map_err(|e| format!("no surgery: {e}"))?;
    let mut smaller = graph.clone();
    patch.apply(&mut smaller).map_err(|e| format!("surgery leaves no graph: {e}"))?;
    match apart(&smaller, feeds)? {
        true => Ok(true),
        false => Err(format!("{split:?}: the batch of the smaller model is fixed\n{graph:?}\n{smaller:?}")),
    }
}

/// Whether the batch of a graph can be freed: samples stay apart then.
fn apart(graph: &Graph, feeds: &[Feed]) -> Result<bool, String> {
    let Some(freed) = free_batch(graph) else { return Ok(false) };
    let [first, second] = [0, 1].map(|round| fed_all(feeds, round));
    let own = |feed: &[Tensor]| run(graph, feed).map_err(|e| format!("it does not run: {e}"));
    let alone = joined(&own(&first)?, &own(&second)?);
    let both = run(&freed, &joined(&first, &second))
        .map_err(|e| format!("freed, it does not run: {e}\n{freed:?}"))?;
    close(&both, &alone, 1e-9).map_err(|e| format!("two batches at once: {e}\n{graph:?}"))?;
    Ok(true)
}

/// Tensors one behind the other along their first axes.
fn joined(a: &[Tensor], b: &[Tensor]) -> Vec<Tensor> {
    let both = |(a, b): (&Tensor, &Tensor)| {
        let mut shape = a.shape().to_vec();
        shape[0] += b.shape()[0];
        Tensor::new(a.element_type(), shape, [&a.bytes()[..], &b.bytes()[..]].concat().into()).unwrap()
    };
    a.iter().zip(b).map(both).collect()
}
