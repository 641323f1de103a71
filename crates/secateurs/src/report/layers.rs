//! The widths of all layers before and after.

use maud::{Markup, PreEscaped, html};

use super::chart::bars;
use super::{Count, Layer};
use crate::format::{count, short_count};

/// The table, with a bar for each width; more than fit a screen scroll.
pub fn table(layers: &[Layer]) -> Markup {
    let most = layers.iter().flat_map(|layer| layer.channels).max().unwrap_or(1);
    let changed = layers.iter().filter(|layer| layer.channels[0] != layer.channels[1]).count();
    html! {
        p {
            (count(changed)) " of " (count(layers.len())) " layers have fewer output channels than before. "
            "Of two numbers and two bars the upper is before, the lower after."
        }
        div.scroll tabindex="0" role="region" aria-label="Layers" {
            table.layers {
                thead {
                    tr {
                        th scope="col" { "layer" }
                        th scope="col" colspan="2" { "output channels" }
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
                            td { (pair(&layer.parameters.map(short_count))) }
                            td { (pair(&layer.macs.each_ref().map(macs))) }
                        }
                    }
                }
            }
        }
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
