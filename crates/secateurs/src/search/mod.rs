//! From scores to a choice of units that meets a budget.

mod budget;
mod order;
mod select;

pub use budget::{Budget, BudgetError, Limit, Resource};
pub use select::{MAX_REMOVED, Reached, Scope, SelectError, SelectOptions, Selected, select};
