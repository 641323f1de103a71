//! Budgets are met, guards hold, and on tiny models no choice comes closer.

use proptest::prelude::*;
use secateurs_graph::coupling::{Costs, Coupling, CouplingOptions, Remaining, Selection};
use secateurs_graph::{Bindings, Graph};
use secateurs_onnx::proto::{AttributeProto, attribute_proto::AttributeType};
use secateurs_onnx::{ElementType, ModelBuilder, Tensor};

use super::steps_test::ranking;
use super::{
    Amount, Budget, Fixed, Limit, MAX_REMOVED, Meter, Ranking, Resource, Scope, SelectError, SelectOptions,
    Selected, select,
};
use crate::evidence::{Joint, Others};
use crate::methods::method;
use crate::rng::Rng;

/// Dense layers of these widths, 5 inputs, 3 outputs.
pub(super) fn dense(widths: &[usize]) -> Graph {
    let mut model = ModelBuilder::new(17).input("v0", ElementType::Float32, &["batch", "5"]);
    let mut inputs = 5;
    for (i, &width) in widths.iter().chain(&[3]).enumerate() {
        let weight = Tensor::from_slice(vec![inputs, width], &vec![0.5f32; inputs * width]).unwrap();
        let bias = Tensor::from_slice(vec![width], &vec![0.5f32; width]).unwrap();
        let name = |what: &str| format!("{what}{i}");
        model = model
            .constant(&name("w"), &weight)
            .constant(&name("b"), &bias)
            .node("Gemm", &[&name("v"), &name("w"), &name("b")], &[&name("h")])
            .node("Relu", &[&name("h")], &[&format!("v{}", i + 1)]);
        inputs = width;
    }
    Graph::from_model(model.output(&format!("v{}", widths.len() + 1)).build().unwrap()).unwrap()
}

pub(super) struct Setting {
    pub graph: Graph,
    pub coupling: Coupling,
    pub sizes: Bindings,
}

impl Setting {
    pub fn new(widths: &[usize]) -> Setting {
        let graph = dense(widths);
        let coupling = graph.coupling(&CouplingOptions::default());
        assert_eq!(coupling.groups.len(), widths.len());
        Setting { graph, coupling, sizes: Bindings::from([("batch".into(), 1)]) }
    }

    fn select(&self, seed: u64, limits: &[Limit], options: &SelectOptions) -> Result<Selected, SelectError> {
        let scores = method("random").unwrap().score(&self.graph, &self.coupling, seed, None).unwrap();
        self.ranked(Ranking::Scores(scores), limits, options)
    }

    fn ranked(
        &self,
        ranking: Ranking,
        limits: &[Limit],
        options: &SelectOptions,
    ) -> Result<Selected, SelectError> {
        let costs = Costs::new(&self.graph, &self.coupling, &self.sizes);
        let budget = Budget::new(limits.to_vec()).unwrap();
        let meter = Meter::new(&costs, &self.coupling, options);
        select(&self.graph, &self.coupling, &meter, &ranking, &budget, None, options)
    }

    fn value(&self, resource: Resource, selection: &Selection) -> f64 {
        let costs = Costs::new(&self.graph, &self.coupling, &self.sizes);
        let remaining = Remaining::of_selection(&self.coupling, selection);
        match resource {
            Resource::Params => costs.params(&remaining) as f64,
            Resource::Macs => costs.macs(&remaining).known().unwrap() as f64,
            Resource::Units => selection.kept.iter().map(Vec::len).sum::<usize>() as f64,
            Resource::Bytes => {
                let mut smaller = self.graph.clone();
                self.coupling.surgery(&self.graph, selection).unwrap().apply(&mut smaller).unwrap();
                smaller.cost().bytes as f64
            }
            Resource::Latency => unreachable!("not measured here"),
        }
    }

    fn share(&self, resource: Resource, selection: &Selection) -> f64 {
        self.value(resource, selection) / self.value(resource, &Selection::all(&self.coupling))
    }
}

pub(super) fn limit(resource: Resource, share: f64) -> Limit {
    Limit::share(resource, share)
}

