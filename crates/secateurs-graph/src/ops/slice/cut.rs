//! What a slice keeps of one axis, and how that is written.

use crate::dim::Dim;

/// Beyond this many indices they are not listed.
const MAX_INDICES: i64 = 1 << 16;

/// The indices kept of one axis; `None` where only a run can tell.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    pub start: Dim,
    pub len: Dim,
    pub step: i64,
}

impl Cut {
    pub fn new(size: &Dim, start: &Dim, end: &Dim, step: i64) -> Option<Cut> {
        // Going down, the end may lie before the first index.
        let (low, high) =
            if step > 0 { (Dim::from(0), size.clone()) } else { ((-1).into(), size.clone() - 1.into()) };
        let first = if step > 0 { low.clone() } else { Dim::from(0) };
        let start = clamp(start, size, &first, &high)?;
        let end = clamp(end, size, &low, &high)?;
        let span = if step > 0 { end - start.clone() } else { start.clone() - end };
        let len = span.ceil_div(&Dim::from(step.checked_abs()?)).max_with(&0.into());
        Some(Cut { start, len, step })
    }

    /// The kept indices, if they are known.
    pub fn indices(&self) -> Option<Vec<usize>> {
        let (start, len) = (self.start.known()?, self.len.known().filter(|n| *n <= MAX_INDICES)?);
        (0..len).map(|i| usize::try_from(start.checked_add(i.checked_mul(self.step)?)?).ok()).collect()
    }
}

/// Whether an axis stays as it is.
pub(super) fn is_whole(size: &Dim, cut: Option<&Cut>) -> bool {
    cut.is_some_and(|cut| cut.start.is(0) && cut.step == 1 && cut.len == *size)
}

/// Start, end and step of one axis as ONNX has them.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    pub start: Dim,
    pub end: Dim,
    pub step: i64,
}

impl Bounds {
    /// The `len` indices between `start` and `rest` others, counted from the end where only that is known.
    pub fn of_part(start: Dim, len: Dim, rest: Dim) -> Bounds {
        let behind = len.clone() + rest.clone();
        let end = match start.clone() + len {
            end if end.known().is_some() => end,
            _ if rest.is(0) => TO_THE_END.into(),
            _ if rest.known().is_some() => -rest,
            end => end,
        };
        let from_the_end = start.known().is_none() && behind.known().is_some_and(|n| n > 0);
        Bounds { start: if from_the_end { -behind } else { start }, end, step: 1 }
    }

    /// These indices, if they are evenly spaced.
    pub fn of_list(indices: &[usize]) -> Option<Bounds> {
        let list: Vec<i64> = indices.iter().map(|&i| i as i64).collect();
        let (first, last) = (list.first().copied().unwrap_or(0), list.last().copied().unwrap_or(-1));
        let step = if let [a, b, ..] = list[..] { b - a } else { 1 };
        let even = list.windows(2).all(|pair| pair[1] - pair[0] == step);
        // Going down, −1 would be the last index.
        let end = if last + step.signum() < 0 && step < 0 { FROM_THE_START } else { last + step.signum() };
        (even && step != 0).then(|| Bounds { start: first.into(), end: end.into(), step })
    }
}

/// An index beyond any axis, in the narrower of the two types that indices may have.
const TO_THE_END: i64 = i32::MAX as i64;
/// One before any axis.
const FROM_THE_START: i64 = i32::MIN as i64;

/// An index counted from either end, clamped; `None` where its sign is not known.
fn clamp(index: &Dim, size: &Dim, low: &Dim, high: &Dim) -> Option<Dim> {
    if index.is_at_least(&0.into()) {
        return Some(index.min_with(high));
    }
    // Exporters write "from the start" as the smallest integer.
    if index.known().is_some_and(|n| n <= i64::from(i32::MIN) + 1) {
        return Some(low.clone());
    }
    let negative = (-index.clone()).is_at_least(&1.into());
    negative.then(|| (size.clone() + index.clone()).max_with(low))
}
