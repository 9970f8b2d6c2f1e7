//! The words that the glossary replaces are not used as names in code, in messages or in documents.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails there")]

mod pieces;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pieces::{Piece, Role};
use rules::{EXCEPTIONS, NOT_MATCHED, RULES, Rule};

/// Endings and names of the files that people write.
const READ: [&str; 13] =
    [".rs", ".md", ".toml", ".yml", ".yaml", ".j2", ".ts", ".py", ".sh", ".html", ".sql", "Makefile", "build-filter"];
/// Made by programs, or other people's.
const NOT_READ: [&str; 6] =
    ["docs/cli.md", "docs/configuration.md", "docs/metrics.md", "models/registry/", "models/README.md", "Cargo.lock"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Path and content of every file that people write.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    collect(&root(), &mut found);
    let relative = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let files = found.iter().map(|path| (relative(path), path));
    let files = files.filter(|(path, _)| !NOT_READ.iter().any(|not| path.starts_with(not)));
    files.map(|(path, file)| (path, fs::read_to_string(file).unwrap())).collect()
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let foreign = name.starts_with('.') || ["target", "node_modules", "test-results"].contains(&name);
        if path.is_dir() && !foreign {
            collect(&path, into);
        } else if path.is_file() && READ.iter().any(|ending| name.ends_with(ending)) {
            into.push(path);
        }
    }
}

/// A forbidden word in a file.
#[derive(Debug, PartialEq)]
struct Finding {
    line: usize,
    word: &'static str,
    place: String,
    instead: &'static str,
}

fn findings(path: &str, source: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut named = BTreeSet::new();
    for piece in pieces::of(path, source) {
        match &piece {
            Piece::Name { line, role, name } => {
                let words = pieces::words(name);
                for rule in RULES {
                    if let Some(word) = in_name(rule, *role, &words)
                        && named.insert((word, name.clone()))
                    {
                        found.push(Finding { line: *line, word, place: format!("`{name}`"), instead: rule.instead });
                    }
                }
            }
            Piece::Text { line, text } => {
                let text = PlainText::of(text);
                for (rule, phrase) in RULES.iter().flat_map(|rule| rule.text.iter().map(move |phrase| (rule, *phrase)))
                {
                    for beyond in text.lines_with(phrase) {
                        let place = "text".to_owned();
                        found.push(Finding { line: line + beyond, word: phrase, place, instead: rule.instead });
                    }
                }
            }
        }
    }
    found
}

/// The rule's word that a name of these `words` holds.
fn in_name(rule: &Rule, role: Role, words: &[String]) -> Option<&'static str> {
    let declared = if role == Role::Declared { rule.declared } else { &[] };
    let holds = |word: &str| {
        let length = word.split('_').count();
        words.windows(length).any(|some| some.iter().map(String::as_str).eq(word.split('_')))
    };
    rule.names.iter().chain(declared).copied().find_map(|word| match word.strip_prefix('=') {
        Some(whole) => (words.len() == 1 && holds(whole)).then_some(whole),
        None => holds(word).then_some(word),
    })
}

/// Text in small letters with one blank between words, wherever its lines end.
struct PlainText {
    plain: String,
    /// Of each byte, the number of line ends before it.
    lines: Vec<usize>,
}

impl PlainText {
    fn of(text: &str) -> Self {
        let (mut plain, mut lines, mut line) = (String::with_capacity(text.len()), Vec::with_capacity(text.len()), 0);
        for letter in text.chars() {
            let blank = letter.is_whitespace();
            if !blank || !plain.ends_with(' ') {
                plain.push(if blank { ' ' } else { letter.to_ascii_lowercase() });
                lines.resize(plain.len(), line);
            }
            line += usize::from(letter == '\n');
        }
        Self { plain, lines }
    }

    /// For each place where `phrase` stands as whole words, the number of line ends before it.
    fn lines_with(&self, phrase: &str) -> impl Iterator<Item = usize> {
        let inside = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
        self.plain.match_indices(phrase).filter_map(move |(at, _)| {
            let (before, after) = (self.plain.get(..at)?, self.plain.get(at + phrase.len()..)?);
            let whole = !inside(before.chars().next_back()) && !inside(after.chars().next());
            whole.then(|| self.lines.get(at).copied().unwrap_or(0))
        })
    }
}

fn is_exception(path: &str, word: &str) -> bool {
    EXCEPTIONS.iter().any(|except| path.starts_with(except.path) && (except.word.is_empty() || except.word == word))
}

#[test]
fn words_that_the_glossary_replaces_are_not_used() {
    let mut all = Vec::new();
    let mut by_folder: BTreeMap<String, usize> = BTreeMap::new();
    for (path, source) in sources() {
        for Finding { line, word, place, instead } in findings(&path, &source) {
            if !is_exception(&path, word) {
                *by_folder.entry(path.split('/').next().unwrap_or_default().to_owned()).or_default() += 1;
                all.push(format!("{path}:{line}: \"{word}\" in {place}: say {instead}"));
            }
        }
    }
    assert!(all.is_empty(), "{}\n{} words to replace: {by_folder:?}", all.join("\n"), all.len());
}

