//! Takes a source file apart into what a rule can be about: names, and text that people read.

/// What a name stands for where it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A type, trait, module or ordinary function where it is declared, or a file.
    Declared,
    /// A test where it is declared: its name is a sentence.
    Sentence,
    /// Any other name.
    Used,
}

/// A part of a file, with the line on which it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Name { line: usize, role: Role, name: String },
    Text { line: usize, text: String },
}

/// The pieces of the file at `path`, whose ending says how to read it.
pub(crate) fn of(path: &str, source: &str) -> Vec<Piece> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = file.split('.').next().unwrap_or(file);
    let mut pieces = vec![Piece::Name { line: 1, role: Role::Declared, name: stem.to_owned() }];
    pieces.extend(match file.rsplit('.').next() {
        Some("rs") => rust(source),
        Some("md") => vec![Piece::Text { line: 1, text: source.to_owned() }],
        _ => lines(source),
    });
    pieces
}

/// The words of a name: `BatchResult`, `batch_result` and `BATCH-RESULT` are `batch` and `result`.
pub(crate) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = '_';
    for letter in name.chars() {
        let begins = !before.is_alphanumeric() || letter.is_uppercase() && !before.is_uppercase();
        if letter.is_alphanumeric() {
            match words.last_mut() {
                Some(word) if !begins => word.extend(letter.to_lowercase()),
                _ => words.push(letter.to_lowercase().collect()),
            }
        }
        before = letter;
    }
    words
}

/// A file of another language: its lines are text, and whatever looks like a name is one.
fn lines(source: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (line, text) in (1..).zip(source.lines()) {
        let names = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for name in names.filter(|name| name.contains('_') || words(name).len() > 1) {
            pieces.push(Piece::Name { line, role: Role::Used, name: name.to_owned() });
        }
    }
    pieces.push(Piece::Text { line: 1, text: source.to_owned() });
    pieces
}

/// Names, string literals and comments of Rust. Comments on lines that follow each other are one text.
fn rust(source: &str) -> Vec<Piece> {
    let mut reader = Reader { rest: source, line: 1, pieces: Vec::new(), keyword: String::new(), test: false };
    while let Some(letter) = reader.rest.chars().next() {
        reader.next(letter);
    }
    reader.pieces
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    pieces: Vec<Piece>,
    /// The last name, which may be the keyword of a declaration.
    keyword: String,
    /// The next function has a test's attribute.
    test: bool,
}

impl<'a> Reader<'a> {
    fn next(&mut self, letter: char) {
        if self.rest.starts_with("//") {
            self.comment();
        } else if let Some(length) = self.rest.starts_with("/*").then(|| self.rest.find("*/")).flatten() {
            let line = self.line;
            let text = self.take(length + 2).to_owned();
            self.pieces.push(Piece::Text { line, text });
        } else if letter == '"' {
            self.string(0);
        } else if let Some((prefix, marks)) = raw_string(self.rest) {
            self.take(prefix);
            self.string(marks);
        } else if letter == '\'' {
            self.character();
        } else if letter.is_alphabetic() || letter == '_' {
            self.name();
        } else {
            self.take(letter.len_utf8());
        }
    }