fn resource() -> impl Strategy<Value = Resource> {
    prop_oneof![Just(Resource::Params), Just(Resource::Macs), Just(Resource::Bytes), Just(Resource::Units)]
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![Just(Scope::Global), Just(Scope::Layer)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn budgets_are_met_closely_and_nothing_is_emptied(
        widths in prop::collection::vec(40usize..120, 1..4),
        seed in 0u64..1000,
        resource in resource(),
        share in 0.15f64..0.95,
        scope in scope(),
    ) {
        let setting = Setting::new(&widths);
        let options = SelectOptions { scope, ..SelectOptions::default() };
        let selected = setting.select(seed, &[limit(resource, share)], &options).unwrap();
        let kept = setting.share(resource, &selected.choice.selection);
        prop_assert!((selected.reached[0].share() - kept).abs() < 1e-12);
        if scope == Scope::Layer && resource == Resource::Units {
            for (kept, &n) in selected.choice.selection.kept.iter().zip(&widths) {
                prop_assert_eq!(kept.len(), ((share * n as f64).round() as usize).max(1));
            }
        } else {
            prop_assert!(kept <= share + 1e-12, "{} {}", kept, share);
            for (group, &width) in widths.iter().enumerate() {
                let mut more = selected.choice.selection.clone();
                let back = (0..width).find(|u| !more.kept[group].contains(u));
                more.kept[group].extend(back);
                more.kept[group].sort_unstable();
                let fits = setting.share(resource, &more) <= share && back.is_some();
                prop_assert!(kept >= 0.99 * share || scope == Scope::Layer || !fits, "{} {}", kept, share);
            }
            let shares: Vec<f64> = selected.choice.selection.kept.iter().zip(&widths).map(|(k, n)| k.len() as f64 / *n as f64).collect();
            let spread = shares.iter().copied().fold(0.0, f64::max) - shares.iter().copied().fold(1.0, f64::min);
            prop_assert!(scope == Scope::Global || spread < 0.45, "{:?}", shares);
            prop_assert!(kept >= 0.99 * share || scope == Scope::Global || kept > share - 0.05, "{} {}", kept, share);
        }
        for (kept, &n) in selected.choice.selection.kept.iter().zip(&widths) {
            prop_assert!(!kept.is_empty() && kept.len() as f64 >= (1.0 - MAX_REMOVED) * n as f64 - 0.5);
            prop_assert!(kept.is_sorted_by(|a, b| a < b) && *kept.last().unwrap() < n);
        }
        let again = setting.select(seed, &[limit(resource, share)], &options).unwrap();
        prop_assert_eq!(again, selected);
    }

    #[test]
    fn several_limits_all_hold_and_widths_are_multiples(
        widths in prop::collection::vec(5usize..70, 1..4),
        seed in 0u64..1000,
        params in 0.3f64..0.95,
        units in 0.3f64..0.95,
        multiple in 1usize..9,
        scope in scope(),
        whole_sets in any::<bool>(),
    ) {
        let setting = Setting::new(&widths);
        let options = SelectOptions { scope, multiple_of: Some(multiple), ..SelectOptions::default() };
        let limits = [limit(Resource::Params, params), limit(Resource::Units, units)];
        match setting.ranked(ranking(seed, &widths, whole_sets), &limits, &options) {
            Ok(selected) => {
                prop_assert!(setting.share(Resource::Params, &selected.choice.selection) <= params + 1e-12);
                if scope == Scope::Global {
                    prop_assert!(setting.share(Resource::Units, &selected.choice.selection) <= units + 1e-12);
                }
                for (kept, &n) in selected.choice.selection.kept.iter().zip(&widths) {
                    prop_assert!(n < multiple || kept.len() % multiple == 0, "{} of {}", kept.len(), n);
                }
            }
            // Multiples of small widths leave little choice.
            Err(error) => prop_assert!(matches!(error, SelectError::Unmeetable { .. }), "{}", error),
        }
    }

    #[test]
    fn on_a_tiny_model_no_choice_is_closer(
        widths in prop::collection::vec(2usize..9, 1..4),
        seed in 0u64..1000,
        resource in resource(),
        share in 0.2f64..0.95,
    ) {
        let setting = Setting::new(&widths);
        let options = SelectOptions { max_removed: 1.0, ..SelectOptions::default() };
        let closest = brute_force(&setting, &widths, resource, share);
        match setting.select(seed, &[limit(resource, share)], &options) {
            Ok(selected) => {
                let kept = setting.share(resource, &selected.choice.selection);
                let closest = closest.unwrap();
                // Within 1 % of the budget where units permit, and else the closest that there is.
                prop_assert!(kept >= (0.99 * share).min(closest) - 1e-9, "{} {} {}", kept, closest, share);
            }
            Err(_) => prop_assert!(closest.is_none()),
        }
    }
}

/// The largest share not above the budget of any choice of widths.
fn brute_force(setting: &Setting, widths: &[usize], resource: Resource, share: f64) -> Option<f64> {
    let mut closest = None;
    let mut kept = vec![1; widths.len()];
    loop {
        let selection = Selection { kept: kept.iter().map(|&n| (0..n).collect()).collect() };
        let own = setting.share(resource, &selection);
        if own <= share && closest.is_none_or(|c| own > c) {
            closest = Some(own);
        }
        let Some(at) = (0..widths.len()).find(|&i| kept[i] < widths[i]) else { return closest };
        kept[at] += 1;
        kept[..at].fill(1);
    }
}

#[test]
fn the_lowest_scores_go() {
    let setting = Setting::new(&[8, 8]);
    let scores: Vec<Vec<f64>> =
        vec![(0..8).map(f64::from).collect(), (0..8).map(|v| 7.5 - f64::from(v)).collect()];
    let costs = Costs::new(&setting.graph, &setting.coupling, &setting.sizes);
    let budget = Budget::new(vec![limit(Resource::Units, 0.5)]).unwrap();
    let chosen = |scope| {
        let options = SelectOptions { scope, ..SelectOptions::default() };
        let meter = Meter::new(&costs, &setting.coupling, &options);
        select(
            &setting.graph,
            &setting.coupling,
            &meter,
            &Ranking::Scores(scores.clone()),
            &budget,
            None,
            &options,
        )
        .unwrap()
        .choice
        .selection
        .kept
    };
    assert_eq!(chosen(Scope::Layer), [[4, 5, 6, 7], [0, 1, 2, 3]]);
    assert_eq!(chosen(Scope::Global), [[4, 5, 6, 7], [0, 1, 2, 3]]);
}

/// Two layers of eight channels, shuffled as ShuffleNet does: one layer behind reads channels 0 to 3 of both, another the rest.
fn shuffled() -> Graph {
    let weight = |rows: usize, columns: usize| {
        Tensor::from_slice(vec![rows, columns], &vec![0.5f32; rows * columns]).unwrap()
    };
    let numbers = |values: &[i64]| Tensor::from_slice(vec![values.len()], values).unwrap();
    let attribute = |name: &str, kind: AttributeType| AttributeProto {
        name: Some(name.into()),
        r#type: Some(kind.into()),
        ..AttributeProto::default()
    };
    let axis = AttributeProto { i: Some(1), ..attribute("axis", AttributeType::Int) };
    let perm = AttributeProto { ints: vec![0, 2, 1], ..attribute("perm", AttributeType::Ints) };
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "5"])
        .constant("left", &weight(5, 8))
        .constant("right", &weight(5, 8))
        .constant("first", &weight(8, 3))
        .constant("second", &weight(8, 3))
        .constant("pairs", &numbers(&[0, 2, 8]))
        .constant("flat", &numbers(&[0, 16]))
        .constant("halves", &numbers(&[8, 8]))
        .node("MatMul", &["x", "left"], &["l"])
        .node("MatMul", &["x", "right"], &["r"])
        .node_with("Concat", &["l", "r"], &["lr"], vec![axis.clone()])
        .node("Reshape", &["lr", "pairs"], &["two"])
        .node_with("Transpose", &["two"], &["turned"], vec![perm])
        .node("Reshape", &["turned", "flat"], &["mixed"])
        .node_with("Split", &["mixed", "halves"], &["p", "q"], vec![axis])
        .node("MatMul", &["p", "first"], &["a"])
        .node("MatMul", &["q", "second"], &["b"])
        .node("Add", &["a", "b"], &["y"]);
    Graph::from_model(model.output("y").build().unwrap()).unwrap()
}

