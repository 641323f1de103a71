//! One file a command.

pub mod apply;
pub mod bench;
pub mod completions;
pub mod compress;
pub mod eval;
pub mod inspect;
pub mod measure;
pub mod merge;
pub mod methods;
pub mod plan;
mod planned;
pub mod prune;
mod result;
pub mod run;
pub mod show;
pub mod tune;
mod watch;