    /// The next `length` bytes.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn comment(&mut self) {
        let line = self.line;
        let mut text = String::new();
        loop {
            let length = self.rest.find('\n').map_or(self.rest.len(), |end| end + 1);
            text.push_str(self.take(length).trim_start_matches(['/', '!']));
            let indent = self.rest.len() - self.rest.trim_start_matches([' ', '\t']).len();
            if !self.rest.trim_start_matches([' ', '\t']).starts_with("//") {
                break;
            }
            self.take(indent);
        }
        self.pieces.push(Piece::Text { line, text });
    }

    /// A string whose opening quote comes next; a raw one has its number of marks, an ordinary one 0 and may have
    /// escapes.
    fn string(&mut self, marks: usize) {
        let line = self.line;
        let end = format!("\"{}", "#".repeat(marks));
        let raw = marks > 0;
        let mut at = 1;
        while let Some(rest) = self.rest.get(at..) {
            if rest.is_empty() || rest.starts_with(&end) {
                break;
            }
            let escaped = !raw && rest.starts_with('\\');
            at += rest.chars().take(if escaped { 2 } else { 1 }).map(char::len_utf8).sum::<usize>();
        }
        let text = self.take(at).get(1..).unwrap_or_default().replace("\\\n", " \n");
        self.take(end.len());
        self.pieces.push(Piece::Text { line, text });
    }

    /// A character literal or a lifetime.
    fn character(&mut self) {
        let mut letters = self.rest.chars().skip(1);
        let length = match (letters.next(), letters.next()) {
            (Some('\\'), _) => self.rest.get(3..).and_then(|rest| rest.find('\'')).map_or(1, |end| end + 4),
            (Some(letter), Some('\'')) => letter.len_utf8() + 2,
            _ => 1,
        };
        self.take(length);
    }

    fn name(&mut self) {
        let line = self.line;
        let length = self.rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let name = self.take(length.unwrap_or(self.rest.len())).to_owned();
        if self.keyword == "inline" {
            // `inline(always)` is the language's.
            self.keyword.clear();
            return;
        }
        let role = match self.keyword.as_str() {
            "fn" if self.test => Role::Sentence,
            "fn" | "struct" | "enum" | "trait" | "type" | "union" | "mod" => Role::Declared,
            _ => Role::Used,
        };
        // `#[test]`, `#[tokio::test(…)]`; and functions inside of `proptest!` are known by their length.
        let is_attribute = name == "test" && matches!(self.rest.chars().next(), Some(']' | '('));
        self.test = is_attribute || self.test && self.keyword != "fn";
        let sentence = role == Role::Declared && words(&name).len() > 5;
        let role = if sentence { Role::Sentence } else { role };
        self.keyword.clone_from(&name);
        self.pieces.push(Piece::Name { line, role, name });
    }
}

/// Of a raw string at the beginning of `rest`: what stands before its quote, in bytes, and how many marks it has; a raw
/// string without marks counts as an ordinary one.
fn raw_string(rest: &str) -> Option<(usize, usize)> {
    let prefix = ["br", "cr", "r"].into_iter().find(|prefix| rest.starts_with(prefix))?;
    let after = rest.get(prefix.len()..)?;
    let marks = after.len() - after.trim_start_matches('#').len();
    after.get(marks..)?.starts_with('"').then_some((prefix.len() + marks, marks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(line: usize, role: Role, name: &str) -> Piece {
        Piece::Name { line, role, name: name.to_owned() }
    }

    fn text(line: usize, text: &str) -> Piece {
        Piece::Text { line, text: text.to_owned() }
    }

    #[test]
    fn names_are_split_by_case_and_underscore() {
        assert_eq!(words("BatchResult"), ["batch", "result"]);
        assert_eq!(words("perch_HTTP_2"), ["perch", "http", "2"]);
        assert_eq!(words("handler"), ["handler"]);
    }

    #[test]
    fn rust_is_taken_apart_with_lines_and_roles() {
        let source = "/// Two\n/// lines.\nstruct Seen<'a>(&'a str);\n#[test]\nfn it_said() {\n\
            x(\"a \\\" b\", '\"', r#\"c \"d\"#)\n}\n";
        assert_eq!(
            rust(source),
            [
                text(1, " Two\n lines.\n"),
                name(3, Role::Used, "struct"),
                name(3, Role::Declared, "Seen"),
                name(3, Role::Used, "a"),
                name(3, Role::Used, "a"),
                name(3, Role::Used, "str"),
                name(4, Role::Used, "test"),
                name(5, Role::Used, "fn"),
                name(5, Role::Sentence, "it_said"),
                name(6, Role::Used, "x"),
                text(6, "a \\\" b"),
                text(6, "c \"d"),
            ]
        );
    }

    #[test]
    fn a_literal_or_a_lifetime_opens_no_string() {
        assert_eq!(rust("'\\'' 'a '\\u{1}' \"b\""), [name(1, Role::Used, "a"), text(1, "b")]);
        assert_eq!(rust("/* c */ b\"d\""), [text(1, "/* c */"), name(1, Role::Used, "b"), text(1, "d")]);
    }

    #[test]
    fn a_files_name_is_a_name() {
        assert_eq!(of("a/ledger.rs", ""), [name(1, Role::Declared, "ledger")]);
        let script = of("x.sh", "a_b=1\n");
        assert_eq!(script, [name(1, Role::Declared, "x"), name(1, Role::Used, "a_b"), text(1, "a_b=1\n")]);
    }
}