#[test]
fn the_last_index_of_an_axis_stays_and_the_next_units_go_instead() {
    let graph = shuffled();
    let coupling = graph.coupling(&CouplingOptions::default());
    assert_eq!(coupling.groups.len(), 1);
    let costs = Costs::new(&graph, &coupling, &Bindings::from([("batch".into(), 1)]));
    let scores = vec![(0..8).map(f64::from).collect()];
    let budget = Budget::new(vec![limit(Resource::Units, 0.5)]).unwrap();
    for scope in [Scope::Layer, Scope::Global] {
        let options = SelectOptions { scope, ..SelectOptions::default() };
        let meter = Meter::new(&costs, &coupling, &options);
        let selected =
            select(&graph, &coupling, &meter, &Ranking::Scores(scores.clone()), &budget, None, &options)
                .unwrap();
        assert_eq!(selected.choice.selection.kept, [[3, 5, 6, 7]]);
    }
}

#[test]
fn a_budget_below_what_guards_leave_cannot_be_met() {
    let setting = Setting::new(&[40, 40]);
    let options = SelectOptions { max_removed: 0.5, scope: Scope::Layer, ..SelectOptions::default() };
    let error = setting.select(0, &[limit(Resource::Units, 0.3)], &options).unwrap_err();
    let SelectError::Unmeetable { nearest, .. } = &error else { panic!("{error}") };
    assert_eq!(nearest[0].share(), 0.5);
    assert!(error.to_string().contains("units=0.5"), "{error}");
    assert!(setting.select(0, &[limit(Resource::Units, 0.5)], &options).is_ok());
    let options = SelectOptions { scope: Scope::Global, ..options };
    let error = setting.select(0, &[limit(Resource::Params, 0.1)], &options).unwrap_err().to_string();
    assert!(error.contains("params=0.1 cannot be met; the nearest is params=0."), "{error}");
}

