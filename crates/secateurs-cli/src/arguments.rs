//! Arguments that several commands share.

mod classes;
mod pruning;
mod run;
mod tuning;

pub use classes::Classes;
pub use pruning::{PlanningArguments, PruningArguments, ResultArguments, SplitArgument, check_results};
pub use run::RunArguments;
pub use tuning::TuningArguments;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use secateurs::data::{
    ChannelOrder, DataOptions, Layout, Preprocess, Preset, Resample, Resize, Size, TokenLimits,
};
use secateurs::tune::{Objective, WeightedOutput};
use secateurs_graph::session::Precision;
use secateurs_graph::{Bindings, Graph};
use secateurs_torch::tch::Device;
use serde::Serialize;
use toml::Table;

use crate::error::{CliError, Result};

/// A model and the sizes to bind.
#[derive(Args)]
pub struct ModelArguments {
    /// The ONNX model
    pub model: PathBuf,
    #[command(flatten)]
    pub sizes: SizeArguments,
}

/// Sizes for symbolic axes.
#[derive(Args, Clone)]
pub struct SizeArguments {
    /// Bind a symbolic size, as in --dim batch=1
    #[arg(long = "dim", value_name = "NAME=N", value_parser = parse_dim)]
    pub dims: Vec<(String, i64)>,
    /// Give an input a shape, as in --shape input=1,3,224,224
    #[arg(long = "shape", value_name = "INPUT=N,N,…", value_parser = parse_shape)]
    pub shapes: Vec<(String, Vec<i64>)>,
}

impl ModelArguments {
    /// Reads the model and binds the sizes.
    pub fn read(&self) -> Result<Graph> {
        let mut graph = Graph::read(&self.model)?;
        self.sizes.bind(&mut graph)?;
        Ok(graph)
    }
}

impl SizeArguments {
    /// Binds the sizes of a model.
    pub fn bind(&self, graph: &mut Graph) -> Result {
        let known: Vec<String> = graph
            .inputs
            .iter()
            .flat_map(|&v| graph.values[v].fact.shape.iter().flatten())
            .flat_map(|d| d.symbols())
            .map(|s| s.to_string())
            .collect();
        if let Some((name, _)) = self.dims.iter().find(|(name, _)| !known.contains(name)) {
            let text = match known.is_empty() {
                true => "it has none".to_owned(),
                false => format!("it has {}", known.join(", ")),
            };
            return Err(CliError::Input(format!(
                "--dim {name}: the model has no such symbolic size; {text}"
            )));
        }
        let path = graph.source.file().to_owned();
        let name = |e: secateurs_graph::GraphError| CliError::from(e.in_file(Some(path.as_ref())));
        for (input, shape) in &self.shapes {
            graph.bind_shape(input, shape).map_err(name)?;
        }
        let bindings: Bindings = self.dims.iter().cloned().collect();
        if !bindings.is_empty() {
            graph.bind(&bindings).map_err(name)?;
        }
        Ok(())
    }
}

fn parse_dim(text: &str) -> Result<(String, i64), String> {
    let (name, size) = text.split_once('=').ok_or("expected NAME=N")?;
    Ok((name.to_owned(), parse_size(size)?))
}

fn parse_shape(text: &str) -> Result<(String, Vec<i64>), String> {
    let (name, shape) = text.split_once('=').ok_or("expected INPUT=N,N,…")?;
    let sizes = shape.split(',').filter(|s| !s.is_empty()).map(parse_size).collect::<Result<_, _>>()?;
    Ok((name.to_owned(), sizes))
}

fn parse_size(text: &str) -> Result<i64, String> {
    match text.trim().parse::<i64>() {
        Ok(n) if n >= 1 => Ok(n),
        Ok(n) => Err(format!("a size must be at least 1, not {n}")),
        Err(_) => Err(format!("'{text}' is not a number")),
    }
}

/// Which engine runs the model.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum Engine {
    /// Our interpreter on libtorch
    #[default]
    Libtorch,
    /// ONNX Runtime with graph optimisations off, to compare with
    Onnxruntime,
}

/// How a model is run.
#[derive(Args)]
pub struct EngineArguments {
    /// Which engine runs the model
    #[arg(long, value_enum, default_value_t)]
    pub engine: Engine,
    #[command(flatten)]
    pub device: DeviceArguments,
    /// Compute 32-bit floats in 64 bits (libtorch only)
    #[arg(long)]
    pub double: bool,
}

