//! How an image becomes a model's input: resize, centre crop, scale, mean and standard deviation, layout.
//!
//! A [`Preprocess`] is a set of wishes, each of which may be missing. They come from a preset, a file (TOML, or the
//! `preprocessor_config.json` of the Hugging Face hub) and options, the later ones taking precedence;
//! [`crate::data::transform`] carries them out.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::{DataError, Result};
use super::resize::Resample;

/// The steps of preprocessing, in the order in which they are done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Preprocess {
    /// The size to resize to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// The filter to resize with; bilinear by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resample: Option<Resample>,
    /// The size of the part that is cut from the middle, padded with 0 where the image is smaller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub center_crop: Option<Size>,
    /// How much is cut off above and on the left where the difference is odd; rounded by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop_margin: Option<CropMargin>,
    /// The factor of the pixels; 1/255 by default, 1 for a model that takes integers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// The mean to subtract after scaling, one or one per channel; 0 by default.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "one_or_many")]
    pub mean: Option<Vec<f64>>,
    /// The standard deviation to divide by then, one or one per channel; 1 by default.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "one_or_many")]
    pub std: Option<Vec<f64>>,
    /// The order of the axes; deduced from the model's input shape by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// The order of the channels, in which mean and standard deviation are given too; RGB by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_order: Option<ChannelOrder>,
}

/// The size that an image is resized to: `256` for the shorter side, `224x320` for height × width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    /// The shorter side gets this many pixels, the other one keeps the aspect ratio (rounded down).
    ShorterSide(usize),
    /// Exactly this size.
    Exact(Size),
}

/// A size in pixels: `224` for a square, `224x320` for height × width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Half of an odd difference between the sizes of an image and of what is cut from its middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CropMargin {
    /// To the even one of its neighbours, as torchvision does.
    Rounded,
    /// Down, as transformers does.
    Floored,
}

/// The order of the axes of a batch of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Batch, channels, height, width.
    Nchw,
    /// Batch, height, width, channels.
    Nhwc,
}

/// The order of the colour channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// Preprocessing that many models share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// 1/255 and the training set's mean and standard deviation; no resizing.
    Cifar10,
    /// torchvision's evaluation transform: shorter side 256, centre crop 224, mean and standard deviation.
    Imagenet,
}

impl Preset {
    /// The steps.
    pub fn preprocess(self) -> Preprocess {
        match self {
            Preset::Cifar10 => Preprocess {
                scale: Some(1.0 / 255.0),
                mean: Some(vec![0.4914, 0.4822, 0.4465]),
                std: Some(vec![0.2470, 0.2435, 0.2616]),
                ..Preprocess::default()
            },
            Preset::Imagenet => Preprocess {
                resize: Some(Resize::ShorterSide(256)),
                resample: Some(Resample::Bilinear),
                center_crop: Some(Size { height: 224, width: 224 }),
                scale: Some(1.0 / 255.0),
                mean: Some(vec![0.485, 0.456, 0.406]),
                std: Some(vec![0.229, 0.224, 0.225]),
                ..Preprocess::default()
            },
        }
    }
}

impl Preprocess {
    /// Reads a TOML file of these fields, or a `preprocessor_config.json` if the name ends in `.json`.
    pub fn read(path: &Path) -> Result<Preprocess> {
        let text = std::fs::read_to_string(path).map_err(DataError::io(path))?;
        let parsed = if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) {
            super::hugging_face::parse(&text)
        } else {
            toml::from_str::<Preprocess>(&text).map_err(|e| e.to_string())
        };
        let unusable = |message| DataError::Unsupported {
            path: path.to_owned(),
            what: format!("unusable preprocessing: {message}"),
            remedy: "correct the file, or say what to do instead with --preset or --preprocess".to_owned(),
        };
        let preprocess = parsed.map_err(unusable)?;
        preprocess.check().map_err(unusable)?;
        Ok(preprocess)
    }

    /// What this one says, and what `base` says where this one says nothing.
    pub fn or(self, base: Preprocess) -> Preprocess {
        // It belongs to the crop.
        let base_margin = base.crop_margin.filter(|_| self.center_crop.is_none());
        Preprocess {
            resize: self.resize.or(base.resize),
            resample: self.resample.or(base.resample),
            center_crop: self.center_crop.or(base.center_crop),
            crop_margin: self.crop_margin.or(base_margin),
            scale: self.scale.or(base.scale),
            mean: self.mean.or(base.mean),
            std: self.std.or(base.std),
            layout: self.layout.or(base.layout),
            channel_order: self.channel_order.or(base.channel_order),
        }
    }

    /// Whether it says nothing at all.
    pub fn is_empty(&self) -> bool {
        *self == Preprocess::default()
    }

    /// Whether all the numbers can be used, or what is wrong with them.
    pub fn check(&self) -> Result<(), String> {
        let size = |name: &str, size: Option<Size>| match size {
            Some(Size { height, width })
                if !(1..=MAX_SIDE).contains(&height) || !(1..=MAX_SIDE).contains(&width) =>
            {
                Err(format!("{name}: {height}x{width} is not between 1x1 and {MAX_SIDE}x{MAX_SIDE}"))
            }
            _ => Ok(()),
        };
        size(
            "resize",
            self.resize.map(|r| match r {
                Resize::ShorterSide(side) => Size { height: side, width: side },
                Resize::Exact(size) => size,
            }),
        )?;
        size("center_crop", self.center_crop)?;
        if self.scale.is_some_and(|s| !s.is_finite() || s == 0.0) {
            return Err("scale: must be a finite number other than 0".to_owned());
        }
        if self.mean.iter().flatten().any(|m| !m.is_finite()) {
            return Err("mean: must be finite numbers".to_owned());
        }
        if self.std.iter().flatten().any(|s| !s.is_finite() || *s <= 0.0) {
            return Err("std: must be finite numbers above 0".to_owned());
        }
        Ok(())
    }
}

