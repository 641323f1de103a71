//! Whole small models of forms that the zoo has none of: half precision, every opset, batch norms in training mode, inputs and outputs that
//! shrink, weights above 2 GB. Each is read, runs as in ONNX Runtime, and is pruned exactly.

mod batch_norm;
mod half_precision;
mod large;
mod net;
mod opsets;
mod resizable;