#[test]
fn the_nearest_budget_can_be_met() {
    for seed in 0..30 {
        let setting = Setting::new(&[5 + seed as usize % 7, 11, 4 + seed as usize % 3]);
        for resource in [Resource::Params, Resource::Macs, Resource::Bytes, Resource::Units] {
            for wanted in [limit(resource, 0.001), Limit { resource, amount: Amount::Absolute(2.0) }] {
                let options = SelectOptions::default();
                let error = setting.select(seed, &[wanted], &options).unwrap_err().to_string();
                let nearest =
                    error.split("the nearest is ").nth(1).and_then(|rest| rest.split(". At").next());
                let nearest: Limit = nearest.unwrap().parse().unwrap();
                assert!(setting.select(seed, &[nearest], &options).is_ok(), "{error}");
            }
        }
    }
}

#[test]
fn a_model_without_groups_has_nothing_to_prune() {
    let graph = dense(&[]);
    let coupling = graph.coupling(&CouplingOptions::default());
    let costs = Costs::new(&graph, &coupling, &Bindings::new());
    let budget = Budget::new(vec![limit(Resource::Params, 0.5)]).unwrap();
    let options = SelectOptions::default();
    let meter = Meter::new(&costs, &coupling, &options);
    let error =
        select(&graph, &coupling, &meter, &Ranking::Scores(Vec::new()), &budget, None, &options).unwrap_err();
    assert!(error.to_string().contains("'w0'"), "{error}");
}

#[test]
fn an_absolute_limit_is_met_as_its_share_is() {
    let setting = Setting::new(&[40, 40]);
    let all = Selection::all(&setting.coupling);
    for resource in [Resource::Params, Resource::Macs, Resource::Bytes, Resource::Units] {
        let amount = (0.4 * setting.value(resource, &all)).floor();
        let absolute = Limit { resource, amount: Amount::Absolute(amount) };
        let selected = setting.select(1, &[absolute], &SelectOptions::default()).unwrap();
        let reached = selected.reached[0];
        assert_eq!((reached.limit, reached.of), (absolute, setting.value(resource, &all)));
        assert_eq!(reached.kept, setting.value(resource, &selected.choice.selection));
        assert!(reached.kept <= amount && reached.kept >= 0.97 * amount, "{reached:?}");
    }
}

