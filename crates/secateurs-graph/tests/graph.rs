//! Promises of the graph as a whole: patches, functions, subgraphs, taps, gradients.
#![cfg(feature = "torch")]

use std::sync::Arc;

use secateurs_graph::coupling::{Costs, Remaining};
use secateurs_graph::graph::Use;
use secateurs_graph::ops::{Identity, Relu};
use secateurs_graph::patch::Patch;
use secateurs_graph::session::{Precision, Session, SessionOptions, Tap};
use secateurs_graph::{Graph, GraphError, Source, ValueId};
use secateurs_onnx::proto::{AttributeProto, FunctionProto, OperatorSetIdProto};
use secateurs_onnx::{ElementType, Model, ModelBuilder, Tensor, WriteOptions, value_info, write};
use secateurs_torch::tch::{self, Kind};

fn floats(shape: &[usize], f: impl Fn(usize) -> f32) -> Tensor {
    let n = shape.iter().product();
    Tensor::from_slice(shape.to_vec(), &(0..n).map(f).collect::<Vec<f32>>()).unwrap()
}

/// `h = relu(x w); y = h w2 + h`.
fn residual() -> ModelBuilder {
    ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["batch", "3"])
        .constant("w", &floats(&[3, 3], |i| (i as f32 * 0.7).sin()))
        .constant("w2", &floats(&[3, 3], |i| (i as f32 * 1.3).cos()))
        .node("MatMul", &["x", "w"], &["a"])
        .node("Relu", &["a"], &["h"])
        .node("MatMul", &["h", "w2"], &["b"])
        .node("Add", &["b", "h"], &["y"])
        .output("y")
}

fn graph(builder: ModelBuilder) -> Graph {
    Graph::from_model(builder.build().unwrap()).unwrap()
}

fn value(graph: &Graph, name: &str) -> ValueId {
    graph.value_named(name).unwrap()
}

fn session(graph: &Graph, train_parameters: bool) -> Session {
    let options =
        SessionOptions { precision: Precision::Double, train_parameters, ..SessionOptions::default() };
    Session::new(Arc::new(graph.clone()), options).unwrap()
}

fn x() -> tch::Tensor {
    tch::Tensor::f_from_slice(&[0.3f64, -0.5, 0.9, 1.1, 0.2, -0.4]).unwrap().f_reshape([2, 3]).unwrap()
}

#[test]
fn a_patch_that_breaks_the_graph_leaves_it_as_it_was() {
    let mut graph = graph(residual());
    let before = format!("{:?}", graph.to_model().proto);
    let first = graph.order[0];
    // Reading its own result makes a cycle.
    let mut patch = Patch::new();
    patch.set_input(first, 0, Some(value(&graph, "y")));
    assert!(matches!(patch.apply(&mut graph), Err(GraphError::Cycle { .. })));
    // A weight of another width does not fit its consumers.
    let mut patch = Patch::new();
    let w = value(&graph, "w");
    patch.set_tensor(w, floats(&[3, 2], |_| 1.0));
    let error = patch.apply(&mut graph).unwrap_err().to_string();
    assert!(error.contains("make_b") || error.contains("make_y"), "{error}");
    graph.verify().unwrap();
    assert_eq!(format!("{:?}", graph.to_model().proto), before);
}

#[test]
fn a_patch_changes_only_what_it_names() {
    let mut graph = graph(residual());
    let source = graph.to_model();
    let consumer = graph.order[2];
    let mut patch = Patch::new();
    patch.insert_before(Use { node: consumer, input: Some(0) }, "gate", Box::new(Relu), vec![]);
    let w2 = value(&graph, "w2");
    patch.set_tensor(w2, floats(&[3, 3], |i| i as f32));
    patch.apply(&mut graph).unwrap();
    let written = graph.to_model();
    let names = |model: &Model| model.graph().node.iter().map(|n| n.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&source), ["make_a", "make_h", "make_b", "make_y"]);
    assert_eq!(names(&written), ["make_a", "make_h", "gate", "make_b", "make_y"]);
    assert_eq!(written.graph().node[0], source.graph().node[0]);
    assert_eq!(written.graph().initializer[0], source.graph().initializer[0]);
    assert_ne!(written.graph().initializer[1], source.graph().initializer[1]);
    // The written model is a graph again, and the same one.
    let again = Graph::from_model(Model::from_proto(written.proto, None).unwrap()).unwrap();
    assert_eq!(again.order.len(), 5);
}