/// No side of a model's input is longer; guards against absurd sizes.
pub(super) const MAX_SIDE: usize = 16_384;

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let side = |t: &str| {
            t.trim()
                .parse()
                .map_err(|_| format!("'{text}' is not a size like 224 or 224x320 (height x width)"))
        };
        match text.split_once(['x', 'X', '×']) {
            Some((height, width)) => Ok(Size { height: side(height)?, width: side(width)? }),
            None => side(text).map(|side| Size { height: side, width: side }),
        }
    }
}

impl FromStr for Resize {
    type Err = String;

    fn from_str(text: &str) -> Result<Resize, String> {
        let size: Size = text.parse()?;
        Ok(if text.contains(['x', 'X', '×']) {
            Resize::Exact(size)
        } else {
            Resize::ShorterSide(size.height)
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.height, self.width)
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resize::ShorterSide(side) => write!(f, "{side}"),
            Resize::Exact(size) => size.fmt(f),
        }
    }
}

/// In files, a size may be `256`, `"256"`, `"224x320"` or `[224, 320]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum SizeForm {
    Side(usize),
    Sides([usize; 2]),
    Text(String),
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        match SizeForm::deserialize(deserializer)? {
            SizeForm::Side(side) => Ok(Size { height: side, width: side }),
            SizeForm::Sides([height, width]) => Ok(Size { height, width }),
            SizeForm::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

impl<'de> Deserialize<'de> for Resize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Resize, D::Error> {
        match SizeForm::deserialize(deserializer)? {
            SizeForm::Side(side) => Ok(Resize::ShorterSide(side)),
            SizeForm::Sides([height, width]) => Ok(Resize::Exact(Size { height, width })),
            SizeForm::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.height, self.width].serialize(serializer)
    }
}

impl Serialize for Resize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Resize::ShorterSide(side) => side.serialize(serializer),
            Resize::Exact(size) => size.serialize(serializer),
        }
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<f64>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Numbers {
        One(f64),
        Many(Vec<f64>),
    }
    Ok(match Option::<Numbers>::deserialize(deserializer)? {
        None => None,
        Some(Numbers::One(number)) => Some(vec![number]),
        Some(Numbers::Many(numbers)) => Some(numbers),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_takes_every_form_of_a_size_and_comes_back_the_same() {
        let parsed: Preprocess = toml::from_str(
            "resize = 256\ncenter_crop = \"224x192\"\nresample = \"bicubic\"\nscale = 1\nmean = 0.5\n\
             std = [0.1, 0.2, 0.3]\nlayout = \"nhwc\"\nchannel_order = \"bgr\"",
        )
        .unwrap();
        assert_eq!(parsed.resize, Some(Resize::ShorterSide(256)));
        assert_eq!(parsed.center_crop, Some(Size { height: 224, width: 192 }));
        assert_eq!(parsed.mean, Some(vec![0.5]));
        assert_eq!(toml::from_str::<Preprocess>(&toml::to_string(&parsed).unwrap()).unwrap(), parsed);
    }

    #[test]
    fn unknown_keys_and_impossible_numbers_are_errors() {
        assert!(toml::from_str::<Preprocess>("sizes = 3").unwrap_err().to_string().contains("sizes"));
        let bad = |text: &str| toml::from_str::<Preprocess>(text).unwrap().check().unwrap_err();
        assert!(bad("std = 0.0").contains("std"));
        assert!(bad("resize = 0").contains("resize"));
        assert!(bad("center_crop = [1000000000, 3]").contains("center_crop"));
        assert!(bad("scale = nan").contains("scale"));
    }

    #[test]
    fn later_wishes_win() {
        let flags = Preprocess { scale: Some(1.0), ..Preprocess::default() };
        let all = flags.or(Preset::Cifar10.preprocess());
        assert_eq!(all.scale, Some(1.0));
        assert_eq!(all.mean, Some(vec![0.4914, 0.4822, 0.4465]));
        let size = Some(Size { height: 2, width: 2 });
        let base =
            Preprocess { center_crop: size, crop_margin: Some(CropMargin::Floored), ..Preprocess::default() };
        let own = Preprocess { center_crop: size, ..Preprocess::default() };
        assert_eq!(own.or(base.clone()).crop_margin, None);
        assert_eq!(Preprocess::default().or(base).crop_margin, Some(CropMargin::Floored));
    }
}
