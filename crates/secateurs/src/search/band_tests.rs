//! Choices with implants meet their budgets exactly as built, and are taken where they are predicted to change less.

use proptest::prelude::*;
use secateurs_graph::GraphError;
use secateurs_graph::coupling::Costs;
use secateurs_graph::surgery::Form;

use super::tests::{Setting, limit};
use super::*;
use crate::evidence::{Joint, Others};
use crate::implants::{Explained, ExplainedForm, ImplantShare};
use crate::plan::node_name;
use crate::rng::Rng;

/// What low ranks make of the rows of a model: the residual falls by `power` of the rank.
fn explained(setting: &Setting, power: f64) -> Vec<Explained> {
    let ranks: Vec<usize> = vec![1, 2, 4, 8, 16];
    let of = |site: secateurs_graph::surgery::Site| {
        let rows = site.rows.rows;
        let residual = (0..rows).flat_map(|_| ranks.iter().map(|rank| (*rank as f64).powf(-power)));
        Explained {
            node: node_name(&setting.graph, site.node),
            form: ExplainedForm::LowRank(ranks.clone()),
            energy: vec![1.0; rows],
            residual: residual.collect(),
        }
    };
    setting.coupling.sites(&setting.graph).into_iter().map(of).collect()
}

fn joint(units: usize, seed: u64) -> Joint {
    let mut rng = Rng::new(seed, "band", 0, 0);
    Joint::of((0..24 * units).map(|_| rng.normal() as f32).collect(), 24, units, Others::Scale)
}

fn choose(
    setting: &Setting,
    ranking: &Ranking,
    explained: &[Explained],
    share: ImplantShare,
    wanted: Limit,
) -> Selected {
    let options = SelectOptions::default();
    let costs = Costs::new(&setting.graph, &setting.coupling, &setting.sizes);
    let meter = Meter::new(&costs, &setting.coupling, &options);
    let places = Places::new(&setting.graph, &setting.coupling, explained);
    let band = Band { share, places: &places };
    let budget = Budget::new(vec![wanted]).unwrap();
    select(&setting.graph, &setting.coupling, &meter, ranking, &budget, Some(&band), &options).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_choice_with_implants_costs_what_is_counted(
        widths in prop::collection::vec(8usize..48, 1..4),
        seed in 0u64..1000,
        power in 0.0f64..4.0,
        kept in 0.3f64..0.8,
        resource in prop_oneof![Just(Resource::Params), Just(Resource::Macs), Just(Resource::Bytes)],
        share in prop_oneof![Just(ImplantShare::Auto), (0.05f64..1.0).prop_map(ImplantShare::Share)],
        scored in any::<bool>(),
    ) {
        let setting = Setting::new(&widths);
        let explained = explained(&setting, power);
        let units = widths.iter().sum();
        let mut rng = Rng::new(seed, "scores", 0, 0);
        let mut scores = || widths.iter().map(|n| (0..*n).map(|_| rng.normal().abs()).collect()).collect();
        let ranking = if scored { Ranking::Scores(scores()) } else { Ranking::Joint(joint(units, seed)) };
        let wanted = limit(resource, kept);
        let selected = choose(&setting, &ranking, &explained, share, wanted);
        let choice = &selected.choice;
        let implanted: usize = choice.implanted.iter().map(Vec::len).sum();
        for (kept, implanted) in choice.selection.kept.iter().zip(&choice.implanted) {
            prop_assert!(implanted.is_sorted() && implanted.iter().all(|unit| kept.binary_search(unit).is_ok()));
        }
        let carried = setting
            .coupling
            .carry_out(&setting.graph, choice, |_| Ok::<_, GraphError>(None))
            .unwrap();
        let cost = carried.graph.cost();
        let built = match resource {
            Resource::Macs => cost.macs.bind(&setting.sizes).known().unwrap() as f64,
            Resource::Bytes => cost.bytes as f64,
            _ => cost.params as f64,
        };
        let reached = selected.reached[0];
        prop_assert_eq!(reached.kept, built);
        prop_assert!(reached.kept <= wanted.allowed(reached.of) * (1.0 + 1e-12));
        if let ImplantShare::Share(share) = share {
            let gone: usize = widths.iter().zip(&choice.selection.kept).map(|(n, kept)| n - kept.len()).sum();
            prop_assert!(implanted as f64 <= share * (gone + implanted) as f64 + 1.0);
        }
        if !scored {
            let plain = choose(&setting, &ranking, &explained, ImplantShare::None, wanted);
            let (with, without) = (selected.predicted.unwrap(), plain.predicted.unwrap());
            prop_assert!(share != ImplantShare::Auto || with <= without, "{with} {without}");
            prop_assert_eq!(with < without && share == ImplantShare::Auto, implanted > 0 && share == ImplantShare::Auto);
        } else if share == ImplantShare::Auto {
            prop_assert_eq!(implanted, 0);
        }
    }
}

#[test]
fn implants_that_make_all_are_taken_and_those_that_make_nothing_are_not() {
    let setting = Setting::new(&[32, 32]);
    let wanted = limit(Resource::Params, 0.5);
    let implanted = |power: f64| {
        let ranking = Ranking::Joint(joint(64, 3));
        let selected = choose(&setting, &ranking, &explained(&setting, power), ImplantShare::Auto, wanted);
        let low = |form: &secateurs_graph::surgery::NodeForm| matches!(form.form, Form::LowRank { rank } if rank > 0);
        assert!(selected.choice.forms.iter().all(low));
        selected.choice.implanted.iter().map(Vec::len).sum::<usize>()
    };
    assert!(implanted(8.0) > 0);
    assert_eq!(implanted(0.0), 0);
}

#[test]
fn small_layers_with_implants_come_close_to_the_budget() {
    // Their rows go together or not at all.
    for seed in 0..40 {
        let setting = Setting::new(&[8 + seed as usize % 9, 12, 10]);
        let ranking =
            Ranking::Joint(joint(setting.coupling.groups.iter().map(|g| g.units.len()).sum(), seed));
        let wanted = limit(Resource::Params, 0.5);
        let share = ImplantShare::Share(0.5);
        let selected = choose(&setting, &ranking, &explained(&setting, 2.0), share, wanted);
        assert!(selected.reached[0].share() > 0.45, "{seed}: {:?}", selected.reached);
    }
}