#[test]
fn no_documentation_of_an_item_asks_a_question() {
    let mut all = Vec::new();
    for (path, source) in sources().into_iter().filter(|(path, _)| path.ends_with(".rs")) {
        for (number, line) in (1..).zip(source.lines()) {
            let line = line.trim_start();
            let begins = ["Is ", "Are ", "Does ", "Do ", "Has ", "Have ", "Can ", "May ", "Should ", "Was ", "Did "];
            if let Some(text) = line.strip_prefix("/// ").filter(|text| text.contains('?'))
                && begins.iter().any(|word| text.starts_with(word))
            {
                all.push(format!("{path}:{number}: {text}"));
            }
        }
    }
    assert!(all.is_empty(), "say \"Returns `true` if …\":\n{}\n{} questions", all.join("\n"), all.len());
}

/// What may write a percentage otherwise: a record of what was, this test, and a test of what a form takes.
const OTHERWISE: [&str; 3] = ["CHANGELOG.md", "tests/tests/words/main.rs", "forms.rs"];

/// As commands and plans take them: `10%`.
#[test]
fn percentages_are_written_in_one_way() {
    let mut all = Vec::new();
    for (path, source) in sources().into_iter().filter(|(path, _)| !OTHERWISE.iter().any(|not| path.ends_with(not))) {
        for (number, line) in (1..).zip(source.lines()) {
            // In Rust and Python `%` between blanks is an operator, and in the drawings of documents there is none.
            let apart = line.match_indices(" %").any(|(at, _)| {
                let before = line.get(..at).and_then(|text| text.chars().next_back());
                let after = line.get(at + 2..).and_then(|text| text.trim_start().chars().next());
                let operator = after.is_some_and(|letter| letter.is_alphanumeric() || "({=_$".contains(letter));
                let prose = path.ends_with(".md") || line.trim_start().starts_with("//");
                before.is_some_and(|letter| letter.is_ascii_digit() || letter == '}') && (prose || !operator)
            });
            if apart {
                all.push(format!("{path}:{number}: {}", line.trim()));
            }
        }
    }
    assert!(all.is_empty(), "write 10%, without a blank:\n{}\n{} lines", all.join("\n"), all.len());
}

#[test]
fn every_entry_of_the_glossary_has_a_rule() {
    let glossary = fs::read_to_string(root().join("docs/glossary.md")).unwrap();
    let mut entries = Vec::new();
    for row in glossary.lines().filter(|line| line.starts_with('|')).skip(2) {
        let column = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        // What stands in brackets explains the entry.
        let bare: String = column.split('(').map(|part| part.rsplit(')').next().unwrap_or_default()).collect();
        entries.extend(bare.split(',').map(|entry| entry.trim().to_owned()).filter(|entry| !entry.is_empty()));
    }
    let known = |entry: &str| {
        RULES.iter().any(|rule| rule.glossary.contains(&entry)) || NOT_MATCHED.iter().any(|(word, _)| *word == entry)
    };
    let missing: Vec<&String> = entries.iter().filter(|entry| !known(entry)).collect();
    assert!(entries.len() > 20 && missing.is_empty(), "without a rule: {missing:?}");
    let listed = |word: &&str| entries.iter().any(|entry| entry == word);
    let stale: Vec<_> = RULES.iter().flat_map(|rule| rule.glossary).filter(|word| !listed(word)).collect();
    assert!(stale.is_empty(), "not in docs/glossary.md: {stale:?}");
}

#[test]
fn every_exception_is_needed() {
    let sources = sources();
    for except in EXCEPTIONS {
        let needed = sources.iter().filter(|(path, _)| path.starts_with(except.path)).any(|(path, source)| {
            findings(path, source).iter().any(|found| except.word.is_empty() || except.word == found.word)
        });
        assert!(needed, "{} {:?} ({}): nothing there needs it", except.path, except.word, except.reason);
    }
}

#[test]
fn a_word_is_found_where_a_rule_looks_for_it() {
    let found = |path: &str, source: &str| {
        let found = findings(path, source);
        found.into_iter().map(|found| (found.line, found.word)).collect::<Vec<_>>()
    };
    assert_eq!(found("a.rs", "\nstruct Seen;\n"), [(2, "seen")]);
    assert_eq!(found("a.rs", "let seen = is_turned_away();"), [(1, "turned_away")]);
    assert_eq!(found("a.rs", "#[test]\nfn it_asks_once() {}\n#[test]\nfn the_ledger_is_kept() {}"), [(4, "ledger")]);
    assert_eq!(found("a.rs", "// one\n// the last\n// word\nlet x = \"Mended\";"), [(2, "last word"), (4, "mended")]);
    assert_eq!(found("ledger.md", "what was\nseen"), [(1, "ledger"), (1, "what was seen")]);
}

#[test]
fn ordinary_english_is_left_alone() {
    let source =
        "// recommend, second-hand, at hand, a handler, amended, downtown\nfn handle(handler: Handler) { lookup() }";
    assert_eq!(findings("a.rs", source), []);
}
