//! Whole nets: units pruned and implanted at random.

use secateurs_graph::GraphError;
use secateurs_graph::coupling::{Costs, CouplingOptions, Remaining, Selection};
use secateurs_graph::surgery::{Choice, Form, NodeForm};

use crate::choice;
use crate::layers::difference;
use crate::net::{self, Model, Net};
use crate::rng::Rng;

/// Tries random choices; the most gathers and slices that one needed.
fn check(model: &Model) -> [usize; 2] {
    let (graph, coupling) = (&model.graph, model.coupling());
    let (mut most, mut tried) = ([0; 2], 0);
    for seed in 0..10 {
        let mut rng = Rng::new(seed);
        let all = Selection::all(&coupling);
        let selection = if seed % 4 == 0 { all.clone() } else { net::random(&coupling, seed) };
        let Some(choice) = choice::random(graph, &coupling, &selection, &mut rng) else { continue };
        let carried = coupling
            .carry_out(graph, &choice, |request| {
                Ok::<_, GraphError>(Some(choice::random_start(request, &mut rng)))
            })
            .unwrap();
        let mut costs = Costs::new(graph, &coupling, &Default::default());
        costs.set_forms(&choice.forms).unwrap();
        let remaining = Remaining::of_choice(&coupling, &choice);
        let (params, macs, got) = (costs.params(&remaining), costs.macs(&remaining), carried.graph.cost());
        assert_eq!((params, macs), (got.params, got.macs), "seed {seed}: {choice:?}\n{:?}", carried.graph);
        for batch in [2, 3] {
            let feed = model.feed(batch);
            let (found, expected) = (net::run(&carried.graph, &feed), net::run(&carried.masked, &feed));
            let by = difference(&found, &expected);
            assert!(by <= 1e-9, "seed {seed} differs by {by:e}: {choice:?}\n{:?}", carried.graph);
        }
        // The twin of the same choice without its implants is something else.
        let mut plain = (**graph).clone();
        coupling.masking(graph, &choice.selection).unwrap().apply(&mut plain).unwrap();
        let feed = model.feed(2);
        assert!(difference(&net::run(&plain, &feed), &net::run(&carried.masked, &feed)) > 1e-9);
        most = [most[0].max(carried.gathers), most[1].max(carried.slices)];
        tried += 1;
    }
    assert!(tried > 3, "only {tried} choices implant something");
    most
}

fn residual() -> Model {
    Net::new(17)
        .input("x", &[0, 3, 7, 7])
        .conv("x", "stem", [6, 3], 3, 1, "s")
        .batch_norm("s", "bn", 6, "n")
        .node("Relu", &["n"], "a")
        .conv("a", "conv1", [8, 6], 3, 1, "b")
        .node("Relu", &["b"], "c")
        .conv("c", "conv2", [6, 8], 3, 1, "d")
        .node("Add", &["a", "d"], "e")
        .conv("e", "last", [4, 6], 1, 1, "f")
        .node("GlobalAveragePool", &["f"], "g")
        .done(&["g"])
}

#[test]
fn residual_nets_need_no_gathers() {
    assert_eq!(check(&residual()), [0, 0]);
}

#[test]
fn depthwise_convolutions_follow_and_read_their_own_channels() {
    let model = Net::new(13)
        .input("x", &[0, 3, 6, 6])
        .conv("x", "expand", [8, 3], 1, 1, "a")
        .batch_norm("a", "bn", 8, "n")
        .node("Relu", &["n"], "b")
        .conv("b", "depthwise", [8, 1], 3, 8, "c")
        .node("Relu", &["c"], "d")
        .conv("d", "project", [5, 8], 1, 1, "e")
        .node("Relu", &["e"], "f")
        .conv("f", "last", [4, 5], 3, 1, "g")
        .done(&["g"]);
    let [gathers, slices] = check(&model);
    assert_eq!(gathers, 0);
    assert!(slices <= 2, "{slices}");
}

#[test]
fn concatenated_parts_are_put_in_order_each() {
    let model = Net::new(17)
        .input("x", &[0, 4, 5, 5])
        .conv("x", "stem", [6, 4], 3, 1, "s")
        .conv("s", "grow1", [4, 6], 3, 1, "a")
        .with("Concat", &["s", "a"], &["sa"], vec![net::int("axis", 1)])
        .batch_norm("sa", "bn", 10, "n")
        .node("Relu", &["n"], "r")
        .conv("r", "grow2", [4, 10], 3, 1, "b")
        .with("Concat", &["sa", "b"], &["sab"], vec![net::int("axis", 1)])
        .conv("sab", "last", [3, 14], 1, 1, "y")
        .done(&["y"]);
    assert_eq!(check(&model), [0, 0]);
}