#[test]
fn what_the_model_already_meets_is_an_error_alone_and_holds_beside_others() {
    let setting = Setting::new(&[40, 40]);
    let bytes: Limit = "bytes=1MB".parse().unwrap();
    let error = setting.select(0, &[bytes], &SelectOptions::default()).unwrap_err();
    assert!(matches!(error, SelectError::AlreadyMet { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "the model already meets bytes=1MB (it has 8.0 kB); ask for less than it has"
    );
    let selected =
        setting.select(0, &[bytes, limit(Resource::Params, 0.5)], &SelectOptions::default()).unwrap();
    assert!(selected.reached[0].kept < 8e3 && selected.reached[1].share() <= 0.5);
    let tiny: Limit = "bytes=2B".parse().unwrap();
    let error = setting.select(0, &[tiny], &SelectOptions::default()).unwrap_err();
    assert!(error.to_string().contains("bytes=2B cannot be met; the nearest is bytes="), "{error}");
    let latency = setting.select(0, &["latency=3ms".parse().unwrap()], &SelectOptions::default());
    assert!(latency.unwrap_err().to_string().contains("has not been measured"));
}

/// All choices of kept units of two groups, at least one each.
fn subsets(widths: [usize; 2]) -> impl Iterator<Item = Vec<usize>> {
    let [first, second] = widths;
    (0..1usize << (first + second))
        .map(move |bits| (0..first + second).filter(|u| bits >> u & 1 == 1).collect())
        .filter(move |gone: &Vec<usize>| {
            let of_first = gone.iter().filter(|u| **u < first).count();
            of_first < first && gone.len() - of_first < second
        })
}

#[test]
fn sets_are_chosen_nearly_as_well_as_by_trying_all() {
    let widths = [6, 5];
    let setting = Setting::new(&widths);
    let units = widths[0] + widths[1];
    let options = SelectOptions { max_removed: 1.0, ..SelectOptions::default() };
    let share = 0.6;
    let (mut ratios, mut ratios_alone) = (Vec::new(), Vec::new());
    for seed in 0..40 {
        let rows = 8;
        let mut rng = Rng::new(seed, "factor", 0, 0);
        // Units share directions, so that some can stand in for others.
        let directions: Vec<f64> = (0..4 * rows).map(|_| rng.normal()).collect();
        let columns: Vec<f32> = (0..units)
            .flat_map(|_| {
                let mix: Vec<f64> = (0..4).map(|_| rng.normal()).collect();
                let noise: Vec<f64> = (0..rows).map(|_| 0.3 * rng.normal()).collect();
                let at = |row: usize| {
                    (0..4).map(|k| mix[k] * directions[k * rows + row]).sum::<f64>() + noise[row]
                };
                (0..rows).map(at).map(|x| x as f32).collect::<Vec<_>>()
            })
            .collect();
        let joint = Joint::of(columns, rows, units, Others::Scale);
        let change = |gone: &[usize]| {
            let mut joint = joint.clone();
            gone.iter().for_each(|&unit| joint.remove(unit));
            joint.change()
        };
        let gone_of = |selection: &Selection| -> Vec<usize> {
            let offsets = [0, widths[0]];
            let lost = |g: usize| (0..widths[g]).filter(move |u| !selection.kept[g].contains(u));
            (0..2).flat_map(|g| lost(g).map(move |u| offsets[g] + u)).collect()
        };
        let fits = |gone: &[usize]| {
            let kept =
                |from: usize, to: usize| (from..to).filter(|u| !gone.contains(u)).map(|u| u - from).collect();
            let selection = Selection { kept: vec![kept(0, widths[0]), kept(widths[0], units)] };
            setting.share(Resource::Params, &selection) <= share
        };
        let best =
            subsets(widths).filter(|gone| fits(gone)).map(|gone| change(&gone)).fold(f64::INFINITY, f64::min);
        let limits = [limit(Resource::Params, share)];
        let alone: Vec<f64> = (0..units).map(|unit| joint.increase(unit)).collect();
        let scores = vec![alone[..widths[0]].to_vec(), alone[widths[0]..].to_vec()];
        let chosen = setting.ranked(Ranking::Joint(joint.clone()), &limits, &options).unwrap();
        let chosen_alone = setting.ranked(Ranking::Scores(scores), &limits, &options).unwrap();
        for selected in [&chosen, &chosen_alone] {
            assert!(selected.reached[0].share() <= share);
        }
        ratios.push(change(&gone_of(&chosen.choice.selection)) / best);
        ratios_alone.push(change(&gone_of(&chosen_alone.choice.selection)) / best);
    }
    let mean = |ratios: &[f64]| ratios.iter().map(|r| r.ln()).sum::<f64>() / ratios.len() as f64;
    assert!(ratios.iter().all(|r| *r >= 1.0 - 1e-9), "{ratios:?}");
    assert!(mean(&ratios).exp() < 1.25, "{} {ratios:?}", mean(&ratios).exp());
    assert!(
        mean(&ratios_alone) > mean(&ratios) + 0.1,
        "{} {}",
        mean(&ratios_alone).exp(),
        mean(&ratios).exp()
    );
}

#[test]
fn units_count_for_more_the_fewer_of_their_group_are_left_where_layers_are_fitted() {
    let widths = [40, 60];
    let (setting, units) = (Setting::new(&widths), widths[0] + widths[1]);
    // Each unit has a direction of its own, and all change as much.
    let columns: Vec<f32> = (0..units * units).map(|i| f32::from(u8::from(i / units == i % units))).collect();
    let kept = |others: Others| {
        let ranking = Ranking::Joint(Joint::of(columns.clone(), units, units, others));
        let chosen = setting.ranked(ranking, &[limit(Resource::Units, 0.5)], &SelectOptions::default());
        chosen.unwrap().choice.selection.kept.iter().map(Vec::len).collect::<Vec<_>>()
    };
    assert_eq!(kept(Others::Scale), [20, 30]);
    // Without a fit nothing tells them apart, and the first group goes as far as it may.
    assert_eq!(kept(Others::Stay), [4, 46]);
}

#[test]
fn units_count_for_less_the_more_often_their_parameters_are_used_where_layers_are_fitted() {
    let weight = |shape: [usize; 2]| {
        let ones = vec![1f32; shape[0] * shape[1]];
        Tensor::from_slice([&shape[..], &[1, 1]].concat(), &ones).unwrap()
    };
    // One hidden layer sees the mean of eight positions, the other each of them.
    let model = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "3", "2", "4"])
        .constant("a", &weight([40, 3]))
        .constant("b", &weight([3, 40]))
        .constant("c", &weight([40, 3]))
        .constant("d", &weight([3, 40]))
        .node("GlobalAveragePool", &["x"], &["mean"])
        .node("Conv", &["mean", "a"], &["h"])
        .node("Relu", &["h"], &["i"])
        .node("Conv", &["i", "b"], &["y"])
        .node("Conv", &["x", "c"], &["k"])
        .node("Relu", &["k"], &["l"])
        .node("Conv", &["l", "d"], &["z"]);
    let graph = Graph::from_model(model.output("y").output("z").build().unwrap()).unwrap();
    let columns: Vec<f32> = (0..80 * 80).map(|i| f32::from(u8::from(i / 80 == i % 80))).collect();
    let kept = |others: Others, sizes: &[(&str, i64)]| {
        let sizes = sizes.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
        let coupling = graph.coupling(&CouplingOptions::default());
        let setting = Setting { graph: graph.clone(), coupling, sizes };
        let ranking = Ranking::Joint(Joint::of(columns.clone(), 80, 80, others));
        let chosen = setting.ranked(ranking, &[limit(Resource::Units, 0.5)], &SelectOptions::default());
        chosen.unwrap().choice.selection.kept.iter().map(Vec::len).collect::<Vec<_>>()
    };
    assert_eq!(kept(Others::Scale, &[("batch", 1)]), [32, 8]);
    assert_eq!(kept(Others::Scale, &[("batch", 8)]), [32, 8]);
    // At a size that is not bound nothing is known of that.
    assert_eq!(kept(Others::Scale, &[]), [20, 20]);
    assert_eq!(kept(Others::Stay, &[("batch", 1)]), [4, 36]);
}

