//! Variants of ops that few exporters write.

use crate::net::{Net, int};

#[test]
fn a_product_of_transposed_batches_is_pruned_as_any_other() {
    // [b, t, i], whose tokens are the batches, · [t, i, o] → [t, b, o].
    let model = Net::new(17)
        .input("x", &[0, 3, 4])
        .dense("x", "a", [4, 6], "h")
        .param("w", &[3, 6, 5])
        .with("com.microsoft::FusedMatMul", &["h", "w"], &["f"], vec![int("transBatchA", 1)])
        .dense("f", "b", [5, 2], "y")
        .done(&["y"]);
    assert_eq!(
        model.exact().groups(),
        ["6 channel: a.weight[1] a.bias[0] w[1]", "5 channel: w[2] b.weight[0]"]
    );
}
