//! Reads structs, enums and defaults from source that rustfmt has laid out.

use std::collections::BTreeMap;

/// A field of a struct, or a variant of an enum.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// Empty for a variant.
    pub(crate) kind: String,
    pub(crate) help: String,
    /// What stands in `#[serde(…)]` and the like above it.
    pub(crate) attributes: String,
}

/// What a file declares.
#[derive(Debug, Default)]
pub(crate) struct Declarations {
    pub(crate) structs: BTreeMap<String, Vec<Member>>,
    pub(crate) enums: BTreeMap<String, Vec<Member>>,
    /// The expression of each field in `impl Default for STRUCT`, by `STRUCT.field`.
    pub(crate) defaults: BTreeMap<String, String>,
    /// The body of each function that only has an expression.
    pub(crate) functions: BTreeMap<String, String>,
}

enum Inside {
    Nothing,
    Struct(String),
    Enum(String),
    Default(String),
    Function(String),
}

impl Declarations {
    pub(crate) fn read(&mut self, source: &str) {
        let (mut inside, mut help, mut attributes) = (Inside::Nothing, Vec::new(), String::new());
        for line in source.lines() {
            let (trimmed, indent) = (line.trim(), line.len() - line.trim_start().len());
            if let Some(comment) = trimmed.strip_prefix("///") {
                help.push(comment.trim().to_owned());
                continue;
            }
            if trimmed.starts_with("#[") {
                attributes.push_str(trimmed);
                continue;
            }
            match (&inside, indent) {
                (_, 0) => inside = Inside::of(trimmed, inside),
                (Inside::Struct(name), 4) => {
                    let field =
                        trimmed.strip_prefix("pub ").and_then(|field| field.trim_end_matches(',').split_once(": "));
                    if let Some((field, kind)) = field {
                        let member = Member {
                            name: field.to_owned(),
                            kind: kind.to_owned(),
                            help: prose(&help),
                            attributes: attributes.clone(),
                        };
                        self.structs.entry(name.clone()).or_default().push(member);
                    }
                }
                (Inside::Enum(name), 4) if trimmed.starts_with(char::is_uppercase) => {
                    let variant = trimmed.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                    let member = Member {
                        name: snake(variant),
                        kind: String::new(),
                        help: prose(&help),
                        attributes: attributes.clone(),
                    };
                    self.enums.entry(name.clone()).or_default().push(member);
                }
                (Inside::Default(name), _) => {
                    let fields =
                        trimmed.trim_start_matches("Self {").trim_end_matches('}').trim().trim_end_matches(',');
                    for (field, value) in fields.split("(), ").filter_map(|field| field.split_once(": ")) {
                        self.defaults.insert(format!("{name}.{}", field.trim()), value.to_owned());
                    }
                }
                (Inside::Function(name), 4) => {
                    self.functions.insert(name.clone(), trimmed.to_owned());
                }
                _ => {}
            }
            help.clear();
            attributes.clear();
        }
    }
}

impl Inside {
    fn of(line: &str, before: Self) -> Self {
        let name = |rest: &str| rest.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
        for (start, make) in [
            ("pub struct ", Self::Struct as fn(String) -> Self),
            ("pub enum ", Self::Enum),
            ("impl Default for ", Self::Default),
            ("fn ", Self::Function),
            ("const fn ", Self::Function),
        ] {
            if let Some(rest) = line.strip_prefix(start) {
                return make(name(rest));
            }
        }
        if line.is_empty() { before } else { Self::Nothing }
    }
}

/// A doc comment as a sentence of a table: links become names, and lines one line.
fn prose(lines: &[String]) -> String {
    let text = lines.join(" ").replace("[`", "`").replace("`]", "`");
    text.replace("super::", "").replace('|', "\\|")
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[test]
fn fields_variants_and_defaults_are_found() {
    let mut found = Declarations::default();
    found.read(
        "/// A.\npub struct A {\n    /// How\n    /// long.\n    #[serde(default)]\n    pub b: usize,\n}\n\n\
         impl Default for A {\n    fn default() -> Self {\n        Self { b: 2 * 3 }\n    }\n}\n\n\
         pub enum C {\n    /// Yes.\n    TheOne { x: u8 },\n}\n\nfn d() -> usize {\n    7\n}\n",
    );
    assert_eq!(found.structs["A"][0].help, "How long.");
    assert_eq!(found.structs["A"][0].attributes, "#[serde(default)]");
    assert_eq!(found.defaults["A.b"], "2 * 3");
    assert_eq!(found.enums["C"][0].name, "the_one");
    assert_eq!(found.functions["d"], "7");
}
