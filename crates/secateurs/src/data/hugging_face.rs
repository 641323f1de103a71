//! `preprocessor_config.json` of the Hugging Face hub, as far as it is about one image at a time.
//!
//! Sizes come in several forms. A bare number means the shorter side where a centre crop follows (CLIP) and a
//! square otherwise (ViT). ConvNeXt's `crop_pct` resizes to size / crop_pct and crops to size below 384.

use serde::Deserialize;

use super::preprocess::{ChannelOrder, CropMargin, Preprocess, Resize, Size};
use super::resize::Resample;

#[derive(Deserialize)]
struct Config {
    do_resize: Option<bool>,
    size: Option<ConfigSize>,
    resample: Option<u64>,
    do_center_crop: Option<bool>,
    crop_size: Option<ConfigSize>,
    crop_pct: Option<f64>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    rescale_offset: Option<bool>,
    do_normalize: Option<bool>,
    image_mean: Option<Vec<f64>>,
    image_std: Option<Vec<f64>>,
    include_top: Option<bool>,
    do_flip_channel_order: Option<bool>,
    do_pad: Option<bool>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
enum ConfigSize {
    Side(usize),
    // `deny_unknown_fields` keeps {"shortest_edge", "longest_edge"} from being read as half of what it says.
    Shorter(ShortestEdge),
    Exact(HeightWidth),
}

#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct ShortestEdge {
    shortest_edge: usize,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct HeightWidth {
    height: usize,
    width: usize,
}

/// Reads the text of a `preprocessor_config.json`; keys that do not concern images are passed over.
pub(super) fn parse(text: &str) -> Result<Preprocess, String> {
    let config: Config = serde_json::from_str(text).map_err(|e| match e.to_string() {
        m if m.contains("ConfigSize") => {
            "size and crop_size must be a number, {shortest_edge} or {height, width}".to_owned()
        }
        m => m,
    })?;
    if config.do_pad == Some(true) {
        return Err("do_pad is not supported".to_owned());
    }
    let mut preprocess = Preprocess::default();
    let center_crop = config.do_center_crop.unwrap_or(false);
    if config.do_resize.unwrap_or(config.size.is_some()) {
        let size = config.size.ok_or("do_resize without size")?;
        preprocess.resize = Some(match size {
            ConfigSize::Side(side) if center_crop => Resize::ShorterSide(side),
            ConfigSize::Side(side) => Resize::Exact(Size { height: side, width: side }),
            ConfigSize::Shorter(size) => Resize::ShorterSide(size.shortest_edge),
            ConfigSize::Exact(size) => Resize::Exact(Size { height: size.height, width: size.width }),
        });
        if let (
            Some(crop_pct),
            ConfigSize::Shorter(ShortestEdge { shortest_edge: side }) | ConfigSize::Side(side),
        ) = (config.crop_pct, size)
        {
            if crop_pct <= 0.0 || crop_pct > 1.0 {
                return Err(format!("crop_pct is {crop_pct}, not between 0 and 1"));
            }
            let square = Size { height: side, width: side };
            if side < 384 {
                preprocess.resize = Some(Resize::ShorterSide((side as f64 / crop_pct) as usize));
                preprocess.center_crop = Some(square);
            } else {
                preprocess.resize = Some(Resize::Exact(square));
            }
        }
        preprocess.resample = match config.resample {
            None => None,
            Some(number) => Some(
                Resample::from_pillow(number).ok_or(format!("resample {number} is not one of Pillow's"))?,
            ),
        };
    }
    if center_crop {
        preprocess.center_crop =
            Some(match config.crop_size.or(config.size).ok_or("do_center_crop without crop_size")? {
                ConfigSize::Side(side) | ConfigSize::Shorter(ShortestEdge { shortest_edge: side }) => {
                    Size { height: side, width: side }
                }
                ConfigSize::Exact(size) => Size { height: size.height, width: size.width },
            });
    }
    preprocess.crop_margin = preprocess.center_crop.map(|_| CropMargin::Floored);
    // The old feature extractors had no `do_rescale`: they always scaled when they normalized.
    let rescale = config.do_rescale.unwrap_or(true);
    preprocess.scale = Some(if rescale { config.rescale_factor.unwrap_or(1.0 / 255.0) } else { 1.0 });
    let normalize = config.do_normalize.unwrap_or(config.image_mean.is_some());
    if normalize {
        preprocess.mean = config.image_mean;
        preprocess.std = config.image_std.clone();
    }
    // EfficientNet: scaled pixels are lessened by 1 …
    if rescale && config.rescale_offset == Some(true) {
        let mean = preprocess.mean.get_or_insert_with(|| vec![0.0]);
        mean.iter_mut().for_each(|mean| *mean += 1.0);
    }
    // … and divided by the standard deviation once more, or once where they are not normalized.
    if config.include_top == Some(true) {
        let std = config.image_std.ok_or("include_top without image_std")?;
        preprocess.std = Some(if normalize { std.into_iter().map(|std| std * std).collect() } else { std });
    }
    if config.do_flip_channel_order == Some(true) {
        preprocess.channel_order = Some(ChannelOrder::Bgr);
    }
    Ok(preprocess)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vit_resizes_to_a_square() {
        let vit = parse(
            r#"{"do_normalize": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
                "resample": 2, "size": 224, "feature_extractor_type": "ViTFeatureExtractor"}"#,
        )
        .unwrap();
        assert_eq!(vit.resize, Some(Resize::Exact(Size { height: 224, width: 224 })));
        assert_eq!(vit.resample, Some(Resample::Bilinear));
        assert_eq!(vit.center_crop, None);
        assert_eq!(vit.mean, Some(vec![0.5; 3]));
        assert_eq!(vit.scale, Some(1.0 / 255.0));
    }