#[test]
fn a_wide_layer_that_is_cheap_to_cut_leaves_multiples_elsewhere_alone() {
    // Taking four units of the second layer saves less than one step of the first leaves unused.
    let (widths, mut columns) = ([300, 100], Vec::new());
    for unit in 0..400 {
        let change = if unit < 300 { 0.01 } else { 1.0 };
        columns.extend((0..400).map(|row| if row == unit { change } else { 0f32 }));
    }
    let (setting, joint) = (Setting::new(&widths), Joint::of(columns, 400, 400, Others::Scale));
    let options = SelectOptions { multiple_of: Some(8), ..SelectOptions::default() };
    for share in [0.5, 0.99] {
        let limits = [limit(Resource::Params, share)];
        let chosen = setting.ranked(Ranking::Joint(joint.clone()), &limits, &options).unwrap();
        let kept = &chosen.choice.selection.kept;
        assert!(kept.iter().all(|kept| kept.len() % 8 == 0), "{share}: {} {}", kept[0].len(), kept[1].len());
    }
}

#[test]
fn a_latency_is_met_where_fewer_units_take_longer() {
    let setting = Setting::new(&[64]);
    let costs = Costs::new(&setting.graph, &setting.coupling, &setting.sizes);
    let options = SelectOptions::default();
    let latency = |remaining: &Remaining| {
        let width = remaining.units(0);
        width as f64 * if width % 16 == 0 { 1.0 } else { 1.5 }
    };
    let meter = Meter::new(&costs, &setting.coupling, &options).with_latency(&latency);
    let budget = Budget::new(vec![limit(Resource::Latency, 0.5)]).unwrap();
    for whole_sets in [true, false] {
        let ranking = ranking(1, &[64], whole_sets);
        let chosen =
            select(&setting.graph, &setting.coupling, &meter, &ranking, &budget, None, &options).unwrap();
        assert_eq!(chosen.choice.selection.kept[0].len(), 32);
    }
}

