//! From scores to a choice of units that meets a budget.

mod band;
#[cfg(test)]
mod band_tests;
mod budget;
mod fit;
mod frontier;
mod joint;
mod meter;
mod order;
mod parts;
mod select;
#[cfg(test)]
mod steps_test;
#[cfg(test)]
mod tests;
mod widths;

pub use band::{Band, Places};
pub use budget::{Amount, Budget, BudgetError, Limit, Resource};
pub use frontier::{Frontier, frontier};
pub use meter::Meter;
pub use parts::{GroupNameError, Parts, groups_named};
pub use select::{Fixed, MAX_REMOVED, Ranking, Reached, Scope, SelectError, SelectOptions, Selected, select};
