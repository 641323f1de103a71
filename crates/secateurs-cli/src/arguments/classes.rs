//! The names of classes: on the command line, or in a file.

use std::path::Path;
use std::str::FromStr;

/// Names in the order of the model's outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Classes(pub Vec<String>);

impl FromStr for Classes {
    type Err = String;

    /// `cat,dog`, or a file with a name a line.
    fn from_str(text: &str) -> Result<Classes, String> {
        if !Path::new(text).is_file() {
            return Ok(Classes(text.split(',').map(str::to_owned).collect()));
        }
        let lines = std::fs::read_to_string(text).map_err(|e| format!("cannot be read: {e}"))?;
        let names: Vec<String> = lines.lines().map(|line| line.trim().to_owned()).collect();
        match names.iter().position(String::is_empty) {
            _ if names.is_empty() => Err("the file is empty; it must have the name of a class a line".into()),
            // The place of a name is its class.
            Some(line) => Err(format!("line {} is empty; every line must be the name of a class", line + 1)),
            None => Ok(Classes(names)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_words_or_the_lines_of_a_file() {
        let names = |text: &str| text.parse::<Classes>().map(|classes| classes.0);
        assert_eq!(names("cat,dog").unwrap(), ["cat", "dog"]);
        assert_eq!(names("no/such/file.txt").unwrap(), ["no/such/file.txt"]);
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        std::fs::write(path, "great white shark, white shark\r\ncat\n").unwrap();
        assert_eq!(names(path).unwrap(), ["great white shark, white shark", "cat"]);
        std::fs::write(path, "cat\n\ndog\n").unwrap();
        assert!(names(path).unwrap_err().contains("line 2 is empty"));
        std::fs::write(path, "").unwrap();
        assert!(names(path).unwrap_err().contains("empty"));
        std::fs::write(path, [0xff, 0xfe, 0x00]).unwrap();
        assert!(names(path).unwrap_err().contains("cannot be read"));
    }
}
