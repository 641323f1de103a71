//! Shards that were measured apart, added up.

use super::error::EvidenceError;
use super::{Evidence, MeasuredData};

/// Adds up evidence of the same model, measured with the same settings on different samples.
pub fn merge(shards: Vec<Evidence>) -> Result<Evidence, EvidenceError> {
    if let Some(at) = shards.iter().position(|shard| shard.header.ended.is_none()) {
        return Err(EvidenceError::Merge(format!(
            "of these files number {} is not finished, with {} samples; the command that measures it goes on",
            at + 1,
            shards[at].header.samples
        )));
    }
    let mut shards = shards.into_iter();
    let mut whole = shards.next().ok_or_else(|| EvidenceError::Merge("there is nothing to merge".into()))?;
    for shard in shards {
        let fail = |why: String| Err(EvidenceError::Merge(why));
        let (a, b) = (&whole.header, &shard.header);
        if a.model_hash != b.model_hash {
            return fail(format!(
                "evidence of different models ({} and {}) does not add up",
                a.model, b.model
            ));
        }
        if a.settings != b.settings || a.groups != b.groups || a.outputs != b.outputs {
            return fail("evidence that was measured with different settings does not add up".into());
        }
        if a.implants != b.implants {
            return fail("evidence of different versions does not add up: other layers have implants".into());
        }
        if a.labels != b.labels {
            return fail("evidence with labels and evidence without do not add up".into());
        }
        for data in &shard.header.data {
            add_data(&mut whole.header.data, data)?;
        }
        whole.sums.add(&shard.sums);
        for (own, other) in whole.explained.iter_mut().zip(&shard.explained) {
            let add =
                |to: &mut [f64], from: &[f64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            add(&mut own.energy, &other.energy);
            add(&mut own.residual, &other.residual);
        }
        let first = whole.header.samples_in_factor as u32;
        whole.factor.sample_of.extend(shard.factor.sample_of.iter().map(|sample| first + sample));
        whole.factor.units.extend(&shard.factor.units);
        whole.factor.gradients.extend(&shard.factor.gradients);
        whole.header.trace_blocks += shard.header.trace_blocks;
        whole.header.samples += shard.header.samples;
        whole.header.samples_in_factor += shard.header.samples_in_factor;
        let new = shard.header.notes.into_iter().filter(|note| !whole.header.notes.contains(note));
        whole.header.notes.extend(new.collect::<Vec<_>>());
        whole.header.ended = Some(format!("merged, {} samples", whole.header.samples));
    }
    Ok(whole)
}

fn add_data(all: &mut Vec<MeasuredData>, new: &MeasuredData) -> Result<(), EvidenceError> {
    let Some(own) = all.iter_mut().find(|data| data.fingerprint == new.fingerprint) else {
        all.push(new.clone());
        return Ok(());
    };
    if own.is_read_otherwise(&new.fingerprint, new.reading.as_deref()) {
        return Err(EvidenceError::Merge(format!(
            "{} was read otherwise for one than for the other (preprocessing, columns or tokenizer)",
            own.path
        )));
    }
    let overlap =
        own.samples.iter().flat_map(|a| new.samples.iter().map(move |b| [a[0].max(b[0]), a[1].min(b[1])]));
    let shared: usize = overlap.filter(|[from, to]| from < to).map(|[from, to]| to - from).sum();
    if shared > 0 {
        return Err(EvidenceError::Merge(format!(
            "{shared} samples of {} are in both, and would count twice; measure shards with --shard 1/N to N/N",
            own.path
        )));
    }
    own.samples.extend(&new.samples);
    own.samples.sort_unstable();
    // Ranges that touch become one.
    own.samples.dedup_by(|next, last| {
        let touches = last[1] == next[0];
        if touches {
            last[1] = next[1];
        }
        touches
    });
    Ok(())
}
