//! What pruning removes of the zoo, and what bars the rest.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

/// More names of a kind are written as one pattern and their number.
const MOST_NAMES: usize = 2;

pub fn section(models: &[Value]) -> String {
    let mut page = String::from(
        "\n## Pruning the zoo\n\nEvery model pruned to half of the units of every group that can be pruned exactly \
         (`--keep units=0.5 --scope layer --method random`), with five seeds, of which the one that removes least is \
         shown. Every smaller file passes ONNX's checker and equals its masked twin at batch sizes 2 and 3, in the \
         interpreter in 64 bits within 1e-9 and in ONNX Runtime (graph optimisations off) within 1e-4 of the output's \
         largest value; both notice one wrong unit. MACs are at batch 1.\n\n\
         | model | parameters | removed | MACs | removed | units of groups | largest difference in 64 bits | in ONNX Runtime |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for model in models {
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        let removed = |of: &Value| 100.0 * (1.0 - number(&of[1]) / number(&of[0]));
        let groups = model["groups"].as_object().into_iter().flatten();
        let groups: Vec<String> =
            groups.map(|(kind, of)| format!("{} {kind}{} in {}", of[1], plural(&of[1]), of[0])).collect();
        let _ = writeln!(
            page,
            "| {} | {} | {:.1} % | {} | {:.1} % | {} | {:.1e} | {:.1e} |",
            name(model),
            model["parameters"][0],
            removed(&model["parameters"]),
            model["macs"][0],
            removed(&model["macs"]),
            groups.join(", "),
            number(&model["difference_double"]),
            number(&model["difference"]),
        );
    }
    page.push_str(
        "\n### What cannot be pruned, and why\n\nAn axis of a parameter, as `weight[0]`, is blocked where no index of it can be \
         removed. A group is inexact where removing units changes what the others compute; `--allow-inexact` prunes it. Many \
         names of a kind are one pattern: `layer*.weight[2]` ×9.\n",
    );
    for model in models {
        page.push_str(&reasons(model));
    }
    page
}

fn reasons(model: &Value) -> String {
    let blocked = grouped(model["blocked"].as_array().into_iter().flatten().map(|axis| {
        (&axis["reason"], format!("{}[{}]", axis["parameter"].as_str().unwrap_or_default(), axis["axis"]))
    }));
    let total: usize = blocked.iter().map(|(_, axes)| axes.len()).sum();
    let mut text = format!("\n#### {}\n\n", name(model));
    let _ = writeln!(text, "{total} blocked ax{}:\n", if total == 1 { "is" } else { "es" });
    for (reason, axes) in &blocked {
        let _ = writeln!(text, "- {} — {reason}: {}", axes.len(), abbreviated(axes));
    }
    let inexact: Vec<&Value> = model["inexact"].as_array().into_iter().flatten().collect();
    if inexact.is_empty() {
        return text;
    }
    let _ =
        writeln!(text, "\n{} inexact group{}:\n", inexact.len(), if inexact.len() == 1 { "" } else { "s" });
    for group in inexact {
        let parameters: Vec<&str> =
            group["parameters"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let first = parameters.first().copied().unwrap_or_default();
        let (units, reason) = (&group["units"], group["reason"].as_str().unwrap_or_default());
        let kind = group["kind"].as_str().unwrap_or_default();
        let more = match parameters.len() {
            0 | 1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        let _ = writeln!(text, "- {units} {kind}{} — {reason}: `{first}`{more}", plural(units));
    }
    text
}

/// What is said of each reason, in the order in which reasons first occur.
fn grouped<'v>(axes: impl Iterator<Item = (&'v Value, String)>) -> Vec<(&'v str, Vec<String>)> {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for (reason, axis) in axes {
        let reason = reason.as_str().unwrap_or_default();
        match groups.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, own)) => own.push(axis),
            None => groups.push((reason, vec![axis])),
        }
    }
    groups
}

/// Names that differ in numbers only are one pattern.
fn abbreviated(names: &[String]) -> String {
    let mut patterns = BTreeMap::<String, Vec<&str>>::new();
    for name in names {
        patterns.entry(pattern(name)).or_default().push(name);
    }
    let parts = patterns.into_iter().flat_map(|(pattern, own)| match own.len() {
        n if n > MOST_NAMES => vec![format!("`{pattern}` ×{n}")],
        _ => own.into_iter().map(|name| format!("`{name}`")).collect(),
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// The name with a star for each number, the axis apart.
fn pattern(name: &str) -> String {
    let (parameter, axis) = name.rsplit_once('[').unwrap_or((name, ""));
    let mut pattern = String::new();
    for c in parameter.chars() {
        match c.is_ascii_digit() {
            true if pattern.ends_with('*') => {}
            true => pattern.push('*'),
            false => pattern.push(c),
        }
    }
    format!("{pattern}[{axis}")
}

fn name(model: &Value) -> &str {
    model["model"].as_str().unwrap_or_default()
}

fn plural(count: &Value) -> &'static str {
    if count.as_u64() == Some(1) { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_axis_is_named_or_counted_under_its_reason() {
        let axis = |parameter: String, axis: usize, reason: &str| json!({"parameter": parameter, "axis": axis, "reason": reason});
        let mut blocked: Vec<Value> =
            (0..12).map(|i| axis(format!("layer{i}.conv.weight"), 2, "a sliding window")).collect();
        blocked.push(axis("fc1.weight".into(), 0, "an output"));
        blocked.push(axis("fc2.weight".into(), 0, "an output"));
        let text = reasons(&json!({"model": "net", "blocked": blocked, "inexact": []}));
        assert!(text.contains("14 blocked axes"), "{text}");
        assert!(text.contains("- 12 — a sliding window: `layer*.conv.weight[2]` ×12\n"), "{text}");
        assert!(text.contains("- 2 — an output: `fc1.weight[0]`, `fc2.weight[0]`\n"), "{text}");
    }
}
