//! Every model of the zoo (`cargo xtask test` unpacks it into `data/zoo`): as it is, pruned, and counted. And models as packages carry
//! them (`data/practice`), and EfficientNet-Lite0 on photographs (`data/photographs`).
//!
//! `ZOO=resnet,bert` tries the models whose names contain one of these. `SECATEURS_PYTHON` names a Python with ONNX and ONNX
//! Runtime (`cargo xtask fixtures` makes one); without it what needs one is skipped.

mod counts;
mod fixed;
mod implants;
mod models;
mod original;
mod photographs;
mod practice;
mod pruning;
mod python;
