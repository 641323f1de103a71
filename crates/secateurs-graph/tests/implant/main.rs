//! Rows computed in another form: the new graph computes what the old one does with the equivalent weights.
#![cfg(feature = "torch")]

mod choice;
#[allow(dead_code)]
mod layer;
mod layers;
#[allow(dead_code)]
#[path = "../coupling/net.rs"]
mod net;
mod nets;
#[allow(dead_code)]
#[path = "../random_graphs/rng.rs"]
mod rng;
mod start;
