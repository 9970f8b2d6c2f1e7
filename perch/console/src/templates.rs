//! The templates of the pages, which are part of the program.

use minijinja::{Environment, UndefinedBehavior};

/// The templates, embedded.
const TEMPLATES: [(&str, &str); 10] = [
    ("base.html", include_str!("../templates/base.html")),
    ("parts.html", include_str!("../templates/parts.html")),
    ("overview.html", include_str!("../templates/overview.html")),
    ("labels.html", include_str!("../templates/labels.html")),
    ("ramp.html", include_str!("../templates/ramp.html")),
    ("model.html", include_str!("../templates/model.html")),
    ("audit.html", include_str!("../templates/audit.html")),
    ("login.html", include_str!("../templates/login.html")),
    ("set.html", include_str!("../templates/set.html")),
    ("message.html", include_str!("../templates/message.html")),
];

/// Parses the templates. An undefined name is an error, so that a template cannot diverge from its view unnoticed.
pub(super) fn all() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    Ok(environment)
}
