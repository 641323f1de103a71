//! What a choice of units costs of every resource.

use std::rc::Rc;

use secateurs_graph::GraphError;
use secateurs_graph::coupling::{Costs, Coupling, Remaining, RowCosts};
use secateurs_graph::surgery::NodeForm;

use super::budget::Resource;
use super::select::{SelectOptions, eligible};

/// Counts what is left of a model when units go.
#[derive(Clone)]
pub struct Meter<'m> {
    costs: &'m Costs<'m>,
    /// The costs with forms of implants, where there are any.
    formed: Option<Rc<Costs<'m>>>,
    /// The groups that may lose units.
    groups: Vec<usize>,
    latency: Option<&'m dyn Fn(&Remaining) -> f64>,
}

impl<'m> Meter<'m> {
    /// A meter for choices with these guards. It knows no latency before it is told how to ([`Meter::with_latency`]).
    pub fn new(costs: &'m Costs<'m>, coupling: &'m Coupling, options: &SelectOptions) -> Meter<'m> {
        Meter { costs, formed: None, groups: eligible(coupling, options).collect(), latency: None }
    }

    /// The same where these nodes compute implanted units.
    pub fn with_forms(&self, forms: &[NodeForm]) -> Result<Meter<'m>, GraphError> {
        let mut costs = self.costs.clone();
        costs.set_forms(forms)?;
        Ok(Meter { formed: Some(Rc::new(costs)), ..self.clone() })
    }

    /// What rows of a node cost in a form.
    pub fn rows(&self, form: &NodeForm, remaining: &Remaining) -> Result<RowCosts, GraphError> {
        self.costs.rows(form, remaining)
    }

    /// The same with latencies, in milliseconds.
    pub fn with_latency(self, latency: &'m dyn Fn(&Remaining) -> f64) -> Meter<'m> {
        Meter { latency: Some(latency), ..self }
    }

    /// Parameters, multiply–accumulates, bytes of constants, milliseconds, or units of the groups that may lose some. The error is
    /// why that is no number: a formula for MACs.
    pub fn value(&self, resource: Resource, remaining: &Remaining) -> Result<f64, String> {
        let costs = self.formed.as_deref().unwrap_or(self.costs);
        Ok(match resource {
            Resource::Params => costs.params(remaining) as f64,
            Resource::Macs => {
                let macs = costs.macs(remaining);
                macs.known().filter(|n| *n >= 0).ok_or_else(|| macs.to_string())? as f64
            }
            Resource::Bytes => costs.bytes(remaining) as f64,
            Resource::Latency => self.latency.ok_or("it has not been measured")?(remaining),
            Resource::Units => self.groups.iter().map(|&g| remaining.units(g)).sum::<usize>() as f64,
        })
    }
}