#[test]
fn sizes_that_are_no_longer_what_the_file_calls_them_are_left_out() {
    // Two layers of four heads of two, merged with the batch: `4*batch` by the file's formula, or by a name of its own.
    let heads = |size: &'static str| {
        let mut builder = ModelBuilder::new(17).input("x", ElementType::Float32, &["batch", "8"]);
        for name in ["a", "b"] {
            builder = builder
                .constant(&format!("{name}.weight"), &floats(&[8, 8], |i| i as f32))
                .constant(&format!("{name}.shape"), &Tensor::from_slice(vec![2], &[-1i64, 2]).unwrap())
                .node("MatMul", &["x", &format!("{name}.weight")], &[&format!("{name}1")])
                .node("Reshape", &[&format!("{name}1"), &format!("{name}.shape")], &[name]);
        }
        let mut model = builder.output("a").output("b").build().unwrap();
        let made = ModelBuilder::new(17).input("a", ElementType::Float32, &[size, "2"]);
        let made = made.input("b", ElementType::Float32, &[size, "2"]);
        let infos = made.build().unwrap().graph().input.clone();
        model.proto.graph.as_mut().unwrap().value_info = infos;
        Graph::from_model(model).unwrap()
    };
    let left = |size: &'static str, narrower: bool| -> Vec<String> {
        let mut graph = heads(size);
        let mut patch = Patch::new();
        let width = if narrower { 4 } else { 8 };
        patch.set_tensor(value(&graph, "a.weight"), floats(&[8, width], |i| i as f32));
        patch.apply(&mut graph).unwrap();
        graph.to_model().graph().value_info.iter().map(|info| info.name().to_owned()).collect()
    };
    for size in ["4*batch", "merged"] {
        assert_eq!(left(size, false), ["a", "b"], "{size}");
    }
    assert_eq!(left("4*batch", true), ["b"]);
    assert_eq!(left("merged", true), [""; 0], "one name for two sizes");
}

#[test]
fn a_node_is_absorbed_by_its_producer_unless_others_read_between_them() {
    let mut graph = graph(residual());
    let [matmul, relu, second, _] = graph.order[..] else { panic!() };
    let h = value(&graph, "h");
    let mut patch = Patch::new();
    patch.absorb(relu);
    patch.apply(&mut graph).unwrap();
    assert!(graph.value_named("a").is_none() && graph.order.len() == 3);
    assert!(matches!(graph.values[h].source, Source::Node(node, 0) if node == matmul));
    // The sum reads `h` too.
    let mut patch = Patch::new();
    patch.absorb(second);
    assert!(patch.apply(&mut graph).unwrap_err().to_string().contains("'h'"));
    graph.verify().unwrap();
}

#[test]
fn dead_nodes_and_constants_go() {
    let mut graph = graph(residual());
    let add = graph.order[3];
    let mut patch = Patch::new();
    let h = value(&graph, "h");
    patch.set_input(add, 0, Some(h)).remove_dead();
    patch.apply(&mut graph).unwrap();
    assert_eq!(graph.order.len(), 3);
    assert!(graph.value_named("w2").is_none());
    assert_eq!(graph.to_model().graph().initializer.len(), 1);
}

/// A hidden layer, maybe read by an op that nobody knows and whose output nobody reads.
fn hidden(dead: bool) -> Graph {
    let builder = ModelBuilder::new(17)
        .domain("custom", 1)
        .input("x", ElementType::Float32, &["batch", "3"])
        .constant("w", &floats(&[3, 4], |i| i as f32))
        .constant("v", &floats(&[4, 2], |i| i as f32));
    let builder = match dead {
        true => {
            builder.constant("c", &floats(&[4], |i| i as f32)).node("custom::Look", &["h", "c"], &["seen"])
        }
        false => builder,
    };
    let builder = builder.node("MatMul", &["x", "w"], &["h"]).node("MatMul", &["h", "v"], &["y"]).output("y");
    let file = tempfile::NamedTempFile::with_suffix(".onnx").unwrap();
    write(&builder.build().unwrap(), file.path(), &WriteOptions::default()).unwrap();
    Graph::read_live(file.path()).unwrap()
}

