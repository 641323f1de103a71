//! Latency in a process that never loads libtorch.
//!
//! The parent starts its own executable with a hidden subcommand, which calls [`latency_child`]: a request in JSON
//! comes in on stdin, an answer in JSON goes out on stdout.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::error::{Result, RuntimeError};
use super::latency::{LatencyJob, LatencyOptions, Timing, measure};
use super::library::{VARIABLE, find_library};

/// What the parent asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyRequest {
    /// The models.
    pub jobs: Vec<LatencyJob>,
    /// How to time them.
    pub options: LatencyOptions,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Timings(Vec<Timing>),
    Error(String),
}

/// The child's side: reads a [`LatencyRequest`], measures, writes the answer. Failures of measuring are part of the
/// answer; an error here means that the answer could not be written.
pub fn latency_child(input: impl Read, mut output: impl Write) -> std::io::Result<()> {
    let answer = match serde_json::from_reader::<_, LatencyRequest>(input) {
        Err(e) => Answer::Error(format!("the request cannot be read: {e}")),
        Ok(request) => match measure_without_libtorch(&request) {
            Ok(timings) => Answer::Timings(timings),
            Err(e) => Answer::Error(e.to_string()),
        },
    };
    serde_json::to_writer(&mut output, &answer)?;
    output.flush()
}

fn measure_without_libtorch(request: &LatencyRequest) -> Result<Vec<Timing>> {
    refuse_libtorch()?;
    let timings = measure(&request.jobs, &request.options)?;
    refuse_libtorch()?;
    Ok(timings)
}

fn refuse_libtorch() -> Result<()> {
    // Systems without /proc cannot be asked.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    match libtorch_in(&maps) {
        None => Ok(()),
        Some(path) => Err(RuntimeError::Child {
            message: format!("{path} is loaded, and its threads would distort the times; unset LD_PRELOAD"),
        }),
    }
}

/// The first file of libtorch among memory maps.
fn libtorch_in(maps: &str) -> Option<&str> {
    let paths = maps.lines().filter_map(|line| line.find('/').map(|start| &line[start..]));
    paths.into_iter().find(|path| path.rsplit('/').next().is_some_and(|name| name.starts_with("libtorch")))
}

/// The parent's side: runs `executable arguments…`, which must call [`latency_child`], and returns one [`Timing`] per
/// job.
pub fn measure_in_child(
    executable: &Path,
    arguments: &[&str],
    request: &LatencyRequest,
) -> Result<Vec<Timing>> {
    // The child must find the same library, so that it is looked for only once.
    let library = find_library()?;
    let error = |message: String| RuntimeError::Child { message };
    let mut child = Command::new(executable)
        .args(arguments)
        .env(VARIABLE, library)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|e| error(format!("{} cannot be started: {e}", executable.display())))?;
    let request = serde_json::to_vec(request).map_err(|e| error(e.to_string()))?;
    // Dropping stdin ends the request. A child that ends without reading it is reported by its answer or status.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(&request));
    let output = child.wait_with_output().map_err(|e| error(e.to_string()))?;
    match serde_json::from_slice(&output.stdout) {
        Ok(Answer::Timings(timings)) => Ok(timings),
        Ok(Answer::Error(message)) => Err(error(message)),
        Err(_) if !output.status.success() => Err(error(format!("it ended with {}", output.status))),
        Err(e) => Err(error(match written {
            Some(Err(write)) => format!("it took no request: {write}"),
            _ => format!("its answer cannot be read: {e}"),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtorch_is_found_among_memory_maps() {
        let maps =
            "7f00-7f01 r-xp 00000000 08:01 12 /usr/lib/libc.so.6\n7f02-7f03 rw-p 00000000 00:00 0 [heap]\n";
        assert_eq!(libtorch_in(maps), None);
        assert_eq!(libtorch_in(&format!("{maps}7f-80 r--p 0 08:01 1 /home/libtorch/lib/libc10.so\n")), None);
        let with = format!("{maps}7f04-7f05 r-xp 00000000 08:01 13 /opt/torch/lib/libtorch_cpu.so\n");
        assert_eq!(libtorch_in(&with), Some("/opt/torch/lib/libtorch_cpu.so"));
    }

    #[test]
    fn a_bad_request_is_answered() {
        let mut answer = Vec::new();
        latency_child(&b"nonsense"[..], &mut answer).unwrap();
        assert!(String::from_utf8(answer).unwrap().contains("request cannot be read"));
    }
}
