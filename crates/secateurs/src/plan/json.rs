//! Plans as JSON: an object a line where there are many, a list of numbers or names on one line.

use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::ser::{Formatter, PrettyFormatter};

use super::{FORMAT_VERSION, OLDEST_VERSION, Plan, PlanError};
use crate::whole;

pub(super) fn read(path: &Path) -> Result<Plan, PlanError> {
    let text = std::fs::read(path).map_err(|source| PlanError::Read { path: path.into(), source })?;
    parse(&text, path)
}

pub(super) fn parse(text: &[u8], path: &Path) -> Result<Plan, PlanError> {
    let format = |reason: String| PlanError::Format { path: path.into(), reason };
    #[derive(Deserialize)]
    struct Version {
        format_version: u64,
    }
    // First, as a later version may have other fields.
    let version: Version = serde_json::from_slice(text).map_err(|e| format(e.to_string()))?;
    match version.format_version {
        OLDEST_VERSION..=FORMAT_VERSION => {}
        0 => return Err(format("format version 0 does not exist".into())),
        found => return Err(PlanError::Version { path: path.into(), found }),
    }
    let mut plan: Plan = serde_json::from_slice(text).map_err(|e| format(e.to_string()))?;
    plan.format_version = FORMAT_VERSION;
    for group in &plan.groups {
        group.check().map_err(|e| e.in_file(path))?;
    }
    Ok(plan)
}

pub(super) fn write(plan: &Plan, path: &Path) -> Result<(), PlanError> {
    let error = |source| PlanError::Write { path: path.into(), source };
    let text = to_text(plan).map_err(error)?;
    whole::write(path, text.as_bytes()).map_err(error)
}

pub(super) fn to_text(plan: &Plan) -> io::Result<String> {
    let mut text = Vec::new();
    plan.serialize(&mut serde_json::Serializer::with_formatter(&mut text, Lines::default()))?;
    text.push(b'\n');
    String::from_utf8(text).map_err(io::Error::other)
}

/// A count without a decimal point.
pub(super) fn number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match *value {
        whole if whole.fract() == 0.0 && (0.0..9e15).contains(&whole) => {
            serializer.serialize_u64(whole as u64)
        }
        other => serializer.serialize_f64(other),
    }
}

/// Pretty, but for arrays, which are on one line unless they hold objects.
#[derive(Default)]
struct Lines {
    pretty: PrettyFormatter<'static>,
    /// For each open array, whether it holds objects.
    objects: Vec<bool>,
    /// What has been written of the open array that holds no objects (so far).
    first: bool,
}

impl Formatter for Lines {
    fn begin_array<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        // Nothing yet: the first element decides.
        self.objects.push(false);
        self.first = true;
        Ok(())
    }

    fn end_array<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        let empty = std::mem::take(&mut self.first);
        match self.objects.pop() {
            Some(true) => self.pretty.end_array(w),
            _ if empty => w.write_all(b"[]"),
            _ => w.write_all(b"]"),
        }
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        match self.objects.last() {
            Some(true) => self.pretty.begin_array_value(w, first),
            _ if first => Ok(()),
            _ => w.write_all(b", "),
        }
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        match self.objects.last() {
            Some(true) => self.pretty.end_array_value(w),
            _ => Ok(()),
        }
    }

    fn begin_object<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        if std::mem::take(&mut self.first)
            && let Some(objects) = self.objects.last_mut()
        {
            *objects = true;
            self.pretty.begin_array(w)?;
            self.pretty.begin_array_value(w, true)?;
        }
        self.pretty.begin_object(w)
    }

    fn end_object<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.pretty.end_object(w)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        self.pretty.begin_object_key(w, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.pretty.begin_object_value(w)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.pretty.end_object_value(w)
    }

    fn begin_string<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.open(w)?;
        w.write_all(b"\"")
    }

    fn write_f64<W: ?Sized + Write>(&mut self, w: &mut W, value: f64) -> io::Result<()> {
        self.open(w)?;
        self.pretty.write_f64(w, value)
    }

    fn write_u64<W: ?Sized + Write>(&mut self, w: &mut W, value: u64) -> io::Result<()> {
        self.open(w)?;
        write!(w, "{value}")
    }
}

impl Lines {
    /// The bracket of an array whose first element is no object.
    fn open<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        match std::mem::take(&mut self.first) {
            true => w.write_all(b"["),
            false => Ok(()),
        }
    }
}
