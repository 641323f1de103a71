//! Promises of the rewrites: what a model computes stays, or starts anew.
#![cfg(feature = "torch")]

mod fold;
mod free;
mod initial;
mod insert;
mod net;