#[test]
fn the_nearest_latency_is_told_where_none_can_be_met() {
    let setting = Setting::new(&[64]);
    let costs = Costs::new(&setting.graph, &setting.coupling, &setting.sizes);
    let options = SelectOptions { max_removed: 0.7, ..SelectOptions::default() };
    let latency = |remaining: &Remaining| {
        let width = remaining.units(0);
        width as f64 * if width % 16 == 0 { 1.0 } else { 2.0 }
    };
    let meter = Meter::new(&costs, &setting.coupling, &options).with_latency(&latency);
    let nearest = |limits: &[Limit]| {
        let (budget, ranking) = (Budget::new(limits.to_vec()).unwrap(), ranking(1, &[64], true));
        match select(&setting.graph, &setting.coupling, &meter, &ranking, &budget, None, &options) {
            Err(SelectError::Unmeetable { nearest, .. }) => {
                nearest.iter().map(|reached| reached.share()).collect::<Vec<f64>>()
            }
            other => panic!("{other:?}"),
        }
    };
    // 19 units take longer than 32.
    assert_eq!(nearest(&[limit(Resource::Latency, 0.4)]), [0.5]);
    // What no choice meets says nothing of latency.
    assert!(nearest(&[limit(Resource::Latency, 0.9), limit(Resource::Units, 0.1)])[1] > 0.1);
}

#[test]
fn a_group_that_guards_keep_from_a_multiple_is_left_alone_where_its_share_allows() {
    let setting = Setting::new(&[15, 64]);
    let options = SelectOptions {
        scope: Scope::Layer,
        multiple_of: Some(8),
        max_removed: 0.3,
        ..SelectOptions::default()
    };
    // 8 of 15 are too few; 15 are the nearer of both to nine tenths, not to half.
    let chosen = setting.select(1, &[limit(Resource::Units, 0.9)], &options).unwrap();
    let kept = &chosen.choice.selection.kept;
    assert_eq!([kept[0].len(), kept[1].len()], [15, 56]);
    let refused = setting.select(1, &[limit(Resource::Units, 0.75)], &options);
    assert!(matches!(refused, Err(SelectError::Unmeetable { .. })), "{refused:?}");
}

