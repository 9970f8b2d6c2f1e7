//! The pages. Each has a template in `templates/` and a view here that gives it everything ready to be shown: templates
//! choose no words for figures and count nothing.

pub(super) mod audit;
pub(super) mod labels;
pub(super) mod model;
pub(super) mod overview;
pub(super) mod ramp;
mod standing;

use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use super::session::Session;
use super::{Console, ConsoleError, access, clock};
use crate::guard::clock::now_ms;
use crate::guard::error_chain;

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

/// The templates, read. A name that is not there is an error, so that a template and its view cannot drift apart quietly.
pub(super) fn templates() -> Result<Environment<'static>, ConsoleError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    Ok(environment)
}

/// Something short that stands out.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Chip {
    /// `good`, `warn`, `bad`, or empty.
    pub(super) tone: &'static str,
    /// A word or two.
    pub(super) text: String,
}

impl Chip {
    pub(super) fn new(tone: &'static str, text: impl Into<String>) -> Self {
        Self { tone, text: text.into() }
    }
}

/// A length of time that a page can look back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) name: &'static str,
    pub(super) seconds: u64,
}

pub(super) const WINDOWS: [Window; 5] = [
    Window { name: "1h", seconds: 3_600 },
    Window { name: "6h", seconds: 6 * 3_600 },
    Window { name: "24h", seconds: 86_400 },
    Window { name: "7d", seconds: 7 * 86_400 },
    Window { name: "30d", seconds: 30 * 86_400 },
];

impl Window {
    /// The window of this name, else the one that is usual.
    pub(super) fn named(name: Option<&str>, usual: &str) -> Self {
        let find = |name: &str| WINDOWS.into_iter().find(|window| window.name == name);
        name.and_then(find).or_else(|| find(usual)).unwrap_or(WINDOWS[0])
    }

    pub(super) fn names() -> [&'static str; 5] {
        WINDOWS.map(|window| window.name)
    }
}

#[derive(Serialize)]
struct Page<V> {
    title: &'static str,
    operator: Option<Signed>,
    can_sign_in: bool,
    now: String,
    #[serde(flatten)]
    view: V,
}

#[derive(Serialize)]
struct Signed {
    name: String,
    ticket: String,
}

/// What a page could not be made of.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    /// The guard's folder.
    #[error("the guard's folder")]
    Folder(#[from] crate::guard::status::GuardStatusError),
    /// The ledger.
    #[error("the audit log")]
    AuditLog(#[from] crate::guard::audit_log::AuditLogError),
    /// The kernel gives no random number.
    #[error("no random number")]
    Random(#[from] stack::Error),
    /// A template.
    #[error("a page that cannot be shown")]
    Template(#[from] minijinja::Error),
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{}\n", error_chain(&self))).into_response()
    }
}

impl Console {
    /// A page, for whoever calls.
    pub(super) fn page<V: Serialize>(
        &self,
        headers: &HeaderMap,
        template: &'static str,
        title: &'static str,
        view: V,
    ) -> Result<Html<String>, PageError> {
        let operator = match access::operator(self, headers) {
            Some(session) => Some(Signed { ticket: self.ticket(&session)?, name: session.name }),
            None => None,
        };
        let can_sign_in = self.0.settings.operator_token.is_some();
        let now = clock::stamp(now_ms());
        let page = Page { title, operator, can_sign_in, now, view };
        Ok(Html(self.0.templates.get_template(template)?.render(Serde(page))?))
    }

    /// A fresh ticket for a form of this session.
    pub(super) fn ticket(&self, session: &Session) -> Result<String, PageError> {
        let random = stack::secret::random_hex()?;
        let token = self.0.settings.operator_token.as_ref();
        Ok(token.map(|token| session.ticket(token, &random)).unwrap_or_default())
    }

    /// A page that says one thing.
    pub(super) fn message(&self, headers: &HeaderMap, status: StatusCode, title: &'static str, text: &str) -> Response {
        #[derive(Serialize)]
        struct Message<'a> {
            text: &'a str,
        }
        match self.page(headers, "message.html", title, Message { text }) {
            Ok(page) => (status, page).into_response(),
            Err(error) => error.into_response(),
        }
    }
}
