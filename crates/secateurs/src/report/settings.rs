//! All that a run depended on: settings, seeds, data, versions, hashes.

use maud::{Markup, html};
use toml::{Table, Value};

use super::{DataDescription, Report};
use crate::format::count;

/// Tables by subject.
pub fn tables(report: &Report) -> Markup {
    let environment = &report.environment;
    let mut versions = vec![pair("secateurs", &environment.secateurs)];
    versions.extend(environment.libtorch.iter().map(|v| pair("libtorch", v)));
    versions.extend(environment.onnx_runtime.iter().map(|v| pair("ONNX Runtime", v)));
    versions.push(pair("device", &environment.device));
    versions.push(pair("processor", &environment.cpu));
    versions.push(pair("threads", environment.threads));
    let seeds: Vec<_> = report.seeds.iter().map(|(name, seed)| pair(name, seed)).collect();
    html! {
        div.settings {
            @if let Some(data) = &report.data { (group("data", &data_rows(data))) }
            @for (name, rows) in groups(&report.settings) { (group(&name, &rows)) }
            @if !seeds.is_empty() { (group("seeds", &seeds)) }
            (group("versions and machine", &versions))
        }
        @if !report.files.is_empty() {
            table.files {
                caption { "Files" }
                thead { tr { th scope="col" { "what" } th.text scope="col" { "file and hash" } } }
                tbody {
                    @for file in &report.files {
                        tr {
                            th scope="row" { (file.role) }
                            td.text { (file.path) code.below { (file.hash) } }
                        }
                    }
                }
            }
        }
    }
}

type Rows = Vec<(String, String)>;

fn pair(key: &str, value: impl ToString) -> (String, String) {
    (key.to_owned(), value.to_string())
}

/// A table of names and values.
pub fn group(name: &str, rows: &[(String, String)]) -> Markup {
    html! {
        table {
            caption { (name) }
            tbody { @for (key, value) in rows { tr { th scope="row" { (key) } td.text { (value) } } } }
        }
    }
}

fn data_rows(data: &DataDescription) -> Rows {
    let classes = match data.classes.len() {
        0 => "none".to_owned(),
        n if n <= 20 => format!("{n}: {}", data.classes.join(", ")),
        n => format!("{}: {}, …", count(n), data.classes[..10].join(", ")),
    };
    let mut rows = vec![pair("training data", &data.path)];
    rows.extend(data.validation_path.iter().map(|path| pair("validation data", path)));
    rows.extend(data.test_path.iter().map(|path| pair("test data", path)));
    rows.push(pair("samples trained on", count(data.training)));
    rows.push(pair("samples for validation", count(data.validation)));
    rows.extend(data.test.map(|n| pair("samples tested on", count(n))));
    rows.push(pair("classes", classes));
    for (name, steps) in [("preprocessing", &data.preprocessing), ("augmentation", &data.augmentation)] {
        if !steps.is_empty() {
            rows.push(pair(name, steps.join("; ")));
        }
    }
    rows
}

/// Values by table, those of no table first; what lies deeper has names with dots.
fn groups(settings: &Table) -> Vec<(String, Rows)> {
    let mut groups: Vec<(String, Rows)> = vec![("settings".to_owned(), Vec::new())];
    for (name, value) in settings {
        match value {
            Value::Table(table) => {
                let mut rows = Vec::new();
                flatten("", table, &mut rows);
                groups.push((format!("settings: {name}"), rows));
            }
            value => groups[0].1.push((name.clone(), text(value))),
        }
    }
    groups.retain(|(_, rows)| !rows.is_empty());
    groups
}

fn flatten(prefix: &str, table: &Table, rows: &mut Rows) {
    for (name, value) in table {
        match value {
            Value::Table(table) => flatten(&format!("{prefix}{name}."), table, rows),
            value => rows.push((format!("{prefix}{name}"), text(value))),
        }
    }
}

/// As in TOML, but texts without quotes.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_grouped_by_their_tables() {
        let table: Table = toml::from_str(
            "keep = ['params=0.5', 'macs=0.4']\n[tune]\nepochs = 30\n[tune.sgd]\nmomentum = 0.9",
        )
        .unwrap();
        let expected = [
            ("settings", vec![("keep", "params=0.5, macs=0.4")]),
            ("settings: tune", vec![("epochs", "30"), ("sgd.momentum", "0.9")]),
        ];
        let rows = |rows: &[(&str, &str)]| rows.iter().map(|(k, v)| pair(k, v)).collect::<Rows>();
        let expected: Vec<_> = expected.iter().map(|(name, r)| ((*name).to_owned(), rows(r))).collect();
        assert_eq!(groups(&table), expected);
        assert_eq!(groups(&Table::new()), []);
    }
}