/// Where libtorch computes.
#[derive(Args)]
pub struct DeviceArguments {
    /// Where libtorch computes: cpu, cuda, or cuda:N
    #[arg(long, default_value = "cpu", value_parser = parse_device)]
    pub device: Device,
    /// Threads; all cores by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

fn parse_device(text: &str) -> Result<Device, String> {
    match text.split_once(':') {
        None if text == "cpu" => Ok(Device::Cpu),
        None if text == "cuda" => Ok(Device::Cuda(0)),
        Some(("cuda", index)) => {
            index.parse().map(Device::Cuda).map_err(|_| format!("'{index}' is no GPU number"))
        }
        _ => Err("expected cpu, cuda or cuda:N".into()),
    }
}

impl EngineArguments {
    /// What 32-bit floats are computed in.
    pub fn precision(&self) -> Precision {
        if self.double { Precision::Double } else { Precision::Single }
    }

    /// Loads libtorch, checks that the device is there, and sets the threads.
    pub fn prepare(&self) -> Result {
        if self.engine == Engine::Onnxruntime {
            if self.double || self.device.device != Device::Cpu {
                let text = "--double and --device are for the libtorch engine; leave them or --engine out";
                return Err(CliError::Input(text.into()));
            }
            return Ok(());
        }
        self.device.prepare()
    }
}

impl DeviceArguments {
    /// Loads libtorch, checks that the device is there, and sets the threads.
    pub fn prepare(&self) -> Result {
        let libtorch = secateurs_torch::load().map_err(|e| CliError::Failed(e.to_string()))?;
        if let Device::Cuda(index) = self.device {
            let count = secateurs_torch::tch::Cuda::device_count();
            if index as i64 >= count {
                return Err(CliError::Input(format!(
                    "--device cuda:{index}: libtorch sees {count} GPUs ({})",
                    libtorch.cuda
                )));
            }
        }
        if let Some(threads) = self.threads {
            secateurs_torch::tch::set_num_threads(threads.into());
        }
        Ok(())
    }
}

/// What was given, as a table of settings: what was not given is not in it.
pub fn table(arguments: &impl Serialize) -> Result<Table> {
    Table::try_from(arguments).map_err(|e| CliError::Input(e.to_string()))
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// Seeds that recipes can hold: TOML's integers have a sign.
pub fn parse_seed() -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(..=i64::MAX as u64)
}

/// Data and how to read them.
#[derive(Args)]
pub struct DataArguments {
    /// A folder of class folders of images, an .npz with x and y, or texts as .tsv, .csv, .jsonl or .parquet
    ///
    /// The labels y of an .npz are class indices [N], one a token or pixel [N, rows…] with negative ones where none counts, 0 or 1 for each
    /// of several labels [N, K], or numbers of the output's shape.
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// Preprocessing of images from a TOML file or a preprocessor_config.json
    #[arg(long, value_name = "FILE", help_heading = "Images")]
    pub preprocess: Option<PathBuf>,
    /// Preprocessing of images by name: cifar10 or imagenet
    #[arg(long, value_parser = parse_preset, help_heading = "Images")]
    pub preset: Option<Preset>,
    /// Resize: N for the shorter side, or HxW
    #[arg(long, value_name = "SIZE", help_heading = "Images")]
    pub resize: Option<Resize>,
    /// Filter of the resizing: nearest, bilinear, bicubic or lanczos
    #[arg(long, value_name = "FILTER", value_parser = parse_quoted::<Resample>, help_heading = "Images")]
    pub resample: Option<Resample>,
    /// Cut the centre: N or HxW
    #[arg(long, value_name = "SIZE", help_heading = "Images")]
    pub center_crop: Option<Size>,
    /// Factor of the pixels [default: 1/255]
    #[arg(long, value_name = "X", help_heading = "Images")]
    pub scale: Option<f64>,
    /// Mean to subtract after scaling, one or one a channel
    #[arg(
        long,
        value_name = "X,…",
        value_delimiter = ',',
        allow_negative_numbers = true,
        help_heading = "Images"
    )]
    pub mean: Option<Vec<f64>>,
    /// Standard deviation to divide by, one or one a channel
    #[arg(long, value_name = "X,…", value_delimiter = ',', help_heading = "Images")]
    pub std: Option<Vec<f64>>,
    /// Order of the axes: nchw or nhwc [default: as the model's input]
    #[arg(long, value_parser = parse_quoted::<Layout>, help_heading = "Images")]
    pub layout: Option<Layout>,
    /// Order of the channels: rgb or bgr [default: rgb]
    #[arg(long, value_parser = parse_quoted::<ChannelOrder>, help_heading = "Images")]
    pub channel_order: Option<ChannelOrder>,
    /// Names of the classes in the order of the model's outputs, for folders and labels that are names, or a file with one a line
    #[arg(long, value_name = "NAME,…|FILE")]
    pub classes: Option<Classes>,
    /// A label of tokens, pixels or several labels that does not count, as negative ones do not: 255 in many masks
    #[arg(long, value_name = "N")]
    pub ignore_label: Option<i64>,
    /// The tokenizer.json [default: looked for beside the data and the model]
    #[arg(long, value_name = "FILE", help_heading = "Text")]
    pub tokenizer: Option<PathBuf>,
    /// Column of the text [default: text]
    #[arg(long, value_name = "NAME", help_heading = "Text")]
    pub text_column: Option<String>,
    /// Column of the second text of a pair
    #[arg(long, value_name = "NAME", help_heading = "Text")]
    pub pair_column: Option<String>,
    /// What an input takes of texts where its name does not say it: ids, mask, types or positions, and of which columns, as in
    /// --input query=ids:question or --input tokens=ids:question+answer; may be repeated
    #[arg(long = "input", value_name = "NAME=WHAT[:COLUMN[+COLUMN]]", value_parser = parse_input, help_heading = "Text")]
    pub inputs: Vec<(String, String)>,
    /// Column of the label [default: label]
    #[arg(long, value_name = "NAME", help_heading = "Text")]
    pub label_column: Option<String>,
    /// Cut texts to this many tokens [default: the tokenizer's truncation, else the model's fixed length, else 128; at most the model's
    /// positions]
    #[arg(long, value_name = "N", help_heading = "Text")]
    pub max_length: Option<usize>,
}

