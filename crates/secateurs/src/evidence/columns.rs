//! What arrives at the edges where units are consumed, added up by sample and unit.

use std::collections::BTreeSet;

use secateurs_graph::coupling::Coupling;
use secateurs_graph::samples::{SampleAxis, sample_axes};
use secateurs_graph::session::Tap;
use secateurs_graph::surgery::Consumed;
use secateurs_graph::{Graph, GraphError};
use secateurs_torch::tch::{Device, Kind, TchError, Tensor};

use crate::compensate::positions::token_positions;

/// All places where units are consumed. Every index of every place is a column; units are numbered through all groups.
pub(super) struct Columns {
    pub taps: Vec<Tap>,
    places: Vec<Place>,
    /// The unit of every column.
    pub units_of: Vec<u32>,
    /// What a column counts: one over the operands that share its mask.
    pub shares: Vec<f32>,
    pub units: usize,
    /// A node at which samples cannot be told apart, so that only one can run at a time.
    pub mixing: Option<String>,
}

struct Place {
    tap: usize,
    axis: usize,
    samples: Option<SampleAxis>,
    /// The indices on the axis, a column each.
    indices: Vec<i64>,
}

impl Columns {
    pub fn new(graph: &Graph, coupling: &Coupling) -> Result<Columns, GraphError> {
        let mut offsets = vec![0u32];
        for group in &coupling.groups {
            offsets.push(offsets[offsets.len() - 1] + group.units.len() as u32);
        }
        let samples = sample_axes(graph);
        let mut columns = Columns {
            taps: Vec::new(),
            places: Vec::new(),
            units_of: Vec::new(),
            shares: Vec::new(),
            units: offsets[coupling.groups.len()] as usize,
            mixing: None,
        };
        let consumed = coupling.consumed(graph)?;
        let place = |at: &Consumed| {
            let place = graph.nodes[at.node].inputs[at.input].and_then(|value| samples.get(value).cloned());
            place.filter(|place| place.axis != at.axis)
        };
        let units = |at: &Consumed| -> BTreeSet<(usize, usize)> {
            at.indices.iter().map(|index| (index.group, index.unit)).collect()
        };
        for at in &consumed {
            let own = place(at);
            // Of the operands of a product one that differs from sample to sample will do.
            let peers = consumed.iter().filter(|peer| {
                peer.node == at.node
                    && peer.operands == at.operands
                    && place(peer).is_some()
                    && units(peer) == units(at)
            });
            let varying = if at.operands > 1 { peers.count() } else { usize::from(own.is_some()) };
            if own.is_none() && varying > 0 {
                continue;
            }
            let Consumed { node, input, axis, ref indices, operands } = *at;
            let operands = if varying > 0 { varying } else { operands };
            let tap = Tap::Edge { node, input };
            let at = columns.taps.iter().position(|t| *t == tap).unwrap_or_else(|| {
                columns.taps.push(tap);
                columns.taps.len() - 1
            });
            if own.is_none() {
                columns.mixing.get_or_insert_with(|| graph.node_label(node));
            }
            columns.places.push(Place {
                tap: at,
                axis,
                samples: own,
                indices: indices.iter().map(|i| i.index as i64).collect(),
            });
            columns.units_of.extend(indices.iter().map(|i| offsets[i.group] + i.unit as u32));
            columns.shares.extend(indices.iter().map(|_| 1.0 / operands as f32));
        }
        Ok(columns)
    }

    /// How many columns there are.
    pub fn len(&self) -> usize {
        self.units_of.len()
    }

    /// `[samples, columns]`, on the host: for every column the sum over all positions of what `read` makes of the tensor at its tap;
    /// zeros where it makes nothing of it.
    pub fn sums(
        &self,
        samples: i64,
        read: impl Fn(usize) -> Result<Option<Tensor>, TchError>,
    ) -> Result<Tensor, TchError> {
        self.by_place(read, |place, tensor| match tensor {
            Some(tensor) => place.sums(tensor, samples),
            None => Tensor::f_zeros([samples, place.indices.len() as i64], (Kind::Float, Device::Cpu)),
        })
    }

    /// `[samples, columns]`, on the host: for every column the mean over all positions that are no padding of what `read` makes of the
    /// tensor at its tap. `mask` (`[samples, tokens]`) is 0 for padding, where there can be any.
    pub fn means(
        &self,
        samples: i64,
        mask: Option<&Tensor>,
        read: impl Fn(usize) -> Result<Tensor, TchError>,
    ) -> Result<Tensor, TchError> {
        self.by_place(read, |place, tensor| place.means(tensor, samples, mask))
    }

