//! What a file declares, imports and names by path; code for tests is left out.
//!
//! This is no parser of Rust: it knows words, brackets, attributes, `mod`, `use` and paths, which is all that imports need.

use std::collections::BTreeSet;

/// A path, as its segments; one that ends with `*` is a glob.
pub(crate) type Path = Vec<String>;

/// What a module says in its own file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Module {
    /// Modules in files of their own, with the file that `#[path]` names.
    pub(crate) children: Vec<(String, Option<String>)>,
    /// Modules written in this file.
    pub(crate) inline: Vec<(String, Module)>,
    /// Names that `use` brings in.
    pub(crate) imports: Vec<Import>,
    /// Other paths of two segments or more.
    pub(crate) paths: Vec<Path>,
    /// Names of items that it defines.
    pub(crate) items: BTreeSet<String>,
    /// All words outside of `use`, by which a name that is re-exported shows to be used here as well.
    pub(crate) words: BTreeSet<String>,
}

/// A name that `use` brings in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) name: String,
    /// What it stands for.
    pub(crate) path: Path,
    /// It is `pub use`.
    pub(crate) re_export: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Sign(char),
    Literal(String),
}

/// Reads a file.
pub(crate) fn module(source: &str) -> Module {
    let tokens = tokens(source);
    let mut module = Module::default();
    Reader { tokens: &tokens, at: 0 }.items(&mut module);
    module
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Reader<'_> {
    fn sign(&self, ahead: usize, sign: char) -> bool {
        self.tokens.get(self.at + ahead) == Some(&Token::Sign(sign))
    }

    fn word(&self, ahead: usize) -> Option<&str> {
        match self.tokens.get(self.at + ahead) {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// Reads up to the bracket that closes what surrounds it, or to the end.
    fn items(&mut self, into: &mut Module) {
        let mut depth = 0_usize;
        let (mut file, mut public) = (None, false);
        while let Some(token) = self.tokens.get(self.at) {
            match token {
                Token::Sign('#') if self.sign(1, '[') || (self.sign(1, '!') && self.sign(2, '[')) => {
                    let inner = self.sign(1, '!');
                    let attribute = self.attribute();
                    if !inner && is_for_tests(&attribute) {
                        self.skip_item();
                    } else if let [Token::Word(path), Token::Sign('='), Token::Literal(name)] = attribute.as_slice()
                        && path == "path"
                    {
                        file = Some(name.clone());
                    }
                    continue;
                }
                Token::Sign('{') => depth += 1,
                Token::Sign('}') if depth == 0 => return,
                Token::Sign('}') => depth -= 1,
                Token::Word(word) => match word.as_str() {
                    "mod" => {
                        self.child(file.take(), into);
                        continue;
                    }
                    "use" => {
                        self.at += 1;
                        self.import(&mut Vec::new(), public, into);
                        public = false;
                        continue;
                    }
                    "pub" => {
                        public = true;
                        self.at += 1;
                        if self.sign(0, '(') {
                            self.skip_brackets();
                        }
                        continue;
                    }
                    "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union" => {
                        if let Some(name) = self.word(1).map(str::to_owned) {
                            into.items.insert(name);
                        }
                    }
                    "macro_rules" => {
                        if let Some(name) = self.word(2).map(str::to_owned) {
                            into.items.insert(name);
                        }
                    }
                    _ => {
                        public = false;
                        self.path(into);
                        continue;
                    }
                },
                _ => {}
            }
            public = false;
            self.at += 1;
        }
    }

    /// `mod name;` or `mod name { … }`.
    fn child(&mut self, file: Option<String>, into: &mut Module) {
        self.at += 1;
        let Some(name) = self.word(0).map(str::to_owned) else { return };
        self.at += 1;
        if self.sign(0, ';') {
            into.children.push((name, file));
        } else if self.sign(0, '{') {
            self.at += 1;
            let mut inner = Module::default();
            self.items(&mut inner);
            into.inline.push((name, inner));
        }
        self.at += 1;
    }

    /// What follows `use`, with the segments so far.
    fn import(&mut self, so_far: &mut Path, re_export: bool, into: &mut Module) {
        let length = so_far.len();
        loop {
            match self.tokens.get(self.at) {
                Some(Token::Word(word)) if word == "as" => {
                    let alias = self.word(1).unwrap_or("_").to_owned();
                    self.at += 2;
                    into.imports.push(Import { name: alias, path: so_far.clone(), re_export });
                    so_far.truncate(length);
                    return;
                }
                Some(Token::Word(word)) => so_far.push(word.clone()),
                Some(Token::Sign('*')) => so_far.push("*".to_owned()),
                Some(Token::Sign(':')) => {}
                Some(Token::Sign('{')) => {
                    self.at += 1;
                    while self.at < self.tokens.len() && !self.sign(0, '}') {
                        self.import(so_far, re_export, into);
                        if self.sign(0, ',') {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    so_far.truncate(length);
                    return;
                }
                _ => break,
            }
            self.at += 1;
        }
        if so_far.last().is_some_and(|last| last == "self") && so_far.len() > 1 {
            so_far.pop();
        }
        if let Some(name) = so_far.last() {
            into.imports.push(Import { name: name.clone(), path: so_far.clone(), re_export });
        }
        so_far.truncate(length);
    }

    /// A word, and the path that begins with it.
    fn path(&mut self, into: &mut Module) {
        let mut path: Path = self.word(0).map(str::to_owned).into_iter().collect();
        self.at += 1;
        while self.sign(0, ':') && self.sign(1, ':') {
            let Some(word) = self.word(2).map(str::to_owned) else { break };
            path.push(word);
            self.at += 3;
        }
        into.words.extend(path.iter().cloned());
        if path.len() > 1 {
            into.paths.push(path);
        }
    }

    /// What is within `#[ … ]`.
    fn attribute(&mut self) -> Vec<Token> {
        while !self.sign(0, '[') {
            self.at += 1;
        }
        let begin = self.at + 1;
        self.skip_brackets();
        self.tokens.get(begin..self.at - 1).unwrap_or_default().to_vec()
    }

    /// From an opening bracket to behind the closing one.
    fn skip_brackets(&mut self) {
        let mut depth = 0_usize;
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            match token {
                Token::Sign('(' | '[' | '{') => depth += 1,
                Token::Sign(')' | ']' | '}') => {
                    depth -= 1;
                    if depth == 0 {
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    /// From behind an attribute to behind what it stands on: an item, a field, a variant, an arm, a statement.
    fn skip_item(&mut self) {
        while self.sign(0, '#') {
            self.attribute();
        }
        const ITEMS: [&str; 13] = [
            "pub", "fn", "mod", "impl", "struct", "enum", "trait", "const", "static", "use", "type", "async", "unsafe",
        ];
        let item = self.word(0).is_some_and(|word| ITEMS.contains(&word));
        let import = self.word(0) == Some("use") || (self.word(0) == Some("pub") && self.word(1) == Some("use"));
        while let Some(token) = self.tokens.get(self.at) {
            match token {
                Token::Sign('}') => return,
                Token::Sign('{') if !import => return self.skip_brackets(),
                Token::Sign('(' | '[' | '{') => self.skip_brackets(),
                Token::Sign(';') => {
                    self.at += 1;
                    return;
                }
                Token::Sign(',') if !item => {
                    self.at += 1;
                    return;
                }
                _ => self.at += 1,
            }
        }
    }
}

/// `test`, and every `cfg` by which something is there in tests but not in programs.
fn is_for_tests(attribute: &[Token]) -> bool {
    let words: Vec<&str> = attribute
        .iter()
        .filter_map(|token| match token {
            Token::Word(word) => Some(word.as_str()),
            _ => None,
        })
        .collect();
    match words.as_slice() {
        ["test"] | ["tokio", "test", ..] => true,
        ["cfg", rest @ ..] => rest.contains(&"test") && !rest.contains(&"not"),
        _ => false,
    }
}

fn tokens(source: &str) -> Vec<Token> {
    let letters: Vec<char> = source.chars().collect();
    let at = |index: usize| letters.get(index).copied().unwrap_or('\0');
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < letters.len() {
        let letter = at(i);
        if letter.is_whitespace() {
            i += 1;
        } else if letter == '/' && at(i + 1) == '/' {
            while i < letters.len() && at(i) != '\n' {
                i += 1;
            }
        } else if letter == '/' && at(i + 1) == '*' {
            i = after_comment(&letters, i);
        } else if let Some((end, text)) = literal(&letters, i) {
            tokens.push(Token::Literal(text));
            i = end;
        } else if letter == 'r' && at(i + 1) == '#' && is_word(at(i + 2)) {
            i += 2;
        } else if is_word(letter) {
            let begin = i;
            while is_word(at(i)) {
                i += 1;
            }
            tokens.push(Token::Word(letters.iter().skip(begin).take(i - begin).collect()));
        } else if letter == '\'' {
            // A lifetime: a literal would have been found.
            i += 1;
            while is_word(at(i)) {
                i += 1;
            }
        } else {
            tokens.push(Token::Sign(letter));
            i += 1;
        }
    }
    tokens
}

fn after_comment(letters: &[char], begin: usize) -> usize {
    let (mut depth, mut i) = (0_usize, begin);
    while i < letters.len() {
        match (letters.get(i), letters.get(i + 1)) {
            (Some('/'), Some('*')) => (depth, i) = (depth + 1, i + 2),
            (Some('*'), Some('/')) => {
                (depth, i) = (depth - 1, i + 2);
                if depth == 0 {
                    break;
                }
            }
            _ => i += 1,
        }
    }
    i
}

/// A string or character that begins here: where it ends, and what is in it.
fn literal(letters: &[char], begin: usize) -> Option<(usize, String)> {
    let at = |index: usize| letters.get(index).copied().unwrap_or('\0');
    let mut i = begin;
    if matches!(at(i), 'b' | 'c') && matches!(at(i + 1), '"' | '\'' | 'r') {
        i += 1;
    }
    if at(i) == 'r' && matches!(at(i + 1), '"' | '#') {
        let hashes = (i + 1..).take_while(|index| at(*index) == '#').count();
        i += 1 + hashes;
        if at(i) != '"' {
            return None;
        }
        let from = i + 1;
        let closes = |index: usize| at(index) == '"' && (1..=hashes).all(|hash| at(index + hash) == '#');
        let to = (from..letters.len()).find(|index| closes(*index))?;
        return Some((to + 1 + hashes, letters.get(from..to)?.iter().collect()));
    }
    let quote = at(i);
    // 'a is a lifetime, 'a' and '\n' are not.
    if quote == '\'' && at(i + 1) != '\\' && at(i + 2) != '\'' {
        return None;
    }
    if quote != '"' && quote != '\'' {
        return None;
    }
    let from = i + 1;
    i = from;
    while i < letters.len() && at(i) != quote {
        i += if at(i) == '\\' { 2 } else { 1 };
    }
    Some((i + 1, letters.get(from..i)?.iter().collect()))
}
