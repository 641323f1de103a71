//! Rows of a node computed by other ops: k×k convolutions by 1×1 convolutions at their centre, matrices by the product of two of low
//! rank.
//!
//! The other rows stay with the node, and both are concatenated along the channel axis. What the ops are is their files' knowledge
//! ([`Op::rows_by`](crate::op::Op::rows_by)). Where rows of groups of channels go apart, each part reads its own channels: a slice
//! where they lie side by side.

use std::collections::{BTreeMap, HashMap};

use secateurs_onnx::Tensor;
use slotmap::SecondaryMap;

use super::constants::floats;
use super::numbers::Numbers;
use super::place::{Place, RowBias, refused};
use crate::error::GraphError;
use crate::graph::{Graph, NodeId, Source, Use, ValueId};
use crate::op::Op;
use crate::ops;
use crate::patch::{Feed, NewValue, NewValues, Patch};
use crate::rows::{Crop, RowOps, Rows, Way};

/// By what rows are computed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// A convolution of one tap at the centre, in place of one of several.
    Pointwise,
    /// Two matrices, channels → rank → rows.
    LowRank {
        /// How many numbers stand between them.
        rank: usize,
    },
}

/// Rows of a node that are to be computed in another form.
#[derive(Clone, Debug)]
pub struct Implant {
    /// The node.
    pub node: NodeId,
    /// The indices of its output's channel axis, ascending.
    pub rows: Vec<usize>,
    /// By what they are computed.
    pub form: Form,
    /// Whether they get a bias of their own, a number a row. Otherwise they keep what the node adds.
    pub bias: bool,
    /// What the weights start from; `None` computes nothing but the bias.
    pub start: Option<Start>,
}

/// What the weights of an [`Implant`] start from, in any float type.
#[derive(Clone, Debug)]
pub struct Start {
    /// Pointwise: one tensor `[rows, channels of a group]`, with any number of axes of one index behind. Low rank: `[rank, channels]`,
    /// then `[rows, rank]`.
    pub weights: Vec<Tensor>,
    /// `[rows]`; zeros if left out. Only where the implant has a bias.
    pub bias: Option<Tensor>,
}

/// The change that puts implants in, and what it needs at run time besides.
#[derive(Debug, Default)]
pub struct Implanted {
    /// The change.
    pub patch: Patch,
    /// Gathers that put channels in order, or pick those of groups that lie apart.
    pub gathers: usize,
    /// Slices: of data whose border a pointwise convolution does not look at, and of the channels of groups.
    pub slices: usize,
    /// By what rows are computed now.
    pub parts: Vec<RowPart>,
}

/// Rows that one node computes.
#[derive(Debug)]
pub struct RowPart {
    /// The node that computed them before.
    pub node: NodeId,
    /// Which of its rows, ascending.
    pub rows: Vec<usize>,
    /// Whether they are computed in the other form.
    pub implanted: bool,
    by: By,
}

/// Where the node is that computes a part.
#[derive(Debug)]
enum By {
    /// It is the one that did.
    Same,
    /// It makes a value of the patch.
    Made(NewValue),
    /// It makes the value that the one before made.
    Output(ValueId),
}

impl RowPart {
    /// The node that computes it, once the patch is applied: of a low rank, the second.
    pub fn found(&self, graph: &Graph, made: &NewValues) -> Option<NodeId> {
        let value = match &self.by {
            By::Same => return Some(self.node),
            By::Made(new) => made.value(*new)?,
            By::Output(value) => *value,
        };
        match graph.values[value].source {
            Source::Node(node, _) => Some(node),
            _ => None,
        }
    }
}

/// The change that computes rows in other forms, one implant a node at most.
pub fn implant(graph: &Graph, implants: &[Implant]) -> Result<Implanted, GraphError> {
    let uses = graph.uses();
    let mut done = Implanted::default();
    let mut seen = HashMap::new();
    for implant in implants {
        if seen.insert(implant.node, ()).is_some() {
            return Err(refused(graph, implant.node, "it has two implants"));
        }
        Surgeon { graph, uses: &uses, place: Place::of(graph, implant.node)?, implant, done: &mut done }
            .operate()?;
    }
    done.patch.remove_dead();
    Ok(done)
}

/// Whether the rows of a node can be computed in this form; an error that says why not, if not.
pub fn offers(graph: &Graph, node: NodeId, form: Form) -> Result<(), GraphError> {
    offered(graph, &Place::of(graph, node)?, form).map_err(|reason| refused(graph, node, reason))
}

/// The same of a place, without the node's name.
pub(super) fn offered(graph: &Graph, place: &Place, form: Form) -> Result<(), &'static str> {
    place.ops(graph, Way::of(form, false), place.rows.groups).map(drop)
}

