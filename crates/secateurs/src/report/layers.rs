//! The widths of all layers before and after.

use maud::{Markup, PreEscaped, html};

use super::chart::{Symbol, bars, legend, stacked};
use super::{Count, Layer, LayerUnits};
use crate::format::{count, short_count};

/// The table, with a bar for each width; more than fit a screen scroll.
pub fn table(layers: &[Layer]) -> Markup {
    let most = layers.iter().flat_map(|layer| layer.channels).max().unwrap_or(1);
    let has_units = layers.iter().any(|layer| layer.units.is_some());
    let implants = layers.iter().filter_map(|layer| layer.units.as_ref()).any(|units| units.implanted > 0);
    let changed = layers.iter().filter(|layer| layer.channels[0] != layer.channels[1]).count();
    html! {
        p {
            (count(changed)) " of " (count(layers.len())) " layers have fewer output channels than before. "
            "Of two numbers and two bars the upper is before, the lower after."
        }
        @if has_units {
            p.units-legend { (legend(if implants { &PARTS } else { &WITHOUT_IMPLANTS })) }
        }
        div.scroll tabindex="0" role="region" aria-label="Layers" {
            table.layers {
                thead {
                    tr {
                        th scope="col" { "layer" }
                        th scope="col" colspan="2" { "output channels" }
                        @if has_units { th scope="col" { "units" } }
                        th scope="col" { "parameters" }
                        th scope="col" { "MACs" }
                    }
                }
                tbody {
                    @for layer in layers {
                        tr.same[layer.channels[0] == layer.channels[1]] {
                            th scope="row" { (breakable(&layer.name)) span.below { (layer.op) } }
                            td.bar { (bars(layer.channels, most)) }
                            td { (pair(&layer.channels.map(count))) }
                            @if has_units { td.bar { @if let Some(own) = &layer.units { (units(own)) } } }
                            td { (pair(&layer.parameters.map(short_count))) }
                            td { (pair(&layer.macs.each_ref().map(macs))) }
                        }
                    }
                }
            }
        }
    }
}

/// Parts of a layer's units in the legend.
const PARTS: [(&str, &str, Symbol); 3] = [
    ("kept", "kept", Symbol::Block),
    ("implanted", "implanted", Symbol::Block),
    ("pruned", "pruned", Symbol::Block),
];
const WITHOUT_IMPLANTS: [(&str, &str, Symbol); 2] = [PARTS[0], PARTS[2]];

/// Units that stay, that other layers compute and that went, in a bar and in numbers.
fn units(units: &LayerUnits) -> Markup {
    let parts = [(units.kept, "kept"), (units.implanted, "implanted"), (units.removed, "pruned")];
    let texts: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, name)| format!("{} {name}", count(n))).collect();
    html! {
        (stacked(&parts))
        span.below title=(units.kind) { (texts.join(", ")) }
    }
}

fn macs(macs: &Count) -> String {
    match macs {
        Count::Number(n) => short_count(*n),
        Count::Formula(formula) => formula.clone(),
    }
}

fn pair([before, after]: &[String; 2]) -> Markup {
    html! { span.before { (before) } span.hidden { " → " } span.after { (after) } }
}

/// A name that may be broken at its dots and slashes.
pub fn breakable(name: &str) -> Markup {
    html! {
        @for part in name.split_inclusive(['/', '.', '_']) { (part) (PreEscaped("<wbr>")) }
    }
}
