//! Rectangles of 8-bit images that are cut, padded and mirrored without a copy.

use std::ops::Range;

use super::preprocess::CropMargin;
use super::resize::Image;

/// A rectangle of an 8-bit image. What lies outside of the image is 0.
#[derive(Debug, Clone)]
pub(super) struct View<'a> {
    pixels: &'a [u8],
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    /// From a row, a column and a channel to the next one in `pixels`.
    steps: [usize; 3],
    /// The rows and columns of the rectangle that lie in the image …
    rows: Range<usize>,
    columns: Range<usize>,
    /// … and where the first of them is in `pixels`.
    start: usize,
    mirrored: bool,
}

impl<'a> View<'a> {
    /// All of an image of `[H, W, C]` or, if planar, `[C, H, W]` bytes.
    pub fn new(pixels: &'a [u8], shape: [usize; 3], planar: bool) -> View<'a> {
        let [height, width, channels] = if planar { [shape[1], shape[2], shape[0]] } else { shape };
        let steps = if planar { [width, 1, height * width] } else { [width * channels, channels, 1] };
        View {
            pixels,
            height,
            width,
            channels,
            steps,
            rows: 0..height,
            columns: 0..width,
            start: 0,
            mirrored: false,
        }
    }

    /// The rectangle whose upper left corner is at row `top` and column `left` of this one, which it may leave.
    ///
    /// Views are cut before they are mirrored.
    pub fn cut(self, [top, left]: [isize; 2], height: usize, width: usize) -> View<'a> {
        debug_assert!(!self.mirrored, "cut a mirrored view");
        let (rows, skipped_rows) = overlap(&self.rows, top, height);
        let (columns, skipped_columns) = overlap(&self.columns, left, width);
        let start = self.start + skipped_rows * self.steps[0] + skipped_columns * self.steps[1];
        View { height, width, rows, columns, start, ..self }
    }

    /// The middle of this view. Of what is padded, odd differences leave the larger part at the bottom and on the right.
    pub fn middle(self, height: usize, width: usize, margin: CropMargin) -> View<'a> {
        let half = |difference: usize| match margin {
            CropMargin::Rounded => difference / 2 + usize::from(difference % 4 == 3),
            CropMargin::Floored => difference / 2,
        };
        let start = |inner: usize, cut: usize| {
            half(inner.saturating_sub(cut)) as isize - (cut.saturating_sub(inner) / 2) as isize
        };
        let corner = [start(self.height, height), start(self.width, width)];
        self.cut(corner, height, width)
    }

    /// This view, or its mirror image: left and right exchanged.
    pub fn mirrored(self, mirrored: bool) -> View<'a> {
        View { mirrored: self.mirrored ^ mirrored, ..self }
    }

    /// Puts `map` of every value of a channel into every `step`-th element of `to`, row by row.
    pub fn copy_channel<T: Copy>(
        &self,
        channel: usize,
        map: impl Fn(u8) -> T + Copy,
        to: &mut [T],
        step: usize,
    ) {
        let outside = map(0);
        let Range { start: left, end: right } = if self.mirrored {
            self.width - self.columns.end..self.width - self.columns.start
        } else {
            self.columns.clone()
        };
        for (row, to) in to.chunks_mut(self.width * step).take(self.height).enumerate() {
            if !self.rows.contains(&row) || left == right {
                to.iter_mut().step_by(step).for_each(|value| *value = outside);
                continue;
            }
            to[..left * step].iter_mut().step_by(step).for_each(|value| *value = outside);
            // The last row may end before its last step is full.
            let margin = to.get_mut(right * step..).unwrap_or_default();
            margin.iter_mut().step_by(step).for_each(|value| *value = outside);
            let from = self.start + (row - self.rows.start) * self.steps[0] + channel * self.steps[2];
            let from = &self.pixels[from..=from + (right - left - 1) * self.steps[1]];
            let to = &mut to[left * step..=(right - 1) * step];
            // A step of 1 that the compiler knows makes a loop without the bookkeeping of steps.
            match (self.steps[1], step) {
                (1, 1) => zip(from.iter(), map, to.iter_mut(), self.mirrored),
                (every, 1) => zip(from.iter().step_by(every), map, to.iter_mut(), self.mirrored),
                (every, step) => {
                    zip(from.iter().step_by(every), map, to.iter_mut().step_by(step), self.mirrored);
                }
            }
        }
    }

    /// A copy of what is seen.
    pub fn to_image(&self) -> Image {
        let (height, width, channels) = (self.height, self.width, self.channels);
        let mut pixels = vec![0; height * width * channels];
        for channel in 0..channels {
            self.copy_channel(channel, |value| value, &mut pixels[channel..], channels);
        }
        Image { height, width, channels, pixels }
    }

    /// The value at a place that lies in the image.
    pub fn at(&self, row: usize, column: usize, channel: usize) -> u8 {
        self.pixels[self.place(row, column, channel)]
    }

    /// The values of a channel from a pixel on to the end of its row and beyond.
    pub fn along(&self, row: usize, column: usize, channel: usize) -> impl Iterator<Item = u8> {
        self.pixels[self.place(row, column, channel)..].iter().step_by(self.steps[1]).copied()
    }

    fn place(&self, row: usize, column: usize, channel: usize) -> usize {
        debug_assert!(self.rows == (0..self.height) && self.columns == (0..self.width) && !self.mirrored);
        self.start + row * self.steps[0] + column * self.steps[1] + channel * self.steps[2]
    }
}

impl<'a> From<&'a Image> for View<'a> {
    fn from(image: &'a Image) -> View<'a> {
        View::new(&image.pixels, [image.height, image.width, image.channels], false)
    }
}

/// The part of `inner` within `length` from `start` on, counted from there, and how much of `inner` comes before.
fn overlap(inner: &Range<usize>, start: isize, length: usize) -> (Range<usize>, usize) {
    let place = |at: usize| (at as isize - start).clamp(0, length as isize) as usize;
    let (first, last) = (place(inner.start), place(inner.end));
    let skipped = (start - inner.start as isize).clamp(0, inner.len() as isize) as usize;
    (first..last, skipped)
}

/// Puts `map` of every byte, from the last one on if `mirrored`, into the places of `to`.
fn zip<'a, T: 'a>(
    from: impl ExactSizeIterator<Item = &'a u8> + DoubleEndedIterator,
    map: impl Fn(u8) -> T,
    to: impl Iterator<Item = &'a mut T>,
    mirrored: bool,
) {
    if mirrored {
        to.zip(from.rev()).for_each(|(value, byte)| *value = map(*byte));
    } else {
        to.zip(from).for_each(|(value, byte)| *value = map(*byte));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interleaved_channel_is_copied_up_to_the_last_pixel() {
        let pixels: Vec<u8> = (1..=24).collect();
        let view = View::new(&pixels, [2, 4, 3], false);
        assert_eq!(view.to_image().pixels, pixels);
        let right = view.clone().cut([0, 2], 2, 4).to_image().pixels;
        assert_eq!(right, [[7, 8, 9, 10, 11, 12], [0; 6], [19, 20, 21, 22, 23, 24], [0; 6]].concat());
        let mirrored = view.mirrored(true).to_image().pixels;
        assert_eq!(mirrored[..6], [10, 11, 12, 7, 8, 9]);
        assert_eq!(mirrored[21..], [13, 14, 15]);
    }
}
