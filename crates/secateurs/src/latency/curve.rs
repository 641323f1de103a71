//! How a layer's time depends on its widths.
//!
//! Kernels work on blocks of 8 or 16 channels, so that times are smooth over multiples of those and jump beside them. Multiples are
//! measured on a grid, which is interpolated linearly; beside each axis a few widths that are no multiples give a factor.

/// So many indices make a block at most.
const BLOCK: usize = 16;
/// Shares of an axis that are measured, where a layer has one or two that can shrink, and where it has more.
const SHARES: [f64; 5] = [0.125, 0.25, 0.5, 0.75, 1.0];
const FEW_SHARES: [f64; 3] = [0.25, 0.5, 1.0];
/// More points than these are not worth their time.
const MAX_POINTS: usize = 125;

/// The widths at which a layer is measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grid {
    /// Along each axis the widths of the grid, ascending; the last is the whole axis.
    axes: Vec<Vec<usize>>,
    /// Beside each axis the widths that are no multiples, by their alignment, with all other axes whole.
    beside: Vec<Vec<usize>>,
}

impl Grid {
    /// A grid over axes of these lengths.
    pub fn new(full: &[usize]) -> Grid {
        let shares = if full.len() <= 2 { &SHARES[..] } else { &FEW_SHARES[..] };
        let mut axes: Vec<Vec<usize>> = full.iter().map(|&of| widths(of, shares)).collect();
        // The longest axes keep their ends at least.
        while axes.iter().map(Vec::len).product::<usize>() > MAX_POINTS {
            let Some(axis) = axes.iter_mut().max_by_key(|axis| axis.len()).filter(|a| a.len() > 2) else {
                break;
            };
            axis.remove(axis.len() / 2);
        }
        let beside = full.iter().map(|&of| unaligned(of)).collect();
        Grid { axes, beside }
    }

    /// All points: the grid's, then those beside it.
    pub fn points(&self) -> Vec<Vec<usize>> {
        let mut points = vec![Vec::new()];
        for axis in &self.axes {
            points = points
                .iter()
                .flat_map(|start| axis.iter().map(move |&w| start.iter().copied().chain([w]).collect()))
                .collect();
        }
        let full: Vec<usize> = self.axes.iter().filter_map(|axis| axis.last().copied()).collect();
        for (at, widths) in self.beside.iter().enumerate() {
            for &width in widths {
                let mut point = full.clone();
                point[at] = width;
                points.push(point);
            }
        }
        points
    }

    /// The curve through measured times, `None` where a point could not be measured.
    pub fn curve(self, mut times: Vec<Option<f64>>) -> Option<Curve> {
        let count: usize = self.axes.iter().map(Vec::len).product();
        let beside = times.split_off(count);
        let full = *times.last()?;
        let full = full?;
        // What an op cannot do at a width it is taken to do at the cost of the whole: never a reason to choose that width.
        let times = times.into_iter().map(|time| time.unwrap_or(full)).collect();
        let mut curve = Curve { axes: self.axes, times, factors: Vec::new() };
        let mut beside = beside.into_iter();
        let whole: Vec<usize> = curve.axes.iter().filter_map(|axis| axis.last().copied()).collect();
        for (at, widths) in self.beside.iter().enumerate() {
            let mut factors = Vec::new();
            for &width in widths {
                let Some(Some(time)) = beside.next() else { continue };
                let mut point = whole.clone();
                point[at] = width;
                factors.push((alignment(width), time / curve.smooth(&point)));
            }
            curve.factors.push(factors);
        }
        Some(curve)
    }
}

/// Shares of an axis in whole blocks, or in what comes closest where it is short.
fn widths(of: usize, shares: &[f64]) -> Vec<usize> {
    let block = [BLOCK, 8, 4, 1].into_iter().find(|block| of >= 4 * block).unwrap_or(1);
    let mut widths: Vec<usize> = shares
        .iter()
        .map(|share| match ((share * of as f64 / block as f64).round() as usize * block).max(block) {
            _ if *share == 1.0 => of,
            width => width.min(of),
        })
        .collect();
    widths.dedup();
    widths
}

/// Near the half of an axis one width for each smaller alignment.
fn unaligned(of: usize) -> Vec<usize> {
    let half = (of / 2).next_multiple_of(BLOCK);
    if of < 2 * BLOCK || half >= of {
        return Vec::new();
    }
    vec![half - 8, half - 4, half - 1]
}

/// The largest power of 2 up to the block that divides a width; 1 and 2 are alike.
fn alignment(width: usize) -> usize {
    match (1 << width.trailing_zeros().min(BLOCK.trailing_zeros())).min(BLOCK) {
        2 => 1,
        other => other,
    }
}

/// A layer's time at any widths.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    axes: Vec<Vec<usize>>,
    /// Of all points of the grid, the last axis innermost.
    times: Vec<f64>,
    /// For each axis, by alignment, how many times as long widths take that are not on the grid.
    factors: Vec<Vec<(usize, f64)>>,
}

impl Curve {
    /// Milliseconds at these widths.
    pub fn milliseconds(&self, widths: &[usize]) -> f64 {
        let factors = self.axes.iter().zip(&self.factors).zip(widths).map(|((axis, factors), width)| {
            let found = factors.iter().find(|(own, _)| *own == alignment(*width) && !axis.contains(width));
            found.map_or(1.0, |(_, factor)| *factor)
        });
        self.smooth(widths) * factors.product::<f64>()
    }

    /// Interpolated linearly along every axis; below the grid in proportion.
    fn smooth(&self, widths: &[usize]) -> f64 {
        // The corners of the cell around the point: places in `times`, with weights.
        let mut corners = vec![(0usize, 1.0f64)];
        for (axis, &width) in self.axes.iter().zip(widths) {
            let above = axis.partition_point(|w| *w < width).min(axis.len() - 1);
            let (below, part) = match above {
                0 => (0, 0.0),
                _ => {
                    let (low, high) = (axis[above - 1] as f64, axis[above] as f64);
                    (above - 1, ((width as f64 - low) / (high - low)).min(1.0))
                }
            };
            // Shorter than what was measured: half of it is taken to be overhead.
            let short = if width < axis[0] { 0.5 + 0.5 * width as f64 / axis[0] as f64 } else { 1.0 };
            corners = corners
                .into_iter()
                .flat_map(|(place, weight)| {
                    let place = place * axis.len();
                    [(place + below, weight * short * (1.0 - part)), (place + above, weight * short * part)]
                })
                .filter(|(_, weight)| *weight > 0.0)
                .collect();
        }
        corners.into_iter().map(|(place, weight)| weight * self.times[place]).sum()
    }
}