#[test]
fn what_no_output_depends_on_is_not_read_with_what_is_alive() {
    let (live, read) = (hidden(false), hidden(true));
    assert!(!live.changed && read.changed);
    assert_eq!((read.hash(), read.cost().params), (live.hash(), live.cost().params));
    assert_eq!(read.coupling(&Default::default()).groups.len(), 1);
}

fn with_function() -> Model {
    let mut proto = ModelBuilder::new(17)
        .domain("local", 1)
        .input("x", ElementType::Float32, &["batch", "3"])
        .node("local::Twice", &["x"], &["t"])
        .node_with("local::Twice", &["t"], &["y"], vec![AttributeProto::from_int("axis", 0)])
        .output("y")
        .proto();
    let reference = |name: &str| AttributeProto {
        name: Some(name.into()),
        ref_attr_name: Some(name.into()),
        r#type: Some(2),
        ..Default::default()
    };
    let body = ModelBuilder::new(17)
        .node("Add", &["a", "a"], &["inner"])
        .node_with("Softmax", &["inner"], &["b"], vec![reference("axis")])
        .proto();
    proto.functions.push(FunctionProto {
        name: Some("Twice".into()),
        domain: Some("local".into()),
        input: vec!["a".into()],
        output: vec!["b".into()],
        attribute_proto: vec![AttributeProto::from_int("axis", 1)],
        node: body.graph.unwrap().node,
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        ..Default::default()
    });
    Model::from_proto(proto, None).unwrap()
}

#[test]
fn functions_are_inlined_and_kept_in_the_file_until_touched() {
    let model = with_function();
    let mut graph = Graph::from_model(model.clone()).unwrap();
    assert_eq!(graph.order.len(), 4);
    assert_eq!(graph.to_model().proto, model.proto);

    let x = floats(&[2, 3], |i| i as f32 * 0.3);
    let run = |graph: &Graph| session(graph, false).run(std::slice::from_ref(&x)).unwrap();
    let before = run(&graph);
    // Change something inside the second call: it is written out, the first stays a call.
    let inside = graph.order[2];
    let mut patch = Patch::new();
    patch.insert_before(Use { node: inside, input: Some(0) }, "extra", Box::new(Identity), vec![]);
    patch.apply(&mut graph).unwrap();
    let written = graph.to_model();
    let ops: Vec<&str> = written.graph().node.iter().map(|n| n.op_type()).collect();
    assert_eq!(ops, ["Twice", "Identity", "Add", "Softmax"]);
    assert_eq!(written.proto.functions.len(), 1);
    let again = Graph::from_model(Model::from_proto(written.proto, None).unwrap()).unwrap();
    assert_eq!(run(&again), before);
}

#[test]
fn a_function_that_calls_itself_is_refused() {
    let mut proto = with_function().proto;
    proto.functions[0].node[0].op_type = Some("Twice".into());
    proto.functions[0].node[0].domain = Some("local".into());
    let error = Graph::from_model(Model::from_proto(proto, None).unwrap()).unwrap_err();
    assert!(matches!(error, GraphError::RecursiveFunction(_)), "{error}");
}

#[test]
fn gradients_of_parameters_equal_finite_differences() {
    let graph = graph(residual());
    let session = session(&graph, true);
    let loss = |session: &Session| {
        let y = session.forward(&[x()], &[]).unwrap().outputs.remove(0);
        y.f_pow_tensor_scalar(2).unwrap().f_sum(Kind::Double).unwrap()
    };
    let parameters: Vec<(ValueId, tch::Tensor)> =
        session.parameters().map(|(id, tensor)| (id, tensor.shallow_clone())).collect();
    assert_eq!(parameters.len(), 2);
    let tensors: Vec<&tch::Tensor> = parameters.iter().map(|(_, t)| t).collect();
    let gradients = tch::Tensor::f_run_backward(&[loss(&session)], &tensors, false, false).unwrap();
    for ((_, parameter), gradient) in parameters.iter().zip(&gradients) {
        for i in 0..9 {
            let shifted = |by: f64| {
                tch::no_grad(|| {
                    let mut element = parameter.f_view([9]).unwrap().f_get(i).unwrap();
                    let _ = element.f_add_scalar_(by).unwrap();
                    let value = loss(&session).f_double_value(&[]).unwrap();
                    let _ = element.f_add_scalar_(-by).unwrap();
                    value
                })
            };
            let numeric = (shifted(1e-6) - shifted(-1e-6)) / 2e-6;
            let exact = gradient.f_view([9]).unwrap().f_double_value(&[i]).unwrap();
            assert!((numeric - exact).abs() < 1e-6 * exact.abs().max(1.0), "{numeric} {exact}");
        }
    }
}

