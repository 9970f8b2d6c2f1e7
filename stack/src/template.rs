//! Filling in a configuration template of the repository.
//!
//! Undefined names are errors, so a template and its values cannot drift apart quietly. Every value is written as JSON
//! (minijinja does so for a `.yaml` or `.yml` template), which YAML reads as it stands: no value can break out of its
//! place.

use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value};

use crate::error::Error;

/// Fills in the template at `path`.
///
/// # Errors
/// When it cannot be read, or uses a name that is not there.
pub(crate) fn render(path: &Path, values: Value) -> Result<String, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::io(format!("reading {}", path.display())))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let fault = |error: minijinja::Error| Error::Render { template: path.to_path_buf(), source: Box::new(error) };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(fault)?;
    environment.set_syntax(syntax);
    let mut rendered = environment.render_named_str(&name, &text, values).map_err(fault)?;
    rendered.push('\n');
    Ok(rendered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;

    fn filled(text: &str, values: Value) -> Result<String, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.yaml.j2");
        std::fs::write(&path, text).unwrap();
        render(&path, values)
    }

    #[test]
    fn a_value_cannot_break_out_of_its_place() {
        let text = filled("a: {{ a }}", context! { a => "x\"\nb: 1" }).unwrap();
        assert_eq!(text, "a: \"x\\\"\\nb: 1\"\n");
    }

    #[test]
    fn a_name_that_is_not_there_is_an_error_with_the_template_in_it() {
        let error = filled("a: {{ b }}", context! {}).unwrap_err().to_string();
        assert!(error.contains("x.yaml.j2"), "{error}");
    }
}
