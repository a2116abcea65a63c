//! Weights and channels in the graphs of If, Loop and Scan nodes.

use super::*;
use crate::onnx::builder::value_info;
use crate::onnx::graph::Graph;
use crate::onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};

fn float(name: &str) -> crate::onnx::proto::ValueInfoProto {
    value_info(name, DataType::Float, &[])
}

/// Declarations of bodies say nothing of sizes here.
fn unsized_body(mut graph: GraphProto) -> GraphProto {
    use crate::onnx::proto::TypeValue;
    for info in graph.input.iter_mut().chain(&mut graph.output) {
        let kind = info.r#type.as_mut().and_then(|kind| kind.value.as_mut());
        if let Some(TypeValue::Tensor(tensor)) = kind
            && tensor.elem_type == Some(1)
        {
            tensor.shape = None;
        }
    }
    graph
}

fn op(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(op_type.to_owned()),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

fn body(attribute: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: Some(attribute.to_owned()),
        r#type: Some(5),
        g: Some(unsized_body(graph)),
        ..AttributeProto::default()
    }
}

impl Net {
    /// Adds a node with graphs.
    fn with_bodies(&mut self, node: NodeProto, bodies: Vec<AttributeProto>) {
        let mut graph = std::mem::replace(&mut self.b, GraphBuilder::new("net")).into_graph();
        graph.node.push(NodeProto { attribute: [node.attribute.clone(), bodies].concat(), ..node });
        self.b = GraphBuilder::from_graph(graph);
    }

    /// Whether the first element of the input is above zero.
    fn condition(&mut self, x: &str) -> String {
        let (start, end, axes) = (self.numbers(&[0]), self.numbers(&[1]), self.numbers(&[0]));
        let first = self.node("ReduceMax", &[x], &[("axes", ints(&[1])), ("keepdims", Attribute::Int(0))]);
        let first = self.node("Slice", &[&first, &start, &end, &axes], &[]);
        let first = self.node("Squeeze", &[&first, &axes], &[]);
        let zero = self.b.constant(&Tensor::from_f32(&[], &[0.0]));
        self.node("Greater", &[&first, &zero], &[])
    }

    fn in_body(&mut self, graph: &mut GraphProto, name: &str, shape: &[usize]) {
        let tensor = self.random(shape);
        graph.initializer.push(tensor.to_proto(name));
    }
}

/// The node with graphs of a model, and the initializers of one of them by name.
fn body_shape(pruned: &Pruned, op_type: &str, attribute: &str, name: &str) -> Vec<i64> {
    let graph: Graph<'_> = pruned.model.graph();
    let node = graph.proto.node.iter().find(|node| node.is(op_type)).expect("the node");
    let body = node.find_attribute(attribute).and_then(|attribute| attribute.g.as_ref()).expect("its graph");
    body.initializer.iter().find(|tensor| tensor.name() == name).expect("the initializer").dims.clone()
}

/// Branches with a weight of their own each, and one from outside that both use.
pub(super) fn branches() -> Model {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let condition = net.condition(&x);
    let y = net.dense("a", &x, 4, 8);
    let shared = net.weight("shared", &[8, 6]);
    let mut yes = GraphProto { name: Some("yes".into()), output: vec![float("out")], ..GraphProto::default() };
    net.in_body(&mut yes, "w", &[6, 8]);
    yes.node = vec![op("MatMul", &[&y, &shared], "t"), op("Relu", &["t"], "u"), op("MatMul", &["u", "w"], "out")];
    let mut no = GraphProto { name: Some("no".into()), output: vec![float("out")], ..GraphProto::default() };
    net.in_body(&mut no, "w", &[6, 8]);
    no.node = vec![op("MatMul", &[&y, &shared], "t"), op("Tanh", &["t"], "u"), op("MatMul", &["u", "w"], "out")];
    net.with_bodies(op("If", &[&condition], "chosen"), vec![body("then_branch", yes), body("else_branch", no)]);
    let y = net.dense("b", "chosen", 8, 2);
    net.finish(&y, &[2])
}

