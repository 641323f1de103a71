//! The heads of every attention layer, as a picture.

use maud::{Markup, html};

use super::chart::{Symbol, legend};
use super::layers::breakable;
use super::{Attention, Fate};
use crate::format::count;

/// A row for every layer with a square for each of its heads: those that stay carry their numbers, those that went are empty.
pub fn picture(layers: &[Attention]) -> Markup {
    let heads = || layers.iter().flat_map(|layer| &layer.heads);
    let stay = heads().filter(|head| **head != Fate::Pruned).count();
    let shown = Fate::ALL.into_iter().filter(|fate| heads().any(|head| head == fate));
    let entries: Vec<_> = shown.map(|fate| (fate.name(), fate.name(), Symbol::Block)).collect();
    html! {
        p {
            (count(stay)) " of " (count(heads().count())) " heads in " (count(layers.len())) " attention layer"
            (if layers.len() == 1 { "" } else { "s" }) " stay. With grouped queries a head is one of keys and values with its queries."
        }
        p.units-legend { (legend(&entries)) }
        div.scroll.wide tabindex="0" role="region" aria-label="Heads of all layers" {
            table.layers.heads {
                caption { "Heads of all layers" }
                thead {
                    tr {
                        th scope="col" { "layer" }
                        th.text scope="col" { "heads" }
                        th scope="col" { "stay" }
                    }
                }
                tbody { @for layer in layers { (row(layer)) } }
            }
        }
    }
}

fn row(layer: &Attention) -> Markup {
    let stay = layer.heads.iter().filter(|head| **head != Fate::Pruned).count();
    html! {
        tr {
            th scope="row" { (breakable(&layer.name)) }
            td.text {
                @for (number, head) in layer.heads.iter().enumerate() {
                    span.head.(head.name()) title={ "head " (number) ": " (head.name()) } {
                        @if *head == Fate::Pruned { span.hidden { (number) } } @else { (number) }
                    }
                }
            }
            td { (count(stay)) " of " (count(layer.heads.len())) }
        }
    }
}

impl Fate {
    pub(super) const ALL: [Fate; 3] = [Fate::Kept, Fate::Implanted, Fate::Pruned];

    /// As in `kept`, which is also the class that gives its colour.
    pub(super) fn name(self) -> &'static str {
        match self {
            Fate::Kept => "kept",
            Fate::Implanted => "implanted",
            Fate::Pruned => "pruned",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_that_stay_carry_their_numbers_and_others_only_for_those_who_cannot_see() {
        let layer = |name: &str, heads: &[Fate]| Attention { name: name.into(), heads: heads.to_vec() };
        let layers = [
            layer("layer.0", &[Fate::Kept, Fate::Pruned, Fate::Implanted]),
            layer("layer.1", &[Fate::Kept; 3]),
        ];
        let page = picture(&layers).into_string();
        assert!(page.contains("5 of 6 heads in 2 attention layers stay"), "{page}");
        assert!(page.contains(r#"<span class="head kept" title="head 0: kept">0</span>"#), "{page}");
        assert!(page.contains(r#"title="head 1: pruned"><span class="hidden">1</span></span>"#), "{page}");
        assert!(page.contains("2 of 3") && page.contains("3 of 3"));
        let kept = picture(&layers[1..]).into_string();
        assert!(kept.contains("1 attention layer stay") && !kept.contains("implanted"), "{kept}");
    }
}
