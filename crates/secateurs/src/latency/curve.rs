//! How a layer's time depends on its widths.
//!
//! Kernels work on blocks of 8 or 16 channels, so that times are smooth over multiples of those and jump between them. Multiples are
//! measured on a grid, which is interpolated linearly. What widths between them take more is measured in two blocks of every axis, by
//! how much a width w lacks to the next multiple: a share a + b/w, where b is what is paid for a block that is begun, and a what a slower
//! kernel costs.

/// So many indices make a block at most.
const BLOCK: usize = 16;
/// How much widths lack to the next multiple that are measured.
const LACKING: [usize; 7] = [1, 4, 7, 8, 9, 12, 15];
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
    /// Beside each axis the widths that are no multiples, with all other axes whole.
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
        let beside = full.iter().zip(&axes).map(|(&of, axis)| unaligned(of, axis)).collect();
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
        let mut curve = Curve { axes: self.axes, times, penalties: Vec::new() };
        let mut beside = beside.into_iter();
        let whole: Vec<usize> = curve.axes.iter().filter_map(|axis| axis.last().copied()).collect();
        for (at, widths) in self.beside.iter().enumerate() {
            let measured: Vec<(usize, f64)> = widths
                .iter()
                .zip(&mut beside)
                .filter_map(|(&width, time)| {
                    let mut point = whole.clone();
                    point[at] = width;
                    Some((width, time? / curve.smooth(&point) - 1.0))
                })
                .collect();
            curve.penalties.push(LACKING.iter().filter_map(|&lack| Penalty::fit(lack, &measured)).collect());
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

/// The widths below a multiple near the quarter of an axis, and below its last one, that are not on the grid.
fn unaligned(of: usize, axis: &[usize]) -> Vec<usize> {
    let ends = [(of / 4).next_multiple_of(BLOCK).max(2 * BLOCK), of / BLOCK * BLOCK];
    let ends = if ends[0] < ends[1] { &ends[..] } else { &ends[1..] };
    let ends = ends.iter().filter(|end| **end >= 2 * BLOCK);
    ends.flat_map(|end| LACKING.iter().map(move |lack| end - lack)).filter(|w| !axis.contains(w)).collect()
}

/// How much widths lack to the next multiple.
fn lacking(width: usize) -> usize {
    width.next_multiple_of(BLOCK) - width
}

/// What widths take more than in proportion to their neighbours among the multiples: a share `slower + block / width`.
#[derive(Debug, Clone, PartialEq)]
struct Penalty {
    lack: usize,
    slower: f64,
    block: f64,
}

impl Penalty {
    /// Through what was measured at one or two widths that lack so much.
    fn fit(lack: usize, measured: &[(usize, f64)]) -> Option<Penalty> {
        let own: Vec<(f64, f64)> =
            measured.iter().filter(|(w, _)| lacking(*w) == lack).map(|(w, p)| (*w as f64, *p)).collect();
        let (last, penalty) = *own.last()?;
        let block = match own[..] {
            [(first, other), _] => (other - penalty) / (1.0 / first - 1.0 / last),
            _ => penalty * last,
        };
        Some(Penalty { lack, slower: penalty - block / last, block })
    }

    fn share(&self, width: usize) -> f64 {
        self.slower + self.block / width as f64
    }
}

/// A layer's time at any widths.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    axes: Vec<Vec<usize>>,
    /// Of all points of the grid, the last axis innermost.
    times: Vec<f64>,
    /// Of widths that are not on the grid, for each axis.
    penalties: Vec<Vec<Penalty>>,
}

impl Curve {
    /// Milliseconds at these widths.
    pub fn milliseconds(&self, widths: &[usize]) -> f64 {
        let axes = self.axes.iter().zip(&self.penalties).zip(widths);
        let factors = axes.map(|((axis, penalties), &width)| match axis.contains(&width) {
            // Below the grid nothing is known of blocks.
            _ if width < axis[0] => 1.0,
            true => 1.0,
            // However noisy the measurement was.
            false => (1.0 + penalty(penalties, width)).clamp(0.5, 4.0),
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

/// What a width takes more: as was measured of those that lack as much, or between the two beside it. Multiples of 4 are for
/// themselves.
fn penalty(penalties: &[Penalty], width: usize) -> f64 {
    let lack = lacking(width);
    let share = |lack: usize| penalties.iter().find(|p| p.lack == lack).map(|p| p.share(width));
    let between = |low: usize, high: usize| {
        let part = (lack - low) as f64 / (high - low) as f64;
        Some(share(low)? * (1.0 - part) + share(high)? * part)
    };
    let found = match lack {
        0 => None,
        4 | 8 | 12 => share(lack),
        1..8 => between(1, 7),
        _ => between(9, 15),
    };
    found.unwrap_or(0.0)
}
