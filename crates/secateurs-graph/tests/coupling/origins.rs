//! Units of smaller models are found again in the original. That they go as what they were is held by every exact model here.

use crate::net::{Model, Net, random};

/// How many units a smaller model has, and of how many it is told what they were; the original's numbers ascend with their own.
fn found(model: &Model, seed: u64) -> (usize, usize) {
    let coupling = model.coupling();
    let kept = random(&coupling, seed);
    let (_, own, origins) = model.origins(&coupling, &kept);
    for units in &origins {
        let known: Vec<(usize, usize)> = units.iter().flatten().copied().collect();
        assert!(known.is_sorted(), "{known:?}");
    }
    (own.groups.iter().map(|group| group.units.len()).sum(), origins.iter().flatten().flatten().count())
}

#[test]
fn all_channels_of_a_residual_net_are_found_again() {
    let model = Net::new(17)
        .input("x", &[0, 3, 6, 6])
        .conv("x", "a", [12, 3], 3, 1, "a")
        .batch_norm("a", "bn", 12, "n")
        .node("Relu", &["n"], "r")
        .conv("r", "b", [9, 12], 3, 1, "b")
        .conv("b", "c", [12, 9], 1, 1, "c")
        .node("Add", &["r", "c"], "s")
        .conv("s", "head", [2, 12], 1, 1, "y")
        .done(&["y"]);
    for seed in 0..4 {
        let (units, known) = found(&model, seed);
        assert!(units > 2 && known == units, "{known} of {units}");
    }
}

#[test]
fn heads_that_are_left_are_found_again_and_dimensions_of_a_lone_one_are_not_taken_for_it() {
    let model = Net::new(18)
        .input("x", &[0, 5, 6])
        .attention("x", 6, 8, "merged")
        .dense("merged", "o", [16, 3], "y")
        .done(&["y"]);
    let coupling = model.coupling();
    assert_eq!(coupling.groups.len(), 1);
    for seed in 0..4 {
        let heads = random(&coupling, seed).kept[0].len();
        let (units, known) = found(&model, seed);
        assert!(heads < 2 || (units, known) == (heads, heads), "{known} of {units}");
    }
    let mut kept = random(&coupling, 0);
    kept.kept[0] = vec![5];
    let (_, own, origins) = model.origins(&coupling, &kept);
    let whole = |g: usize, u: usize| {
        own.groups[g].parameters.iter().all(|p| own.groups[g].units[u].indices(p).len() == 2)
    };
    for (g, units) in origins.iter().enumerate() {
        for (u, origin) in units.iter().enumerate() {
            assert!(origin.is_none() || whole(g, u), "dimension {u} of group {g} is no head");
        }
    }
}