    /// What is made at every place, side by side; a tap is read once for the places that follow each other on it.
    fn by_place<T>(
        &self,
        read: impl Fn(usize) -> Result<T, TchError>,
        make: impl Fn(&Place, &T) -> Result<Tensor, TchError>,
    ) -> Result<Tensor, TchError> {
        let mut parts = Vec::with_capacity(self.places.len());
        let mut read_last: Option<(usize, T)> = None;
        for place in &self.places {
            let tensor = match &read_last {
                Some((tap, tensor)) if *tap == place.tap => tensor,
                _ => &read_last.insert((place.tap, read(place.tap)?)).1,
            };
            parts.push(make(place, tensor)?);
        }
        Tensor::f_cat(&parts, 1)
    }

    /// `[samples, columns]` added up by unit: `[samples, units]`.
    pub fn by_unit(&self, columns: &Tensor) -> Result<Tensor, TchError> {
        let units: Vec<i64> = self.units_of.iter().map(|&unit| unit.into()).collect();
        let shape = [columns.size()[0], self.units as i64];
        let zeros = Tensor::f_zeros(shape, (columns.f_kind()?, Device::Cpu))?;
        zeros.f_index_add(1, &Tensor::f_from_slice(&units)?, columns)
    }
}

#[cfg(test)]
impl Columns {
    /// What is caught at a tap, zeros wherever it does not belong to a unit, times what it counts.
    pub fn only(&self, tap: usize, unit: usize, caught: &Tensor) -> Result<Tensor, TchError> {
        let sum = caught.f_zeros_like()?;
        let mut column = 0;
        for place in &self.places {
            for &index in &place.indices {
                if place.tap == tap && self.units_of[column] as usize == unit {
                    let own = caught.f_narrow(place.axis as i64, index, 1)?;
                    let own = own.f_mul_scalar(f64::from(self.shares[column]))?;
                    let mut to = sum.f_narrow(place.axis as i64, index, 1)?;
                    to.f_copy_(&own)?;
                }
                column += 1;
            }
        }
        Ok(sum)
    }
}

impl Place {
    /// Sums over all axes but those of the samples and the indices; `[samples, indices]` on the host.
    fn sums(&self, tensor: &Tensor, samples: i64) -> Result<Tensor, TchError> {
        let sums = self.summed(tensor, samples)?;
        let indices = Tensor::f_from_slice(&self.indices)?.f_to_device(sums.device())?;
        sums.f_index_select(1, &indices)?.f_to_device(Device::Cpu)
    }

    /// Means in place of sums, over what is no padding.
    fn means(&self, tensor: &Tensor, samples: i64, mask: Option<&Tensor>) -> Result<Tensor, TchError> {
        let size = tensor.size();
        let tokens = match mask {
            Some(mask) => token_positions(&size, self.axis, self.samples.as_ref(), mask)?,
            None => None,
        };
        match tokens {
            Some(tokens) => {
                let tokens = tokens.f_to_device(tensor.device())?.f_to_kind(tensor.f_kind()?)?;
                let count = self.summed(&tokens, samples)?.f_clamp_min(1.0)?.f_to_device(Device::Cpu)?;
                self.sums(&tensor.f_mul(&tokens)?, samples)?.f_div(&count)
            }
            None => {
                let sums = self.sums(tensor, samples)?;
                let count = size.iter().product::<i64>() / size[self.axis];
                let count = if self.samples.is_some() { count / samples } else { count };
                sums.f_div_scalar(count as f64)
            }
        }
    }

    /// `[samples, axis]`: sums over all other axes.
    fn summed(&self, tensor: &Tensor, samples: i64) -> Result<Tensor, TchError> {
        let tensor = by_sample(tensor, self.samples.as_ref(), self.axis, samples)?;
        let others: Vec<i64> = (2..tensor.dim() as i64).collect();
        match others.is_empty() {
            true => Ok(tensor),
            false => tensor.f_sum_dim_intlist(&others[..], false, None::<Kind>),
        }
    }
}

/// A view `[samples, axis, …]` of a tensor, the axis one that holds no samples.
pub(super) fn by_sample(
    tensor: &Tensor,
    place: Option<&SampleAxis>,
    axis: usize,
    samples: i64,
) -> Result<Tensor, TchError> {
    let mut sizes = tensor.size();
    let (tensor, first, axis) = match place.filter(|_| samples > 1) {
        None => (tensor.f_unsqueeze(0)?, 0, axis + 1),
        Some(place) => {
            let factors = place.factors(sizes[place.axis], samples).ok_or_else(|| {
                TchError::Kind(format!("{samples} samples do not fit an axis of {}", sizes[place.axis]))
            })?;
            sizes.splice(place.axis..=place.axis, factors);
            let axis = if axis > place.axis { axis + 2 } else { axis };
            (tensor.f_reshape(&sizes)?, place.axis + 1, axis)
        }
    };
    let others = (0..tensor.dim()).filter(|d| *d != axis && *d != first);
    let order: Vec<i64> = [first, axis].into_iter().chain(others).map(|d| d as i64).collect();
    tensor.f_permute(order)
}
