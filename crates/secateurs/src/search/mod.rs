//! From scores to a choice of units that meets a budget.

mod budget;
mod fit;
mod order;
mod select;
#[cfg(test)]
mod tests;

pub use budget::{Budget, BudgetError, Limit, Resource};
pub use select::{MAX_REMOVED, Reached, Scope, SelectError, SelectOptions, Selected, select};