/// The outputs that are looked at.
#[derive(Args)]
pub struct OutputArguments {
    /// An output to look at and the weight of its loss; may be repeated, the output that labels are for first [default: all outputs of
    /// floats, each with weight 1]
    #[arg(long = "output", value_name = "NAME[=WEIGHT]")]
    pub outputs: Vec<WeightedOutput>,
}

/// A parser of what outputs are taken for.
pub fn objective() -> impl TypedValueParser<Value = Objective> {
    PossibleValuesParser::new(Objective::ALL.iter().map(|o| o.name()))
        .try_map(|name| parse_quoted::<Objective>(&name))
}

/// A value of a type that files write as this word.
pub fn parse_quoted<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|e| e.to_string())
}

fn parse_input(text: &str) -> Result<(String, String), String> {
    let (name, what) = text.split_once('=').ok_or("expected NAME=WHAT, as in query=ids:question")?;
    Ok((name.to_owned(), what.to_owned()))
}

fn parse_preset(text: &str) -> Result<Preset, String> {
    parse_quoted(text)
}

impl DataArguments {
    /// The options for [`secateurs::data::Dataset::open`].
    pub fn options(&self, model: &std::path::Path) -> DataOptions {
        DataOptions {
            preset: self.preset,
            preprocess_file: self.preprocess.clone(),
            preprocess: Preprocess {
                resize: self.resize,
                resample: self.resample,
                center_crop: self.center_crop,
                crop_margin: None,
                scale: self.scale,
                mean: self.mean.clone(),
                std: self.std.clone(),
                layout: self.layout,
                channel_order: self.channel_order,
            },
            classes: self.classes.clone().map(|classes| classes.0),
            ignore_label: self.ignore_label,
            tokenizer: self.tokenizer.clone(),
            text_column: self.text_column.clone(),
            pair_column: self.pair_column.clone(),
            inputs: self.inputs.iter().cloned().collect(),
            label_column: self.label_column.clone(),
            max_length: self.max_length,
            model_folder: model.parent().map(Into::into),
            token_limits: TokenLimits::default(),
        }
    }
}