#[test]
fn branches_are_cut_with_what_they_take_from_outside() {
    let pruned = certified_on_one(&branches());
    let (rows, columns) = (shape(&pruned, "a")[0], shape(&pruned, "b")[1]);
    let inner = shape(&pruned, "shared")[1];
    assert!(rows < 8 && inner < 6 && columns < 8);
    assert_eq!(shape(&pruned, "shared"), [rows, inner]);
    // Sharing does not couple: each branch has hidden channels of its own.
    for attribute in ["then_branch", "else_branch"] {
        // Both have a `w`, and keep the name.
        let found = body_shape(&pruned, "If", attribute, "w");
        assert!(found[0] < 6 && found[1] == columns, "{attribute}: {found:?}");
    }
}

/// [`branches`] whose condition is a constant.
pub(super) fn decided() -> Model {
    let mut model = branches();
    let always = Tensor { dtype: DataType::Bool, shape: vec![], data: vec![1].into() };
    let graph = model.graph_proto_mut();
    graph.initializer.push(always.to_proto("always"));
    graph.node.iter_mut().find(|node| node.is("If")).unwrap().input[0] = "always".into();
    model
}

#[test]
fn the_branch_that_is_always_taken_takes_the_place_of_its_node() {
    let pruned = certified(&decided());
    assert!(shape(&pruned, "shared")[0] < 8 && pruned.model.graph_proto().node.iter().all(|node| !node.is("If")));
}

/// A recurrent layer written as a loop: what it carries has hidden units.
pub(super) fn turns() -> Model {
    turns_behind(0, 3)
}

/// So many turns, behind a hidden layer where it is not of width 0.
fn turns_behind(hidden: usize, count: i64) -> Model {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let count = net.b.constant(&Tensor::from_i64(&[], &[count]));
    let y = if hidden > 0 {
        let y = net.dense("hidden", &x, 4, hidden);
        let y = net.node("Relu", &[&y], &[]);
        net.dense("a", &y, hidden, 8)
    } else {
        net.dense("a", &x, 4, 8)
    };
    let w = net.weight("w", &[8, 8]);
    let graph = GraphProto {
        name: Some("turn".into()),
        input: vec![
            value_info("turn", DataType::Int64, &[]),
            value_info("go_on", DataType::Bool, &[]),
            float("before"),
        ],
        output: vec![value_info("go_on_out", DataType::Bool, &[]), float("after"), float("seen")],
        node: vec![
            op("Identity", &["go_on"], "go_on_out"),
            op("MatMul", &["before", &w], "t"),
            op("Add", &["t", &y], "u"),
            op("Tanh", &["u"], "after"),
            op("Identity", &["after"], "seen"),
        ],
        ..GraphProto::default()
    };
    let node = NodeProto { output: vec!["last".into(), "all".into()], ..op("Loop", &[&count, "", &y], "last") };
    net.with_bodies(node, vec![body("body", graph)]);
    let mean = net.node("ReduceMean", &["all"], &[("axes", ints(&[0])), ("keepdims", Attribute::Int(0))]);
    let y = net.node("Add", &["last", &mean], &[]);
    let y = net.dense("b", &y, 8, 2);
    net.finish(&y, &[2])
}

#[test]
fn what_a_loop_carries_is_cut_at_every_turn() {
    let pruned = certified_on_one(&turns());
    assert_eq!(shape(&pruned, "a"), [4, 4]);
    assert_eq!(shape(&pruned, "w"), [4, 4]);
    assert_eq!(shape(&pruned, "b"), [2, 4]);
}

/// A recurrent layer written as a scan over time.
pub(super) fn steps() -> Model {
    let mut net = Net::new();
    let x = net.input(&[5, 4]);
    let w = net.weight("w", &[4, 8]);
    let y = net.node("MatMul", &[&x, &w], &[]);
    let by_time = net.node("Transpose", &[&y], &[("perm", ints(&[1, 0, 2]))]);
    let start = net.node("ReduceMean", &[&y], &[("axes", ints(&[1])), ("keepdims", Attribute::Int(0))]);
    let mut graph = GraphProto {
        name: Some("step".into()),
        input: vec![float("h"), float("slice")],
        output: vec![float("h_after"), float("h_seen")],
        ..GraphProto::default()
    };
    net.in_body(&mut graph, "r", &[8, 8]);
    graph.node = vec![
        op("MatMul", &["h", "r"], "t"),
        op("Add", &["t", "slice"], "u"),
        op("Tanh", &["u"], "h_after"),
        op("Identity", &["h_after"], "h_seen"),
    ];
    let mut node = NodeProto { output: vec!["last".into(), "all".into()], ..op("Scan", &[&start, &by_time], "last") };
    node.set_attribute("num_scan_inputs", Attribute::Int(1));
    net.with_bodies(node, vec![body("body", graph)]);
    let y = net.node("ReduceMean", &["all"], &[("axes", ints(&[0])), ("keepdims", Attribute::Int(0))]);
    let y = net.node("Add", &["last", &y], &[]);
    let y = net.dense("b", &y, 8, 2);
    net.finish(&y, &[2])
}