#[test]
fn a_latency_in_blocks_is_met_nearly_as_well_as_by_trying_all_blocks() {
    const BLOCK: usize = 16;
    let (layers, width) = (5, 64);
    let setting = Setting::new(&vec![width; layers]);
    let costs = Costs::new(&setting.graph, &setting.coupling, &setting.sizes);
    let options = SelectOptions::default();
    // Layers after pooling cost less, and kernels for what is no whole block are slower.
    let milliseconds = |kept: &[usize]| -> f64 {
        let own = |width: usize| width as f64 * if width.is_multiple_of(BLOCK) { 1.0 } else { 1.2 };
        let widths = [BLOCK].iter().chain(kept).chain(&[BLOCK]).map(|&width| own(width));
        let widths: Vec<f64> = widths.collect();
        let areas = [16.0, 16.0, 4.0, 4.0, 1.0, 1.0];
        widths.windows(2).zip(areas).map(|(pair, area)| area * pair[0] * pair[1]).sum()
    };
    let latency = |remaining: &Remaining| {
        milliseconds(&(0..layers).map(|group| remaining.units(group)).collect::<Vec<_>>())
    };
    let whole = milliseconds(&vec![width; layers]);
    let mut ratios = Vec::new();
    for seed in 0..6 {
        let mut rng = Rng::new(seed, "worth", 0, 0);
        let layer: Vec<f64> = (0..layers).map(|_| rng.normal()).collect();
        let worth: Vec<f64> =
            (0..layers * width).map(|unit| (0.5 * layer[unit / width] + rng.normal()).exp()).collect();
        // Each unit has a direction of its own, so that changes add up.
        let units = worth.len();
        let at = |i: usize| if i / units == i % units { worth[i % units] as f32 } else { 0.0 };
        let joint = Joint::of((0..units * units).map(at).collect(), units, units, Others::Stay);
        let change = |kept: &[usize]| -> f64 {
            let cheapest = |(group, kept): (usize, &usize)| {
                let mut own: Vec<f64> = (0..width).map(|unit| joint.increase(group * width + unit)).collect();
                own.sort_by(f64::total_cmp);
                own[..width - kept].iter().sum::<f64>()
            };
            kept.iter().enumerate().map(cheapest).sum()
        };
        let ranking = Ranking::Joint(joint.clone());
        for share in [0.3, 0.5, 0.7] {
            let blocks = width / BLOCK;
            let best = (0..blocks.pow(layers as u32))
                .map(|n| (0..layers).map(|l| BLOCK * (1 + n / blocks.pow(l as u32) % blocks)).collect())
                .filter(|kept: &Vec<usize>| milliseconds(kept) <= share * whole)
                .map(|kept| change(&kept))
                .fold(f64::INFINITY, f64::min);
            let meter = Meter::new(&costs, &setting.coupling, &options).with_latency(&latency);
            let budget = Budget::new(vec![limit(Resource::Latency, share)]).unwrap();
            let chosen = select(&setting.graph, &setting.coupling, &meter, &ranking, &budget, None, &options);
            let kept: Vec<usize> = chosen.unwrap().choice.selection.kept.iter().map(Vec::len).collect();
            assert!(milliseconds(&kept) <= share * whole);
            ratios.push(change(&kept) / best);
        }
    }
    let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
    assert!(mean < 1.3, "{mean} {ratios:?}");
}

#[test]
fn what_has_gone_goes_beyond_guards_and_shares() {
    let setting = Setting::new(&[20]);
    let budget = [limit(Resource::Units, 0.9)];
    let kept = |dead: usize, scope: Scope, whole_sets: bool| {
        let fixed = Fixed { gone: vec![(0..dead).collect()], stay: Vec::new() };
        let options = SelectOptions { scope, fixed, ..SelectOptions::default() };
        let chosen = setting.ranked(ranking(1, &[20], whole_sets), &budget, &options).unwrap();
        chosen.choice.selection.kept[0].clone()
    };
    for (scope, whole_sets) in [Scope::Global, Scope::Layer].into_iter().flat_map(|s| [(s, false), (s, true)])
    {
        assert_eq!(kept(5, scope, whole_sets), (5..20).collect::<Vec<_>>(), "{scope:?}");
        assert_eq!(kept(19, scope, whole_sets), [19], "{scope:?}");
    }
}