    #[test]
    fn clip_resizes_the_shorter_side_and_crops() {
        let clip = parse(
            r#"{"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_rescale": true,
                "rescale_factor": 0.00392156862745098, "do_resize": true, "resample": 3,
                "size": {"shortest_edge": 256}, "do_normalize": false, "image_mean": [1, 2, 3]}"#,
        )
        .unwrap();
        assert_eq!(clip.resize, Some(Resize::ShorterSide(256)));
        assert_eq!(clip.center_crop, Some(Size { height: 224, width: 224 }));
        assert_eq!(clip.crop_margin, Some(CropMargin::Floored));
        assert_eq!(clip.resample, Some(Resample::Bicubic));
        assert_eq!(clip.mean, None);
    }

    #[test]
    fn convnext_crops_a_share() {
        let convnext =
            parse(r#"{"do_resize": true, "size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3}"#)
                .unwrap();
        assert_eq!(convnext.resize, Some(Resize::ShorterSide(256)));
        assert_eq!(convnext.center_crop, Some(Size { height: 224, width: 224 }));
    }

    #[test]
    fn efficientnet_shifts_pixels_and_divides_twice() {
        let parsed = |keys: &str| {
            let config =
                r#"{"image_mean": [0.5, 0.25, 0], "image_std": [0.5, 0.25, 1], "rescale_factor": 0.5"#;
            parse(&format!("{config}, {keys}}}")).unwrap()
        };
        let plain = parsed(r#""include_top": false, "rescale_offset": false"#);
        assert_eq!((plain.mean, plain.std), (Some(vec![0.5, 0.25, 0.0]), Some(vec![0.5, 0.25, 1.0])));
        // (((x · 0.5 − 1) − mean) / std) / std.
        let both = parsed(r#""include_top": true, "rescale_offset": true"#);
        assert_eq!(both.scale, Some(0.5));
        assert_eq!((both.mean, both.std), (Some(vec![1.5, 1.25, 1.0]), Some(vec![0.25, 0.0625, 1.0])));
        // Without normalization, both remain.
        let bare = parsed(r#""include_top": true, "rescale_offset": true, "do_normalize": false"#);
        assert_eq!((bare.mean, bare.std), (Some(vec![1.0]), Some(vec![0.5, 0.25, 1.0])));
        // The offset is part of the scaling.
        assert_eq!(parsed(r#""rescale_offset": true, "do_rescale": false"#).mean, Some(vec![0.5, 0.25, 0.0]));
    }

    #[test]
    fn what_it_cannot_do_is_an_error() {
        assert!(
            parse(r#"{"size": {"shortest_edge": 800, "longest_edge": 1333}}"#).unwrap_err().contains("size")
        );
        assert!(parse(r#"{"do_pad": true}"#).unwrap_err().contains("do_pad"));
        assert!(parse(r#"{"size": 3, "resample": 9}"#).unwrap_err().contains("resample"));
        assert!(parse(r#"{"include_top": true}"#).unwrap_err().contains("include_top"));
        assert!(parse("[").is_err());
    }
}
