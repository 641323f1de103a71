//! What the steps of a run predicted and what was measured then.

use maud::{Markup, html};

use super::measured::Measured;
use super::{Quantity, Step};
use crate::format::duration;

/// The table.
pub fn table(steps: &[Step], seconds: f64) -> Markup {
    html! {
        div.wide {
            table.ledger {
                caption { "Steps of the run with what they predicted and measured" }
                thead {
                    tr {
                        th scope="col" { "step" }
                        th.text scope="col" { "quantity" }
                        th scope="col" { "predicted" }
                        th scope="col" { "measured" }
                        th scope="col" { "time" }
                    }
                }
                @for step in steps {
                    @let height = step.quantities.len().max(1);
                    tbody {
                        tr {
                            th scope="rowgroup" rowspan=(height) { (step.name) }
                            (quantity(step.quantities.first()))
                            td rowspan=(height) { (duration(step.seconds)) }
                        }
                        @for rest in step.quantities.iter().skip(1) { tr { (quantity(Some(rest))) } }
                    }
                }
                tfoot {
                    tr { th scope="row" { "whole run" } td colspan="3" {} td { (duration(seconds)) } }
                }
            }
        }
    }
}

fn quantity(quantity: Option<&Quantity>) -> Markup {
    let value = |q: &Quantity, measured: &Option<Measured>| {
        html! {
            @if let Some(measured) = measured {
                @let (value, error) = q.unit.texts(measured.value, measured.standard_error);
                (value) @if let Some(error) = error { span.below { "± " (error) } }
            }
        }
    };
    html! {
        @match quantity {
            Some(q) => {
                td.text { (q.name) }
                td { (value(q, &q.predicted)) }
                td {
                    (value(q, &q.measured))
                    @if missed(q) { span.below.miss { "not as predicted" } }
                }
            }
            None => { td {} td {} td {} }
        }
    }
}

/// Whether what was measured lies more than two standard errors from what was predicted.
fn missed(quantity: &Quantity) -> bool {
    let both = quantity.predicted.zip(quantity.measured);
    both.is_some_and(|(predicted, measured)| {
        let error = predicted.standard_error.map(|e| e.hypot(measured.standard_error.unwrap_or(0.0)));
        error.is_some_and(|e| (measured.value - predicted.value).abs() > 2.0 * e)
    })
}
