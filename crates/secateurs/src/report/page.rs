//! The page.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    Note, NoteWeight, Report, command, figures, frontier, heads, layers, ledger, samples, sensitivity,
    settings, training,
};
use crate::format::duration;

const STYLE: &str = include_str!("style.css");
/// Nothing is fetched and nothing runs, whatever a name in the report may look like.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// The report as one HTML file that loads nothing and runs no script.
pub fn render(report: &Report) -> String {
    let done = match (&report.pruned, &report.training) {
        (Some(_), Some(_)) => "pruned and tuned",
        (Some(_), None) => "pruned",
        (None, Some(_)) => "tuned",
        (None, None) => "written anew",
    };
    let summary = figures::summary(report);
    let header = html! {
        p.kind { "Secateurs report" }
        h1 { (report.model) span.done { " " (done) } }
        p.summary { (summary) "." }
        p.small {
            (report.date) " · secateurs " (report.environment.secateurs)
            " · took " (duration(report.seconds))
        }
    };
    document(&format!("{}, {done}", report.model), &report.environment.secateurs, header, &sections(report))
}

/// A page that loads nothing and runs no script; `version` is that of the program that made it.
pub fn document(title: &str, version: &str, header: Markup, sections: &[Section]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="generator" content={ "secateurs " (version) };
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    (header)
                    nav aria-label="Contents" {
                        @for section in sections { a href={ "#" (section.id) } { (section.title) } }
                    }
                }
                main {
                    @for section in sections {
                        section id=(section.id) { h2 { (section.title) } (section.content) }
                    }
                }
            }
        }
    };
    page.into_string()
}

/// A part of a page.
pub struct Section {
    /// Unique in its page.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What stands below it.
    pub content: Markup,
}

fn sections(report: &Report) -> Vec<Section> {
    let section = |id, title, content| Section { id, title, content };
    let mut sections = vec![section("figures", "Before and after", figures::table(report))];
    if !report.notes.is_empty() {
        sections.push(section("notes", "Notes", notes(&report.notes)));
    }
    if !report.layers.is_empty() {
        sections.push(section("layers", "Layers", layers::table(&report.layers)));
    }
    if !report.attention.is_empty() {
        sections.push(section("heads", "Attention heads", heads::picture(&report.attention)));
    }
    if let Some(frontier) = &report.frontier {
        sections.push(section("frontier", "Cost and predicted change", frontier::section(frontier)));
    }
    if let Some(sensitivity) = &report.sensitivity {
        sections.push(section("sensitivity", "What units are worth", sensitivity::section(sensitivity)));
    }
    let training = match &report.training {
        Some(training) => training::curves(training),
        None => html! { p { "There was no training." } },
    };
    sections.push(section("training", "Training", training));
    if !report.ledger.is_empty() {
        sections.push(section("steps", "Steps", ledger::table(&report.ledger, report.seconds)));
    }
    if !report.samples.is_empty() {
        sections.push(section("samples", "Samples", samples::cards(&report.samples)));
    }
    sections.push(section("settings", "Settings", settings::tables(report)));
    let command = html! { pre tabindex="0" { code { (command::quoted(&report.command)) } } };
    sections.push(section("command", "Repeat this run", command));
    sections
}

fn notes(notes: &[Note]) -> Markup {
    html! {
        ul.notes {
            @for note in notes {
                @match note.weight {
                    NoteWeight::Warning => li.warning { strong { "Warning." } " " (note.text) },
                    NoteWeight::Note => li { (note.text) },
                }
            }
        }
    }
}
