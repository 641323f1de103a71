//! A child process that is measured in turns with others.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A process that answers lines on stdin with lines on stdout, and ends when stdin does.
pub struct Process {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Process {
    pub fn start(mut command: Command) -> Process {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().expect("the process starts");
        let answers = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Process { child, answers }
    }

    /// The next line, that of the last question or one that comes unasked.
    pub fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the process answers");
        assert!(!line.is_empty(), "the process has ended before its time; it says why above");
        line.trim_end().to_owned()
    }

    pub fn ask(&mut self, question: &str) -> String {
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        writeln!(stdin, "{question}").expect("the process listens");
        self.answer()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // One that has failed has said so itself.
        let _ = self.child.wait();
    }
}