#[test]
fn an_edge_tap_sees_the_gradient_of_its_reader_alone() {
    let graph = graph(residual());
    let session = session(&graph, false);
    let h = value(&graph, "h");
    let (matmul, add) = (graph.order[2], graph.order[3]);
    let taps = [Tap::Value(h), Tap::Edge { node: matmul, input: 0 }, Tap::Edge { node: add, input: 1 }];
    let run = session.forward(&[x()], &taps).unwrap();
    let loss = run.outputs[0].f_sum(Kind::Double).unwrap();
    let sources: Vec<&tch::Tensor> = run.taps.iter().collect();
    let gradients = tch::Tensor::f_run_backward(&[loss], &sources, false, false).unwrap();
    let sum = gradients[1].f_add(&gradients[2]).unwrap();
    let close = |a: &tch::Tensor, b: &tch::Tensor| a.f_allclose(b, 1e-12, 1e-12, false).unwrap();
    assert!(close(&gradients[0], &sum));
    assert!(close(&gradients[2], &gradients[2].f_ones_like().unwrap()));
    assert!(!close(&gradients[0], &gradients[2]));
    // Untapped, the outputs are the same.
    let plain = session.forward(&[x()], &[]).unwrap();
    assert!(close(&plain.outputs[0], &run.outputs[0]));
}

#[test]
fn a_tap_that_cannot_be_says_so() {
    let graph = graph(residual());
    let session = session(&graph, false);
    let w = value(&graph, "w");
    let error = session.forward(&[x()], &[Tap::Value(w)]).err().unwrap().to_string();
    assert!(error.contains("'w'"), "{error}");
}

#[test]
fn what_a_subgraph_reads_from_outside_is_kept() {
    let branch = |op: &str| {
        let body = ModelBuilder::new(17).node(op, &["a"], &["r"]).output("r").proto();
        body.graph.unwrap()
    };
    let builder = ModelBuilder::new(17)
        .input("x", ElementType::Float32, &["2"])
        .input("c", ElementType::Bool, &[])
        .node("Relu", &["x"], &["a"])
        .node_with(
            "If",
            &["c"],
            &["y"],
            vec![
                AttributeProto::from_graph("then_branch", branch("Relu")),
                AttributeProto::from_graph("else_branch", branch("Identity")),
            ],
        )
        .output("y");
    let model = builder.build().unwrap();
    let mut graph = Graph::from_model(model.clone()).unwrap();
    let a = value(&graph, "a");
    let uses = graph.uses();
    assert!(uses[a].iter().any(|u| u.input.is_none()), "{:?}", uses[a]);
    let mut patch = Patch::new();
    patch.remove_dead();
    patch.apply(&mut graph).unwrap();
    assert_eq!(graph.order.len(), 2);
    assert_eq!(graph.to_model().graph().node, model.graph().node);
}