#[test]
fn what_a_scan_slices_is_cut_along_the_other_axes() {
    let pruned = certified_on_one(&steps());
    assert_eq!(shape(&pruned, "w"), [4, 4]);
    assert_eq!(body_shape(&pruned, "Scan", "body", "r"), [4, 4]);
}

/// A loop that adds a row at each turn, computed with a weight that a layer outside uses too.
pub(super) fn growing() -> Model {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let count = net.b.constant(&Tensor::from_i64(&[], &[2]));
    let y = net.dense("a", &x, 4, 8);
    let outside = net.weight("w", &[8, 8]);
    let mut join = op("Concat", &["before", "t"], "after");
    join.set_attribute("axis", Attribute::Int(0));
    let graph = GraphProto {
        name: Some("turn".into()),
        input: vec![
            value_info("turn", DataType::Int64, &[]),
            value_info("go_on", DataType::Bool, &[]),
            float("before"),
        ],
        output: vec![value_info("go_on_out", DataType::Bool, &[]), float("after")],
        node: vec![op("Identity", &["go_on"], "go_on_out"), op("MatMul", &[&y, &outside], "t"), join],
        ..GraphProto::default()
    };
    net.with_bodies(op("Loop", &[&count, "", &y], "grown"), vec![body("body", graph)]);
    let y = net.node("ReduceMean", &["grown"], &[("axes", ints(&[0])), ("keepdims", Attribute::Int(1))]);
    let z = net.dense("c", &x, 4, 8);
    let outside = net.node("MatMul", &[&z, &outside], &[]);
    let y = net.node("Add", &[&y, &outside], &[]);
    let y = net.dense("b", &y, 8, 2);
    net.finish(&y, &[2])
}

#[test]
fn a_loop_that_carries_something_that_grows_stays_with_the_reason_and_the_rest_is_cut() {
    let pruned = certified_on_one(&growing());
    assert_eq!(shape(&pruned, "a"), [8, 4]);
    assert_eq!(shape(&pruned, "c"), [4, 4]);
    assert!(reason(&pruned, "a", 0).contains("Loop"), "{}", reason(&pruned, "a", 0));
}

/// A branch with a weight of its own inside of a loop.
pub(super) fn branches_in_turns() -> Model {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let condition = net.condition(&x);
    let count = net.b.constant(&Tensor::from_i64(&[], &[2]));
    let y = net.dense("a", &x, 4, 8);
    let mut yes = GraphProto { name: Some("yes".into()), output: vec![float("v")], ..GraphProto::default() };
    net.in_body(&mut yes, "w", &[8, 8]);
    yes.node = vec![op("MatMul", &["before", "w"], "v")];
    let no = GraphProto {
        name: Some("no".into()),
        output: vec![float("v")],
        node: vec![op("Identity", &["before"], "v")],
        ..GraphProto::default()
    };
    let inner = NodeProto {
        attribute: vec![body("then_branch", yes), body("else_branch", no)],
        ..op("If", &[&condition], "chosen")
    };
    let graph = GraphProto {
        name: Some("turn".into()),
        input: vec![
            value_info("turn", DataType::Int64, &[]),
            value_info("go_on", DataType::Bool, &[]),
            float("before"),
        ],
        output: vec![value_info("go_on_out", DataType::Bool, &[]), float("after")],
        node: vec![op("Identity", &["go_on"], "go_on_out"), inner, op("Tanh", &["chosen"], "after")],
        ..GraphProto::default()
    };
    net.with_bodies(op("Loop", &[&count, "", &y], "last"), vec![body("body", graph)]);
    let y = net.dense("b", "last", 8, 2);
    net.finish(&y, &[2])
}