#[test]
fn grouped_convolutions_fall_back_to_gathers() {
    let model = Net::new(17)
        .input("x", &[0, 4, 5, 5])
        .conv("x", "stem", [8, 4], 3, 1, "a")
        .node("Relu", &["a"], "b")
        .conv("b", "grouped", [8, 2], 3, 4, "c")
        .node("Relu", &["c"], "d")
        .conv("d", "last", [3, 8], 1, 1, "y")
        .done(&["y"]);
    check(&model);
    let model = model.inner();
    check(&model);
}

#[test]
fn shuffled_channels_are_exact() {
    let model = Net::new(17)
        .input("x", &[0, 4, 5, 5])
        .conv("x", "stem", [8, 4], 3, 1, "a")
        .reshape("a", &[-1, 2, 4, 5, 5], "b")
        .transpose("b", &[0, 2, 1, 3, 4], "c")
        .reshape("c", &[-1, 8, 5, 5], "d")
        .conv("d", "depthwise", [8, 1], 3, 8, "e")
        .conv("e", "last", [3, 8], 1, 1, "y")
        .done(&["y"]);
    check(&model);
}

#[test]
fn a_bias_that_exporters_compute_from_the_size_of_the_weight_is_known() {
    // PyTorch's dynamo exporter writes `bias=False` so.
    let pads = || vec![net::ints("pads", &[1, 1, 1, 1])];
    let model = Net::new(17)
        .input("x", &[0, 4, 5, 5])
        .param("stem.weight", &[8, 4, 3, 3])
        .ints("first", &[0])
        .ints("second", &[1])
        .number("zero", 0.25)
        .node("Shape", &["stem.weight"], "sizes")
        .node("Slice", &["sizes", "first", "second"], "rows")
        .node("Expand", &["zero", "rows"], "bias")
        .with("Conv", &["x", "stem.weight", "bias"], &["a"], pads())
        .batch_norm("a", "bn", 8, "n")
        .node("Relu", &["n"], "b")
        .conv("b", "last", [3, 8], 1, 1, "y")
        .done(&["y"]);
    assert_eq!(check(&model), [0, 0]);
}

#[test]
fn feed_forward_layers_get_pairs_of_low_rank() {
    let model = Net::new(17)
        .input("x", &[0, 5, 6])
        .dense("x", "up", [6, 10], "a")
        .node("Relu", &["a"], "b")
        .dense("b", "down", [10, 6], "c")
        .node("Add", &["x", "c"], "d")
        .dense("d", "head", [6, 3], "y")
        .done(&["y"]);
    assert_eq!(check(&model), [0, 0]);
}

#[test]
fn a_weight_of_two_layers_is_counted_for_both() {
    let model = Net::new(17)
        .input("x", &[0, 4, 5, 5])
        .conv("x", "stem", [6, 4], 3, 1, "s")
        .param("w", &[6, 6, 3, 3])
        .with("Conv", &["s", "w"], &["a"], vec![net::ints("pads", &[1; 4])])
        .node("Relu", &["a"], "b")
        .with("Conv", &["b", "w"], &["c"], vec![net::ints("pads", &[1; 4])])
        .conv("c", "last", [3, 6], 1, 1, "y")
        .done(&["y"]);
    assert_eq!(check(&model)[0], 0);
}

#[test]
fn what_cannot_be_implanted_says_why() {
    let model = Net::new(17)
        .input("x", &[0, 4, 5, 5])
        .param("w", &[4, 6, 3, 3])
        .with("ConvTranspose", &["x", "w"], &["a"], vec![])
        .node("Relu", &["a"], "b")
        .param("v", &[6, 4, 3, 3])
        .with("ConvTranspose", &["b", "v"], &["y"], vec![])
        .done(&["y"]);
    let coupling = model.graph.coupling(&CouplingOptions::default());
    assert!(coupling.sites(&model.graph).is_empty());
    let why = coupling.why_no_sites(&model.graph);
    assert!(why.contains("no place for implants"), "{why}");
    let node = model.graph.order[0];
    let selection = Selection::all(&coupling);
    let forms = vec![NodeForm { node, form: Form::Pointwise, bias: false }];
    let implanted = selection.kept.clone();
    let choice = Choice { selection, implanted, forms };
    let error = coupling.carry_out(&model.graph, &choice, |_| Ok::<_, GraphError>(None)).unwrap_err();
    assert!(
        error.to_string().contains("(ConvTranspose) cannot be implanted: it does not compute"),
        "{error}"
    );
}
