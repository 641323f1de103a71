//! One file a command.

pub mod bench;
pub mod completions;
pub mod eval;
pub mod inspect;
pub mod run;