#[test]
fn branches_inside_of_a_turn_are_cut_too() {
    let pruned = certified_on_one(&branches_in_turns());
    assert_eq!(shape(&pruned, "a"), [4, 4]);
    assert_eq!(shape(&pruned, "b"), [2, 4]);
}

/// The graph that a way of a plan leads to.
fn follow<'g>(graph: &'g mut GraphProto, way: &[GraphStep]) -> &'g mut GraphProto {
    way.iter().fold(graph, |graph, step| {
        let node = &mut graph.node[step.node];
        assert_eq!(node.label(), step.label);
        node.attribute.iter_mut().find(|attribute| attribute.name() == step.attribute).unwrap().g.as_mut().unwrap()
    })
}

fn tensor_of<'g>(graph: &'g mut GraphProto, name: &str) -> &'g mut TensorProto {
    if let Some(at) = graph.initializer.iter().position(|tensor| tensor.name() == name) {
        return &mut graph.initializer[at];
    }
    let node = graph.node.iter_mut().find(|node| node.is("Constant") && node.output[0] == name).expect(name);
    node.attribute[0].t.as_mut().unwrap()
}

/// Element by element, by the plan alone.
fn without(tensor: &TensorProto, axes: &[AxisCut]) -> TensorProto {
    let tensor = Tensor::from_proto(tensor).unwrap();
    let values = tensor.to_f32().unwrap();
    let stays = |at: usize, cut: &AxisCut| {
        let inner: usize = tensor.shape[cut.axis + 1..].iter().product();
        !cut.removed.contains(&((at / inner % cut.size) as u32))
    };
    let kept = (0..values.len()).filter(|at| axes.iter().all(|cut| stays(*at, cut))).map(|at| values[at]);
    let mut shape = tensor.shape.clone();
    for cut in axes {
        assert_eq!(shape[cut.axis], cut.size);
        shape[cut.axis] -= cut.removed.len();
    }
    Tensor::from_f32(&shape, &kept.collect::<Vec<f32>>()).to_proto("")
}

/// The cut done again on the original by what its plan says as JSON, with nothing else known.
fn done_again(model: &Model, plan: &Plan) -> Model {
    let plan: Plan = serde_json::from_str(&serde_json::to_string(plan).unwrap()).unwrap();
    let (mut model, original) = (model.clone(), model);
    let reads = |graph: &mut GraphProto, name: &str, uses: &[InputSlot]| {
        for slot in uses {
            let node = &mut follow(graph, &slot.graph).node[slot.node];
            assert_eq!(node.label(), slot.label);
            name.clone_into(&mut node.input[slot.slot]);
        }
    };
    for cut in &plan.tensors {
        let was = without(tensor_of(follow(original.clone().graph_proto_mut(), &cut.graph), &cut.tensor), &cut.axes);
        let graph = model.graph_proto_mut();
        if cut.uses.is_empty() {
            let place = tensor_of(follow(graph, &cut.graph), &cut.tensor);
            *place = TensorProto { name: place.name.clone(), ..was };
        } else {
            graph.initializer.push(TensorProto { name: Some(cut.becomes.clone()), ..was });
            reads(graph, &cut.becomes, &cut.uses);
        }
    }
    for change in &plan.numbers {
        let elements = Tensor::from_i64(&[change.elements.len()], &change.elements).to_proto("");
        let graph = model.graph_proto_mut();
        match &change.was {
            Some(was) if was == &change.becomes => {
                let place = tensor_of(follow(graph, &change.graph), was);
                *place = TensorProto { name: place.name.clone(), dims: place.dims.clone(), ..elements };
            }
            _ => {
                graph.initializer.push(TensorProto { name: Some(change.becomes.clone()), ..elements });
                reads(graph, &change.becomes, &change.uses);
            }
        }
    }
    for change in &plan.attributes {
        let node = &mut follow(model.graph_proto_mut(), &change.graph).node[change.node];
        assert_eq!(node.label(), change.label);
        node.set_attribute(&change.attribute, Attribute::Ints(change.integers.clone().unwrap()));
    }
    model
}

