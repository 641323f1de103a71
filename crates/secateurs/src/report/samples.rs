//! Samples as the model sees them.

use maud::{Markup, html};

use super::encoding::base64;
use super::{Content, Prediction, Sample};
use crate::format::significant;

/// Cards side by side.
pub fn cards(samples: &[Sample]) -> Markup {
    html! {
        div.samples { @for sample in samples { (card(sample)) } }
        @if samples.iter().any(|s| s.augmented.is_some()) {
            p.small { "Of two, the second is the sample as augmented once in training; predictions are of the first." }
        }
    }
}

fn card(sample: &Sample) -> Markup {
    let name = sample.label.as_deref().unwrap_or("sample");
    html! {
        figure.sample {
            div.views {
                (content(&sample.plain, name))
                @if let Some(augmented) = &sample.augmented { (content(augmented, &format!("{name}, augmented"))) }
            }
            figcaption {
                dl {
                    @if let Some(label) = &sample.label { div { dt { "label" } dd { (label) } } }
                    @if let Some(original) = &sample.original {
                        div { dt { "original" } dd { (prediction(original, sample.label.as_deref())) } }
                    }
                    @if let Some(result) = &sample.result {
                        div { dt { "result" } dd { (prediction(result, sample.label.as_deref())) } }
                    }
                }
                @if let (Some(original), Some(result)) = (&sample.original, &sample.result) {
                    @match original.class == result.class {
                        true => p.small { "the two agree" },
                        false => p.small.miss { "the two disagree" },
                    }
                }
            }
        }
    }
}

fn prediction(prediction: &Prediction, label: Option<&str>) -> Markup {
    html! {
        (prediction.class)
        @if let Some(p) = prediction.probability { span.below { " " (format!("{:.0} %", 100.0 * p)) } }
        @if label.is_some_and(|label| label != prediction.class) { span.miss { " wrong" } }
    }
}

fn content(content: &Content, name: &str) -> Markup {
    html! {
        @match content {
            Content::Picture(png) => {
                @let (width, height) = size(png).unwrap_or((0, 0));
                // Few pixels are shown as squares, not blurred.
                img.pixels[width.max(height) <= 96] alt=(name)
                    width=[(width > 0).then_some(width)] height=[(height > 0).then_some(height)]
                    src={ "data:image/png;base64," (base64::encode(png)) };
            }
            Content::Text(text) => blockquote { (text) },
            Content::Array { shape, first } => {
                @let values: Vec<String> = first.iter().map(|v| significant(f64::from(*v), 3)).collect();
                @let more = if shape.iter().product::<usize>() > first.len() { ", …" } else { "" };
                p.array { code { (format!("{shape:?}")) } br; (values.join(", ")) (more) }
            }
        }
    }
}

/// Width and height as a PNG file's header has them.
fn size(png: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize| png.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    (png.get(12..16)? == b"IHDR").then_some(())?;
    Some((number(16)?, number(20)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_the_headers() {
        let mut png = Vec::new();
        let image = image::RgbImage::new(32, 24);
        image.write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
        assert_eq!(size(&png), Some((32, 24)));
        assert_eq!(size(&png[..20]), None);
        assert_eq!(size(b"GIF89a, which is no PNG file at all"), None);
    }
}
