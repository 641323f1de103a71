//! A command line as a shell takes it.

/// A longer command has a line for every option.
const LONGEST_LINE: usize = 80;

/// The words as a command that a POSIX shell splits into them again.
pub fn quoted(words: &[String]) -> String {
    let length: usize = words.iter().map(|word| word.len() + 1).sum();
    let mut command = String::new();
    for (i, word) in words.iter().enumerate() {
        if i > 0 {
            command += if length > LONGEST_LINE && word.starts_with('-') { " \\\n  " } else { " " };
        }
        command += &quote(word);
    }
    command
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=,:@%+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_change_them() {
        let words =
            ["secateurs", "--keep", "params=0.5", "", "my model.onnx", "it's $HOME; `x`", "naïve.onnx"];
        let line = quoted(&words.map(str::to_owned));
        let expected = r"secateurs --keep params=0.5 '' 'my model.onnx' 'it'\''s $HOME; `x`' naïve.onnx";
        assert_eq!(line, expected);
    }

    #[test]
    fn long_commands_have_a_line_for_every_option() {
        let path = "a".repeat(70);
        let words = ["secateurs", "tune", &path, "--epochs", "3", "-o", "out"].map(str::to_owned);
        assert_eq!(quoted(&words), format!("secateurs tune {path} \\\n  --epochs 3 \\\n  -o out"));
    }

    #[cfg(unix)]
    #[test]
    fn a_shell_gives_the_words_back() {
        let words =
            ["a b", "it's", "\"$HOME\" `id` \\ *", "<&>", "new\nline", "~", "#", "!x", "--long", "-o", "-"]
                .map(str::to_owned);
        let words = words.into_iter().chain([format!("--{}", "x".repeat(80))]).collect::<Vec<_>>();
        let script = format!(r"printf '%s\0' {}", quoted(&words));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let expected: String = words.iter().map(|word| format!("{word}\0")).collect();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }
}