impl Way {
    fn of(form: Form, own_bias: bool) -> Way {
        match form {
            Form::Pointwise => Way::Pointwise,
            Form::LowRank { .. } => Way::Factored { own_bias },
        }
    }
}

struct Surgeon<'s, 'g> {
    graph: &'g Graph,
    uses: &'s SecondaryMap<ValueId, Vec<Use>>,
    place: Place<'g>,
    implant: &'s Implant,
    done: &'s mut Implanted,
}

/// Rows that one node can compute: of every group that it has the same number.
struct Share {
    groups: Vec<usize>,
    rows: Vec<usize>,
}

/// A node that is not there yet.
struct Pending {
    name: String,
    op: Box<dyn Op>,
    feeds: Vec<Feed>,
    /// The product, where this one only adds to it.
    product: Option<NewValue>,
}

impl<'g> Surgeon<'_, 'g> {
    fn operate(mut self) -> Result<(), GraphError> {
        let (rows, all) = (&self.implant.rows, self.place.rows.rows);
        if rows.is_empty() || rows.windows(2).any(|w| w[0] >= w[1]) || rows.last().is_some_and(|r| *r >= all)
        {
            let reason = format!("rows are to be listed ascending, each below {all}");
            return Err(refused(self.graph, self.place.node, reason));
        }
        let start = Numbers::of(self.graph, &self.place, self.implant, self.place.rows.channels)?;
        let rest: Vec<usize> = (0..all).filter(|row| rows.binary_search(row).is_err()).collect();
        let (rest, own) = (self.parts(&rest), self.parts(rows));
        let mut pending: Vec<(Vec<usize>, Pending)> = Vec::new();
        for (i, part) in rest.into_iter().enumerate() {
            let node = self.same(&part, i == 0)?;
            pending.push((part.rows, node));
        }
        let stays = pending.first().map(|(rows, _)| rows[0]);
        for part in own {
            let node = self.other(&part, &start)?;
            pending.push((part.rows, node));
        }
        pending.sort_by_key(|(rows, _)| rows[0]);
        let order: Vec<usize> = pending.iter().flat_map(|(rows, _)| rows.iter().copied()).collect();
        let (output, axis, name) = (self.place.output, self.place.rows.output_axis, self.name());
        let (done, node) = (&mut *self.done, self.place.node);
        let patch = &mut done.patch;
        let implanted = |rows: &[usize]| self.implant.rows.binary_search(&rows[0]).is_ok();
        let mut add = |rows: Vec<usize>, by: By| {
            done.parts.push(RowPart { node, implanted: implanted(&rows), rows, by })
        };
        let concat = || Box::new(ops::Concat::along(axis));
        match (stays, pending.len()) {
            (Some(stays), _) => {
                let mut feeds = [Vec::new(), Vec::new()];
                for (rows, own) in pending {
                    match rows[0].cmp(&stays) {
                        std::cmp::Ordering::Equal => {
                            patch.set_op(node, own.op);
                            patch.set_inputs(node, own.feeds);
                            add(rows, By::Same);
                        }
                        side => {
                            let made = patch.make(own.name, own.op, own.feeds);
                            add(rows, By::Made(own.product.unwrap_or(made)));
                            feeds[usize::from(side.is_gt())].push(Feed::New(made));
                        }
                    }
                }
                patch.join_after(output, format!("{name}_rows"), concat(), feeds);
            }
            (None, 1) => {
                for (rows, own) in pending {
                    patch.replace_producer(own.name, own.op, own.feeds, vec![output]);
                    add(rows, own.product.map_or(By::Output(output), By::Made));
                }
            }
            (None, _) => {
                let mut feeds = Vec::new();
                for (rows, own) in pending {
                    let made = patch.make(own.name, own.op, own.feeds);
                    add(rows, By::Made(own.product.unwrap_or(made)));
                    feeds.push(Feed::New(made));
                }
                patch.replace_producer(format!("{name}_rows"), concat(), feeds, vec![output]);
            }
        }
        if order.iter().enumerate().any(|(i, row)| i != *row) {
            let mut at = vec![0; all];
            order.iter().enumerate().for_each(|(i, &row)| at[row] = i);
            let (op, indices) = ops::Gather::along(axis, &at);
            let extra = vec![(format!("{name}_order"), indices)];
            patch.insert_after(output, format!("{name}_order"), Box::new(op), extra);
            self.done.gathers += 1;
        }
        Ok(())
    }

    fn ops(&self, way: Way, part: &Share) -> Result<RowOps, GraphError> {
        let ops = self.place.ops(self.graph, way, part.groups.len());
        ops.map_err(|reason| refused(self.graph, self.place.node, reason))
    }

    /// What new nodes and constants are named after.
    fn name(&self) -> String {
        let node = &self.graph.nodes[self.place.node];
        match node.name.is_empty() {
            true => self.graph.values[self.place.output].name.clone(),
            false => node.name.clone(),
        }
    }

    /// Rows by the number that their groups have of them.
    fn parts(&self, rows: &[usize]) -> Vec<Share> {
        let per_group = self.place.rows.rows / self.place.rows.groups;
        let mut by_group: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        rows.iter().for_each(|&row| by_group.entry(row / per_group).or_default().push(row));
        let mut parts: Vec<Share> = Vec::new();
        let mut by_count: HashMap<usize, usize> = HashMap::new();
        for (group, rows) in by_group {
            let part = *by_count.entry(rows.len()).or_insert_with(|| {
                parts.push(Share { groups: Vec::new(), rows: Vec::new() });
                parts.len() - 1
            });
            parts[part].groups.push(group);
            parts[part].rows.extend(rows);
        }
        parts
    }

    /// The data of a part's groups, less what is cropped.
    fn data(&mut self, part: &Share, crops: &[Crop]) -> Feed {
        let Rows { data, data_axis, groups, channels, .. } = self.place.rows;
        let value = self.graph.nodes[self.place.node].inputs[data];
        let name = self.name();
        let mut feed = Feed::Value(value);
        let mut ranges: Vec<(usize, i64, i64)> = Vec::new();
        if part.groups.len() < groups {
            let (first, last) = (part.groups[0], part.groups[part.groups.len() - 1]);
            if last - first < part.groups.len() {
                ranges.push((data_axis, (first * channels) as i64, ((last + 1) * channels) as i64));
            } else {
                let picked: Vec<usize> =
                    part.groups.iter().flat_map(|g| g * channels..(g + 1) * channels).collect();
                let (op, indices) = ops::Gather::along(data_axis, &picked);
                let indices = Feed::Constant(format!("{name}_channels"), indices);
                let made =
                    self.done.patch.make(format!("{name}_channels"), Box::new(op), vec![feed, indices]);
                feed = Feed::New(made);
                self.done.gathers += 1;
            }
        }
        let end = |end: i64| if end == 0 { i64::MAX } else { -end };
        ranges.extend(crops.iter().map(|crop| (crop.axis, crop.start, end(crop.end))));
        if ranges.is_empty() {
            return feed;
        }
        let (op, constants) = ops::Slice::of(&ranges, self.graph.opset(""));
        let mut feeds = vec![feed];
        feeds.extend(constants.into_iter().map(|tensor| Feed::Constant(format!("{name}_range"), tensor)));
        self.done.slices += 1;
        Feed::New(self.done.patch.make(format!("{name}_range"), Box::new(op), feeds))
    }

    /// The node with only the rows of a part.
    fn same(&mut self, part: &Share, first: bool) -> Result<Pending, GraphError> {
        let ops = self.ops(Way::Same, part)?;
        let data = self.data(part, &[]);
        let in_place = first && is_only_use(self.graph, self.uses, self.place.weight.value);
        let (weight, patch) = (&self.place.weight, &mut self.done.patch);
        let weight = weight.picked(self.graph, patch, self.place.axes[0], &part.rows, in_place)?;
        let bias = self.bias(part, first)?;
        self.chain("part", ops, data, vec![weight], bias)
    }

    /// What a part of the implanted rows is computed by.
    fn other(&mut self, part: &Share, start: &Numbers) -> Result<Pending, GraphError> {
        let channels = self.place.rows.channels;
        let way = Way::of(self.implant.form, self.implant.bias);
        let ops = self.ops(way, part)?;
        let data = self.data(part, &ops.crops);
        let count = part.rows.len();
        let of_part = |values: &[f64], width: usize| -> Vec<f64> {
            let places = part.rows.iter().filter_map(|row| self.implant.rows.binary_search(row).ok());
            places.flat_map(|at| values[at * width..][..width].iter().copied()).collect()
        };
        let weights = match self.implant.form {
            Form::Pointwise => {
                vec![self.weight("pointwise", [count, channels], &of_part(&start.weights[0], channels))?]
            }
            Form::LowRank { rank } => vec![
                self.weight("first", [rank, channels], &start.weights[0])?,
                self.weight("second", [count, rank], &of_part(&start.weights[1], rank))?,
            ],
        };
        let bias = match &start.bias {
            Some(bias) => {
                let rank = self.graph.values[self.place.output].fact.rank().unwrap_or(2);
                let mut shape = vec![count];
                if self.place.rows.bias.is_none() {
                    shape.resize(rank - self.place.rows.output_axis, 1);
                }
                let tensor = floats(self.place.weight.element_type, shape, &of_part(bias, 1))?;
                Some(Feed::Constant(format!("{}_bias", self.weight_name()), tensor))
            }
            None => self.bias(part, false)?,
        };
        self.chain("implant", ops, data, weights, bias)
    }

    /// Ops one behind the other, each with its weight and the last with the bias: all but the last are made.
    fn chain(
        &mut self,
        suffix: &str,
        ops: RowOps,
        data: Feed,
        weights: Vec<Feed>,
        bias: Option<Feed>,
    ) -> Result<Pending, GraphError> {
        let Rows { data: at, weight, bias: bias_at, .. } = self.place.rows;
        let name = self.name();
        let mut feed = data;
        let mut nodes = ops.ops.into_iter().zip(weights).enumerate().peekable();
        while let Some((i, (op, own))) = nodes.next() {
            let mut feeds = vec![Feed::Value(None), Feed::Value(None)];
            (feeds[at], feeds[weight]) = (feed, own);
            let name = format!("{name}_{suffix}{}", ["", "_second"][i.min(1)]);
            if nodes.peek().is_some() {
                if self.place.adds_nothing(self.graph) {
                    let nothing = floats(self.place.weight.element_type, vec![1], &[0.0])?;
                    feeds.push(Feed::Constant(format!("{name}_nothing"), nothing));
                }
                feed = Feed::New(self.done.patch.make(name, op, feeds));
                continue;
            }
            return Ok(match (bias, bias_at) {
                (Some(bias), Some(at)) => {
                    feeds.resize_with(at, || Feed::Value(None));
                    feeds.push(bias);
                    Pending { name, op, feeds, product: None }
                }
                (Some(bias), None) => {
                    let product = self.done.patch.make(name.clone(), op, feeds);
                    Pending {
                        name: format!("{name}_sum"),
                        op: Box::new(ops::Add),
                        feeds: vec![Feed::New(product), bias],
                        product: Some(product),
                    }
                }
                (None, _) => Pending { name, op, feeds, product: None },
            });
        }
        Err(refused(self.graph, self.place.node, "its op names no op for its rows"))
    }

    /// What is added to the rows of a part, as the node has it.
    fn bias(&mut self, part: &Share, first: bool) -> Result<Option<Feed>, GraphError> {
        match &self.place.bias {
            Some(RowBias::Constant(bias)) => {
                let axis = bias.tensor.shape().len() - 1;
                let in_place = first && is_only_use(self.graph, self.uses, bias.value);
                let picked = bias.picked(self.graph, &mut self.done.patch, axis, &part.rows, in_place);
                return picked.map(Some);
            }
            Some(RowBias::Known(known, element_type)) => {
                let own: Vec<f64> = part.rows.iter().map(|row| known[*row]).collect();
                let tensor = floats(*element_type, vec![own.len()], &own)?;
                return Ok(Some(Feed::Constant(format!("{}_bias", self.name()), tensor)));
            }
            None => {}
        }
        let node = &self.graph.nodes[self.place.node];
        let value = self.place.rows.bias.and_then(|i| node.inputs.get(i).copied().flatten());
        Ok(value.map(|value| Feed::Value(Some(value))))
    }

    fn weight_name(&self) -> &str {
        &self.graph.values[self.place.weight.value].name
    }

    /// A new weight `[outputs, inputs]`, laid out as that of the node.
    fn weight(
        &self,
        suffix: &str,
        [outputs, inputs]: [usize; 2],
        values: &[f64],
    ) -> Result<Feed, GraphError> {
        let Rows { weight_axis, channel_axis, .. } = self.place.rows;
        let mut shape = vec![1; 2 + self.place.rows.centre.len()];
        (shape[weight_axis], shape[channel_axis]) = (outputs, inputs);
        let turned: Vec<f64>;
        let values = match weight_axis < channel_axis {
            true => values,
            false => {
                turned = (0..inputs * outputs).map(|i| values[i % outputs * inputs + i / outputs]).collect();
                &turned
            }
        };
        let tensor = floats(self.place.weight.element_type, shape, values)?;
        Ok(Feed::Constant(format!("{}_{suffix}", self.weight_name()), tensor))
    }
}

fn is_only_use(graph: &Graph, uses: &SecondaryMap<ValueId, Vec<Use>>, value: ValueId) -> bool {
    uses[value].len() == 1 && !graph.outputs.contains(&value)
}
