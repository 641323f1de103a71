//! Calls to try every recurrent op with: 4 steps, a batch of 3, 5 inputs, 6 hidden units.

use super::Form;
use crate::harness::Case;
use secateurs_onnx::Tensor;

/// A layer with X, W and R.
pub(in crate::ops) fn layer(form: &Form, opset: i64, directions: i64) -> Case {
    let rows = form.gates * 6;
    let case = Case::new(opset).float([4, 3, 5]).param([directions, rows, 5]).param([directions, rows, 6]);
    let case = case.attr("hidden_size", 6i64);
    if directions == 2 { case.attr("direction", "bidirectional") } else { case }
}

/// The same with biases.
pub(in crate::ops) fn biased(form: &Form, opset: i64, directions: i64) -> Case {
    layer(form, opset, directions).param([directions, 2 * form.gates * 6])
}

/// With the lengths of the sequences.
pub(in crate::ops) fn lengths() -> Tensor {
    Tensor::from_slice(vec![3], &[2i32, 4, 1]).unwrap()
}

/// All functions. One that takes numbers comes first and one that grows comes last, where it is no gate.
const FUNCTIONS: [&str; 12] = [
    "ThresholdedRelu",
    "HardSigmoid",
    "LeakyRelu",
    "Softsign",
    "Sigmoid",
    "Elu",
    "ScaledTanh",
    "Relu",
    "Affine",
    "Tanh",
    "Sigmoid",
    "Softplus",
];

/// An attribute of functions.
pub(in crate::ops) fn named(case: Case, names: &[&str]) -> Case {
    case.attr("activations", names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
}

/// Cases of the attributes and inputs that all recurrent ops have.
pub(in crate::ops) fn common(form: &Form) -> Vec<Case> {
    let all = |case: Case| case.outputs(1 + form.states);
    let states = |case: Case, shape: [i64; 3]| (0..form.states).fold(case, |case, _| case.float(shape));
    let batch_first = |directions: i64| {
        let rows = form.gates * 6;
        let case = Case::new(14).float([3, 4, 5]).param([directions, rows, 5]).param([directions, rows, 6]);
        all(case.param([directions, 2 * rows]).attr("layout", 1i64).without_runtime())
    };
    let fed = || {
        let rows = form.gates * 6;
        Case::new(7).float([4, 3, 5]).float([1, rows, 5]).float([1, rows, 6]).float([1, 2 * rows])
    };
    let small = || Case::new(22).float([1, 1, 1]).param([1, form.gates, 1]).param([1, form.gates, 1]);
    let mut cases = vec![
        layer(form, 7, 1),
        all(biased(form, 22, 1)),
        all(states(biased(form, 14, 1).fed(lengths()), [1, 3, 6])),
        all(biased(form, 14, 1).constant(lengths()).attr("direction", "reverse")),
        all(states(layer(form, 14, 1).absent().absent(), [1, 3, 6])).attr("direction", "reverse"),
        all(biased(form, 14, 2)),
        all(states(biased(form, 7, 2).fed(lengths()), [2, 3, 6])),
        all(fed()).attr("hidden_size", 6i64),
        // ONNX Runtime wants hidden_size.
        fed().without_runtime(),
        biased(form, 14, 1).attr("clip", 0.5f32),
        batch_first(1).attr("hidden_size", 6i64),
        states(batch_first(2).fed(lengths()), [3, 2, 6]).attr("direction", "bidirectional"),
        all(small()).attr("hidden_size", 1i64),
        // The standard's default is that of the op `ThresholdedRelu`, ONNX Runtime's is 0; they also part on `Affine` and
        // `ScaledTanh`.
        named(layer(form, 14, 1), &["ThresholdedRelu"].repeat(form.activations.len())).without_runtime(),
    ];
    let each = 2 * form.activations.len();
    let numbers = |first: f32| (0..each).map(|i| first + 0.2 * i as f32).collect::<Vec<_>>();
    let groups = |names: &'static [&'static str]| {
        names.chunks(each).map(move |group| {
            let names: Vec<&str> = group.iter().cycle().take(each).copied().collect();
            named(biased(form, 14, 2), &names)
        })
    };
    cases.extend(groups(&["HardSigmoid", "LeakyRelu", "Sigmoid", "Elu"]));
    let numbered = groups(&FUNCTIONS).map(|case| case.attr("activation_alpha", numbers(0.3)));
    cases.extend(numbered.map(|case| case.attr("activation_beta", numbers(0.1))));
    cases
}