/// A turn with branches in it that hold a weight each, both called `w`, and regroup what they have by numbers of their own;
/// what the turns and the branches read is shared.
fn nested() -> Model {
    let mut net = Net::new();
    let x = net.input(&[4]);
    let condition = net.condition(&x);
    let count = net.b.constant(&Tensor::from_i64(&[], &[2]));
    let y = net.dense("a", &x, 4, 8);
    let branch = |net: &mut Net, name: &str, bend: &str| {
        let mut graph = GraphProto { name: Some(name.into()), output: vec![float("v")], ..GraphProto::default() };
        net.in_body(&mut graph, "w", &[8, 6]);
        net.in_body(&mut graph, "r", &[6, 8]);
        graph.initializer.push(Tensor::from_i64(&[3], &[-1, 6, 1]).to_proto("apart"));
        graph.initializer.push(Tensor::from_i64(&[2], &[-1, 6]).to_proto("together"));
        graph.node = vec![
            op("MatMul", &["before", "w"], "t"),
            op(bend, &["t"], "u"),
            op("Reshape", &["u", "apart"], "p"),
            op("Reshape", &["p", "together"], "q"),
            op("MatMul", &["q", "r"], "v"),
        ];
        graph
    };
    let (yes, no) = (branch(&mut net, "yes", "Tanh"), branch(&mut net, "no", "Sigmoid"));
    let inner = NodeProto {
        attribute: vec![body("then_branch", yes), body("else_branch", no)],
        ..op("If", &[&condition], "chosen")
    };
    let graph = GraphProto {
        name: Some("turn".into()),
        input: vec![
            value_info("turn", DataType::Int64, &[]),
            value_info("go_on", DataType::Bool, &[]),
            float("before"),
        ],
        output: vec![value_info("go_on_out", DataType::Bool, &[]), float("after")],
        node: vec![op("Identity", &["go_on"], "go_on_out"), inner, op("Tanh", &["chosen"], "after")],
        ..GraphProto::default()
    };
    // Names of the main graph that bodies have as well.
    let y = net.node("Relu", &[&y], &[]);
    net.with_bodies(op("Loop", &[&count, "", &y], "last"), vec![body("body", graph)]);
    let y = net.dense("b", "last", 8, 2);
    net.finish(&y, &[2])
}

/// The plan once had the names and places of the laid out graph, which are not those of the file.
#[test]
fn the_plan_alone_is_enough_to_do_the_cut_again_on_the_original() {
    let mut taken = branches();
    let always = Tensor { dtype: DataType::Bool, shape: vec![], data: vec![0].into() };
    taken.graph_proto_mut().initializer.push(always.to_proto("always"));
    taken.graph_proto_mut().node.iter_mut().find(|node| node.is("If")).unwrap().input[0] = "always".into();
    for (what, model, ways) in
        [("branches", branches(), 2), ("turns", turns(), 0), ("nested", nested(), 2), ("taken", taken, 1)]
    {
        let pruned = certified_on_one(&model);
        let plan = pruned.plan.as_ref().unwrap();
        let mut inside: Vec<&[GraphStep]> =
            plan.tensors.iter().map(|cut| &cut.graph[..]).filter(|way| !way.is_empty()).collect();
        inside.sort_unstable();
        inside.dedup();
        assert_eq!(inside.len(), ways, "{what}: {plan:?}");
        let mut again = done_again(&model, plan);
        if what == "taken" {
            // The branch that is never taken is gone from the cut model; here it would not fit its surroundings.
            let node = again.graph_proto_mut().node.iter_mut().find(|node| node.is("If")).unwrap();
            let other = node.find_attribute("else_branch").unwrap().g.clone();
            node.attribute.iter_mut().find(|attribute| attribute.name() == "then_branch").unwrap().g = other;
        }
        let runtime = crate::engine::onnx_runtime().unwrap();
        let mut random = Net::new();
        for _ in 0..4 {
            let x = random.random(&[2, 4]);
            assert_eq!(outputs(runtime, &again, &x), outputs(runtime, &pruned.model, &x), "{what}");
        }
        assert!(pruned.model.to_bytes().len() < model.to_bytes().len(), "{what}");
    }
}