#[test]
fn new_initializers_of_old_files_are_inputs_too() {
    let mut proto = residual().proto();
    proto.ir_version = Some(3);
    let inner = proto.graph.as_mut().unwrap();
    inner.input.extend(inner.initializer.iter().map(|tensor| {
        let sizes: Vec<String> = tensor.dims.iter().map(i64::to_string).collect();
        value_info(tensor.name(), ElementType::Float32, &sizes.iter().map(String::as_str).collect::<Vec<_>>())
    }));
    let mut graph = Graph::from_model(Model::from_proto(proto, None).unwrap()).unwrap();
    let product = graph.order[0];
    let weight = graph.tensor(graph.nodes[product].inputs[1].unwrap()).unwrap().clone();
    let mut patch = Patch::new();
    patch.set_input_constant(vec![(product, 1)], "weight", weight);
    patch.apply(&mut graph).unwrap();
    let written = graph.to_model();
    let listed: Vec<&str> = written.graph().input.iter().map(|info| info.name()).collect();
    let missing: Vec<&str> =
        written.graph().initializer.iter().map(|t| t.name()).filter(|name| !listed.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let reread = Graph::from_model(written).unwrap();
    assert_eq!(reread.inputs.len(), graph.inputs.len());
}

/// A layer with what an attribute says that we lack, between two products.
fn with_variant(op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> Model {
    let builder = ModelBuilder::new(19)
        .domain("com.microsoft", 1)
        .input("x", ElementType::Float32, &["batch", "5", "8"])
        .constant("w", &floats(&[8, 8], |i| (i as f32 * 0.7).sin()))
        .constant("qkv", &floats(&[8, 24], |i| (i as f32 * 1.3).cos()))
        .constant("kernel", &floats(&[5, 5, 1], |i| i as f32))
        .constant("last", &Tensor::from_slice(vec![1], &[4i32]).unwrap())
        .constant("total", &Tensor::from_slice(vec![1], &[5i32]).unwrap())
        .node("MatMul", &["x", "w"], &["h"])
        .node_with(op, inputs, &["a"], attributes)
        .node("MatMul", &["a", "w"], &["y"]);
    builder.output("y").build().unwrap()
}

#[test]
fn variants_of_ops_that_we_lack_are_carried_through() {
    let int = AttributeProto::from_int;
    let grouped = "com.microsoft::GroupQueryAttention";
    let table = [
        (
            "com.microsoft::Attention",
            vec!["h", "qkv"],
            vec![int("num_heads", 2), int("do_rotary", 1)],
            "do_rotary",
        ),
        (
            grouped,
            vec!["h", "h", "h", "", "", "last", "total"],
            vec![int("num_heads", 2), int("kv_num_heads", 2), int("smooth_softmax", 1)],
            "smooth_softmax",
        ),
        (
            grouped,
            vec!["h", "", "", "", "", "last", "total"],
            vec![int("num_heads", 2), int("kv_num_heads", 1)],
            "packed",
        ),
        (
            "com.microsoft::MultiHeadAttention",
            vec!["h"],
            vec![int("num_heads", 2)],
            "queries, keys and values",
        ),
        ("DeformConv", vec!["h", "kernel", "h"], vec![], "other than two spatial axes"),
    ];
    for (op, inputs, attributes, lacking) in table {
        let model = with_variant(op, &inputs, attributes);
        let mut graph = Graph::from_model(model.clone()).unwrap();
        assert_eq!(graph.to_model().proto, model.proto, "{op}");
        let coupling = graph.coupling(&Default::default());
        assert!(coupling.groups.is_empty(), "{op}");
        let x = floats(&[2, 5, 8], |i| (i as f32).sin());
        let error = session(&graph, false).run(&[x]).unwrap_err().to_string();
        assert!(error.contains("'make_a'") && error.contains(lacking), "{op}: {error}");
        // As it was, also in a file that is changed elsewhere.
        let mut patch = Patch::new();
        patch.set_tensor(value(&graph, "w"), floats(&[8, 8], |i| i as f32));
        patch.apply(&mut graph).unwrap();
        assert_eq!(graph.to_model().graph().node, model.graph().node, "{op}");
    }
}

#[test]
fn attention_of_two_batch_sizes_stays_small_however_many_layers_there_are() {
    let mut builder = ModelBuilder::new(17)
        .input("x0", ElementType::Float32, &["m", "s", "8"])
        .input("mask", ElementType::Float32, &["c", "1", "s"])
        .constant("w", &floats(&[8, 8], |i| (i as f32 * 0.7).sin()));
    for layer in 0..24 {
        let n = |name: &str| format!("{name}{layer}");
        let (x, next) = (n("x"), format!("x{}", layer + 1));
        builder = builder
            .node("MatMul", &[&x, "w"], &[&n("q")])
            .node_with("Transpose", &[&x], &[&n("k")], vec![AttributeProto::from_ints("perm", [0i64, 2, 1])])
            .node("MatMul", &[&n("q"), &n("k")], &[&n("scores")])
            .node("Add", &[&n("scores"), "mask"], &[&n("masked")])
            .node("Softmax", &[&n("masked")], &[&n("p")])
            .node("MatMul", &[&n("p"), &x], &[&n("a")])
            .node("Add", &[&n("a"), &x], &[&next]);
    }
    let graph = graph(builder.output("x24"));
    assert_eq!(graph.values[graph.outputs[0]].fact.to_string(), "float32[max(c,m), s, 8]");
    let macs = graph.cost().macs;
    assert!(macs.to_string().len() < 200, "{macs}");
    let sizes = [("m", 2), ("c", 1), ("s", 3)].map(|(name, size)| (name.to_owned(), size));
    assert_eq!(macs.bind(&sizes.into()).known(), Some(24 * (2 * 3 * 8 * 8 + 2 * (2 * 3 * 3 * 8))));
}

#[test]
fn what_subgraphs_compute_and_hold_is_counted() {
    let int = |n: i64| Tensor::scalar(n);
    // h c, or h c d with a d of its own.
    let then = ModelBuilder::new(17).node("MatMul", &["h", "c"], &["t"]).output("t").proto().graph.unwrap();
    let other = ModelBuilder::new(17)
        .constant("d", &floats(&[4, 4], |i| i as f32))
        .node("MatMul", &["h", "c"], &["hc"])
        .node("MatMul", &["hc", "d"], &["o"])
        .output("o");
    // s ← s e, with an e from outside.
    let body = ModelBuilder::new(17)
        .input("trip", ElementType::Int64, &[])
        .input("going", ElementType::Bool, &[])
        .input("s", ElementType::Float32, &["batch", "4"])
        .node("Identity", &["going"], &["goes"])
        .node("MatMul", &["s", "e"], &["next"])
        .output("goes")
        .output("next");
    let net = |trips: Option<i64>| {
        let builder = ModelBuilder::new(17)
            .input("x", ElementType::Float32, &["batch", "8"])
            .input("if", ElementType::Bool, &[])
            .constant("w", &floats(&[8, 8], |i| i as f32))
            .constant("c", &floats(&[8, 4], |i| i as f32))
            .constant("e", &floats(&[4, 4], |i| i as f32))
            .node("MatMul", &["x", "w"], &["h"])
            .node_with(
                "If",
                &["if"],
                &["y"],
                vec![
                    AttributeProto::from_graph("then_branch", then.clone()),
                    AttributeProto::from_graph("else_branch", other.clone().proto().graph.unwrap()),
                ],
            );
        let builder = match trips {
            Some(trips) => builder.constant("trips", &int(trips)),
            None => builder.input("trips", ElementType::Int64, &[]),
        };
        let body = AttributeProto::from_graph("body", body.clone().proto().graph.unwrap());
        graph(builder.node_with("Loop", &["trips", "", "y"], &["z"], vec![body]).output("z"))
    };
    let counted = net(Some(3));
    let cost = counted.cost();
    assert_eq!(cost.params, 64 + 32 + 16 + 16);
    assert_eq!(cost.bytes, 4 * (64 + 32 + 16 + 16) + 8);
    // 64 for h, 32 or 48 in the branches, 3 times 16 in the loop.
    assert_eq!(cost.macs.to_string(), "160*batch");
    assert!(!net(None).cost().macs.is_determined());
    assert!(!net(Some(i64::MAX)).cost().macs.is_determined());
    let by_node: Vec<usize> =
        counted.order.iter().filter_map(|id| counted.params_by_node().get(id).copied()).collect();
    assert_eq!(by_node, [64, 32 + 16, 16]);
    // They are counted only.
    assert_eq!(counted.parameters().len(), 1);
    let coupling = counted.coupling(&Default::default());
    assert!(coupling.groups.is_empty());
    let costs = Costs::new(&counted, &coupling, &Default::default());
    let whole = Remaining::new(&coupling);
    assert_eq!((costs.params(&whole), costs.bytes(&whole)), (cost.params, cost.bytes));
    assert_eq!(costs.macs(&whole), cost.macs);
    assert_eq!(coupling.layers(&counted).len(), 1);
}
