//! Half of the units pruned and a part of the rest implanted, at random: the model is valid, costs what was foreseen, and equals its
//! twin with the equivalent weights in both engines; with other weights it does not.

use secateurs::plan::PlannedSplit;
use secateurs::rng::Rng;
use secateurs_graph::coupling::{Costs, CouplingOptions, Remaining};
use secateurs_graph::surgery::{Choice, Form, NodeForm, Request, Start};
use secateurs_graph::{Bindings, GraphError};
use secateurs_onnx::Tensor;
use serde_json::{Value, json};

use crate::models::{ZooModel, check_all};
use crate::pruning::{Bench, pruned, write_graph};
use crate::python::Script;

const SEEDS: u64 = 2;

#[test]
fn every_zoo_model_with_implants_is_valid_and_equals_its_twin_and_other_weights_are_noticed() {
    let checker = Script::start("check.py");
    check_all("SECATEURS_IMPLANT_COVERAGE", |zoo| check(zoo, &checker));
}

fn check(zoo: &ZooModel, checker: &Script) -> Result<Value, String> {
    let bench = Bench::new(zoo)?;
    let graph = &bench.graph;
    let coupling = graph.coupling(&CouplingOptions::default());
    let sites = coupling.sites(graph);
    let mut counts = json!(null);
    for seed in 0..SEEDS {
        let at = |e: String| format!("seed {seed}: {e}");
        let (plan, _) = pruned(graph, seed, PlannedSplit::Outer).map_err(at)?;
        let mut choice: Choice = plan.resolve(graph, &coupling).map_err(|e| at(e.to_string()))?.into();
        let mut rng = Rng::new(seed, "implants", 0, 0);
        for site in &sites {
            let pointwise = site.offers(Form::Pointwise).is_ok();
            let form = if pointwise { Form::Pointwise } else { Form::LowRank { rank: 1 + rng.below(4) } };
            choice.forms.push(NodeForm { node: site.node, form, bias: rng.below(2) == 0 });
            for unit in &site.units {
                let own = &mut choice.implanted[unit.group];
                let stays = choice.selection.kept[unit.group].binary_search(&unit.unit).is_ok();
                if stays && unit.unit % 3 == 0 && !own.contains(&unit.unit) {
                    own.push(unit.unit);
                }
            }
        }
        choice.implanted.iter_mut().for_each(|units| units.sort_unstable());
        let carry = |salt: u64| {
            let mut rng = Rng::new(seed, "starting weights", salt, 0);
            coupling.carry_out(graph, &choice, |request| Ok::<_, GraphError>(Some(start(request, &mut rng))))
        };
        let carried = carry(0).map_err(|e| at(e.to_string()))?;
        let sizes = Bindings::new();
        let mut costs = Costs::new(graph, &coupling, &sizes);
        costs.set_forms(&choice.forms).map_err(|e| at(e.to_string()))?;
        let remaining = Remaining::of_choice(&coupling, &choice);
        let (foreseen, found) = ((costs.params(&remaining), costs.macs(&remaining)), carried.graph.cost());
        if foreseen != (found.params, found.macs.clone()) {
            return Err(at(format!("{foreseen:?} foreseen, {found:?} found")));
        }
        let path = bench.file("implanted.onnx");
        write_graph(&carried.graph, &path).map_err(at)?;
        checker.ask(&path).map_err(at)?;
        let by = bench.differences(&path, &carried.masked).map_err(at)?;
        bench.within(&by).into_iter().collect::<Result<(), _>>().map_err(at)?;
        if seed == 0 {
            if sites.is_empty() {
                return Err("no place for implants".into());
            }
            let other = carry(1).map_err(|e| at(e.to_string()))?;
            let wrong = bench.differences(&path, &other.masked).map_err(at)?;
            let [Err(_), Err(_)] = bench.within(&wrong) else {
                return Err(format!("other weights go unnoticed: the outputs differ by {wrong:?}"));
            };
            counts = json!({
                "model": zoo.name, "sites": sites.len(), "implanted": choice.implanted.iter().map(Vec::len).sum::<usize>(),
                "pointwise": count(&choice, Form::Pointwise), "gathers": carried.gathers, "slices": carried.slices,
                "nodes": [graph.nodes.len(), carried.graph.nodes.len()], "difference": by[0].values().copied().fold(0.0, f64::max),
            });
        }
    }
    Ok(counts)
}

fn count(choice: &Choice, form: Form) -> usize {
    choice.forms.iter().filter(|own| own.form == form).count()
}

/// Small multiples of 1/32, whose products are exact.
pub fn start(request: &Request, rng: &mut Rng) -> Start {
    let (rows, channels) = (request.rows.len(), request.original_channels.len());
    let mut tensor = |shape: &[usize]| {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| (rng.below(9) as f32 - 4.0) / 32.0).collect();
        Tensor::from_slice(shape.to_vec(), &values).unwrap()
    };
    let weights = match request.form {
        Form::Pointwise => vec![tensor(&[rows, channels])],
        Form::LowRank { rank } => vec![tensor(&[rank, channels]), tensor(&[rows, rank])],
    };
    Start { weights, bias: request.bias.then(|| tensor(&[rows])) }
}
