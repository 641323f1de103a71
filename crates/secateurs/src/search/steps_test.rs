//! Choices that go on from earlier ones, and what smaller models cost and change.

use proptest::prelude::*;
use secateurs_graph::coupling::{Costs, Coupling, CouplingOptions};
use secateurs_graph::{Bindings, Graph};

use super::{
    Budget, Fixed, Limit, Meter, Ranking, Resource, Scope, SelectError, SelectOptions, Selected, frontier,
    select,
};
use crate::evidence::{GoneSet, Joint, Others};
use crate::rng::Rng;

struct Net {
    graph: Graph,
    coupling: Coupling,
}

impl Net {
    fn new(widths: &[usize]) -> Net {
        let graph = super::tests::dense(widths);
        let coupling = graph.coupling(&CouplingOptions::default());
        Net { graph, coupling }
    }

    fn with_meter<T>(&self, options: &SelectOptions, then: impl FnOnce(&Meter) -> T) -> T {
        let sizes = Bindings::from([("batch".into(), 1)]);
        let costs = Costs::new(&self.graph, &self.coupling, &sizes);
        then(&Meter::new(&costs, &self.coupling, options))
    }

    fn select(
        &self,
        ranking: &Ranking,
        limit: Limit,
        options: &SelectOptions,
    ) -> Result<Selected, SelectError> {
        let budget = Budget::new(vec![limit]).unwrap();
        self.with_meter(options, |meter| {
            select(&self.graph, &self.coupling, meter, ranking, &budget, None, options)
        })
    }
}

fn joint(seed: u64, units: usize) -> Joint {
    let (rows, mut rng) = (12, Rng::new(seed, "columns", 0, 0));
    Joint::of((0..rows * units).map(|_| rng.normal() as f32).collect(), rows, units, Others::Scale)
}

pub(super) fn ranking(seed: u64, widths: &[usize], whole_sets: bool) -> Ranking {
    let units = widths.iter().sum();
    if whole_sets {
        return Ranking::Joint(joint(seed, units));
    }
    let mut rng = Rng::new(seed, "scores", 0, 0);
    Ranking::Scores(widths.iter().map(|&n| (0..n).map(|_| rng.uniform()).collect()).collect())
}

/// The units of each group that go in a choice.
fn gone(widths: &[usize], selected: &Selected) -> Vec<Vec<usize>> {
    let groups = widths.iter().zip(&selected.choice.selection.kept);
    groups.map(|(&n, kept)| (0..n).filter(|unit| !kept.contains(unit)).collect()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_has_gone_stays_gone_and_what_is_to_stay_stays(
        widths in prop::collection::vec(16usize..48, 1..4),
        seed in 0u64..1000,
        share in 0.3f64..0.9,
        further in 0.7f64..0.95,
        whole_sets in any::<bool>(),
        multiple in prop_oneof![Just(None), Just(Some(4usize))],
    ) {
        let net = Net::new(&widths);
        let options = SelectOptions { multiple_of: multiple, max_removed: 0.95, ..SelectOptions::default() };
        let limit = |share| Limit::share(Resource::Macs, share);
        let first = net.select(&ranking(seed, &widths, whole_sets), limit(share), &options).unwrap();
        // One unit of every group that is left is not to go.
        let stay: Vec<Vec<usize>> = first.choice.selection.kept.iter().map(|kept| kept[..1].to_vec()).collect();
        let fixed = Fixed { gone: gone(&widths, &first), stay: stay.clone() };
        let next = SelectOptions { fixed, ..options.clone() };
        let reached = first.reached[0].share();
        // All else is ranked anew.
        let again = ranking(seed + 1, &widths, whole_sets);
        let second = match net.select(&again, limit(reached * further), &next) {
            Ok(second) => second,
            // With what is to stay and whole multiples so little cannot be met.
            Err(SelectError::Unmeetable { .. }) => return Ok(()),
            Err(error) => panic!("{error}"),
        };
        for ((before, after), stay) in first.choice.selection.kept.iter().zip(&second.choice.selection.kept).zip(&stay) {
            prop_assert!(after.iter().all(|unit| before.contains(unit)), "{before:?} {after:?}");
            prop_assert!(after.contains(&stay[0]));
        }
        prop_assert!(second.reached[0].share() <= reached);
    }

    #[test]
    fn the_frontier_ends_beyond_the_choice_and_predicts_it(
        widths in prop::collection::vec(6usize..20, 1..3),
        seed in 0u64..1000,
        share in 0.3f64..0.9,
        whole_sets in any::<bool>(),
    ) {
        let (net, options) = (Net::new(&widths), SelectOptions::default());
        let limit = Limit::share(Resource::Params, share);
        let selected = net.select(&ranking(seed, &widths, whole_sets), limit, &options).unwrap();
        let joint = joint(seed, widths.iter().sum());
        let (found, chosen) = net.with_meter(&options, |meter| {
            frontier(&net.coupling, meter, joint.clone(), &selected, &[limit])
        });
        let kept = &found.kept["params"];
        prop_assert!(kept.len() == found.change.len() && kept.len() == found.removed.len() && kept.len() <= 48);
        prop_assert!(kept[0] == 1.0 && found.removed[0] == 0 && found.change[0].abs() < 1e-12);
        prop_assert!(kept.is_sorted_by(|a, b| a > b) && found.removed.is_sorted_by(|a, b| a < b));
        prop_assert!(*kept.last().unwrap() <= selected.reached[0].share() + 1e-9);
        // What goes in sum, whatever the order.
        let mut set = GoneSet::new(joint);
        let mut offset = 0;
        for (units, &n) in gone(&widths, &selected).iter().zip(&widths) {
            units.iter().rev().for_each(|unit| set.add(offset + unit));
            offset += n;
        }
        prop_assert!((set.change() - chosen).abs() <= 1e-6 * chosen.max(1e-6), "{} {}", set.change(), chosen);
    }
}

#[test]
fn with_scope_layer_all_groups_keep_the_same_share_after_a_step_too() {
    let widths = [20, 40];
    let net = Net::new(&widths);
    let options = SelectOptions { scope: Scope::Layer, ..SelectOptions::default() };
    let first =
        net.select(&ranking(1, &widths, false), Limit::share(Resource::Units, 0.7), &options).unwrap();
    let fixed = Fixed { gone: gone(&widths, &first), stay: Vec::new() };
    let next = SelectOptions { fixed, ..options };
    let second = net.select(&ranking(2, &widths, false), Limit::share(Resource::Units, 0.5), &next).unwrap();
    assert_eq!(second.choice.selection.kept.iter().map(Vec::len).collect::<Vec<_>>(), [10, 20]);
    for (before, after) in first.choice.selection.kept.iter().zip(&second.choice.selection.kept) {
        assert!(after.iter().all(|unit| before.contains(unit)));
    }
}