/// Every name in a graph and in those inside of it.
fn names_in(graph: &GraphProto) -> Vec<String> {
    let mut found: Vec<String> = graph.initializer.iter().map(|tensor| tensor.name().to_owned()).collect();
    for node in &graph.node {
        found.extend(node.input.iter().chain(&node.output).cloned());
        found.extend(node.subgraphs().flat_map(names_in));
    }
    found.extend(graph.input.iter().chain(&graph.output).map(|info| info.name().to_owned()));
    found
}

#[test]
fn names_of_bodies_are_those_of_the_original_again() {
    for model in [branches(), turns(), nested()] {
        let pruned = certified_on_one(&model);
        let mut found = names_in(pruned.model.graph_proto());
        // A weight that the branches cut each in its own way is there twice.
        found.retain(|name| name != "shared_cut1");
        let mut expected = names_in(model.graph_proto());
        for names in [&mut found, &mut expected] {
            names.sort_unstable();
            names.dedup();
        }
        assert_eq!(found, expected);
    }
}

#[test]
fn the_dearer_branch_and_every_turn_are_counted() {
    let macs = |model: &Model| crate::cost::macs(model, &crate::cost::ExampleShapes::new());
    // 4 × 8 before and 8 × 2 behind; 8 × 6 and 6 × 8 in each branch, 8 × 8 a turn.
    assert_eq!(macs(&branches()), Ok(32 + 96 + 16));
    assert_eq!(macs(&turns()), Ok(32 + 3 * 64 + 16));
    assert_eq!(macs(&nested()), Ok(32 + 2 * 96 + 16));
    for free in ["then_branch", "else_branch"] {
        let mut model = branches();
        let node = model.graph_proto_mut().node.iter_mut().find(|node| node.is("If")).unwrap();
        let body = node.attribute.iter_mut().find(|attribute| attribute.name() == free).unwrap().g.as_mut().unwrap();
        let y = body.node[0].input[0].clone();
        body.node = vec![op("Identity", &[&y], "out")];
        assert_eq!(macs(&model), Ok(32 + 96 + 16), "{free}");
    }
    let mut open = turns();
    let node = open.graph_proto().node.iter().find(|node| node.is("Loop"));
    let count = node.unwrap().input[0].clone();
    let graph = open.graph_proto_mut();
    graph.initializer.retain(|tensor| tensor.name() != count);
    graph.input.push(value_info(&count, DataType::Int64, &[]));
    let reason = macs(&open).unwrap_err();
    assert!(reason.ends_with("runs is not known: its count is computed, or left out"), "{reason}");
    let mut ended = turns();
    let node = ended.graph_proto_mut().node.iter_mut().find(|node| node.is("Loop")).unwrap();
    let body = node.attribute[0].g.as_mut().unwrap();
    body.node[0] = op("Not", &["go_on"], "go_on_out");
    let reason = macs(&ended).unwrap_err();
    assert!(reason.contains("`turn`") && reason.ends_with("a condition that is computed may end it"), "{reason}");
}

#[test]
fn a_share_of_the_multiply_accumulates_is_met_with_every_turn_counted() {
    let target = Some(Target::MacsKept(0.4));
    let spec = PruneRequest { target, round_to: Some(1.into()), ..PruneRequest::default() }.parse().unwrap();
    for model in [branches(), turns(), nested()] {
        let report = prune(&model, &spec, None, 1, &|_| {}).unwrap().report;
        let kept = report.size_after.macs.unwrap() as f64 / report.size_before.macs.unwrap() as f64;
        assert!(kept <= 0.4 && kept > 0.15, "{kept}");
    }
    // The hidden layer alone would do if the sixty turns counted once. As it is, all of it goes that may: 7 of 64 channels
    // are left, so that 60 × 64 + 7 × (4 + 8) + 16 of 60 × 64 + 64 × (4 + 8) + 16 are.
    let request =
        PruneRequest { target, round_to: Some(1.into()), exclude: vec!["w".into()], ..PruneRequest::default() };
    let error = prune(&turns_behind(64, 60), &request.parse().unwrap(), None, 1, &|_| {}).unwrap_err();
    assert!(
        error.to_string().contains("macs_kept 0.4 cannot be reached; the best that is possible is 0.8521"),
        "{error}"
    );
}
