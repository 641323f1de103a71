//! Groups, units and surgery on hand-made models of every kind of coupling: which units there are, and that removing any of
//! them leaves a model that computes what the masked original computes.
#![cfg(feature = "torch")]

mod attention;
mod axes;
mod blocking;
mod convolution;
mod dead;
mod masking;
mod net;
mod origins;
mod recurrent;
mod resizable;
mod shown;
mod stream;
mod tying;
mod variants;
