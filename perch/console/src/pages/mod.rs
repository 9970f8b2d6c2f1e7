//! The pages. Each has a template in `templates/` and a view here with everything ready to be shown: templates neither
//! format numbers nor count.

pub(super) mod audit;
pub(super) mod labels;
pub(super) mod model;
pub(super) mod overview;
pub(super) mod ramp;
mod status;

use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use clients::error_chain;
use guard_runtime::clock::now_ms;
use minijinja::value::Serde;
use serde::Serialize;

use super::session::Session;
use super::{Console, access, clock};

/// A short, highlighted text.
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

/// A period that a page can show.
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
    /// The window of this name, or else the default one.
    pub(super) fn named(name: Option<&str>, default: &str) -> Self {
        let find = |name: &str| WINDOWS.into_iter().find(|window| window.name == name);
        name.and_then(find).or_else(|| find(default)).unwrap_or(WINDOWS[0])
    }

    pub(super) fn names() -> [&'static str; 5] {
        WINDOWS.map(|window| window.name)
    }
}

#[derive(Serialize)]
struct Page<V> {
    title: &'static str,
    operator: Option<SignedIn>,
    can_sign_in: bool,
    now: String,
    #[serde(flatten)]
    view: V,
}

#[derive(Serialize)]
struct SignedIn {
    name: String,
    ticket: String,
}

/// A page that cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    /// The guard's status cannot be read.
    #[error("reading the guard's status")]
    Folder(#[from] guard_runtime::status::GuardStatusError),
    /// The audit log cannot be read.
    #[error("reading the audit log")]
    AuditLog(#[from] guard_runtime::audit_log::AuditLogError),
    /// The kernel provides no random number.
    #[error("drawing a random number for a session or a form")]
    Random(#[from] std::io::Error),
    /// A template fails.
    #[error("rendering the page")]
    Template(#[from] minijinja::Error),
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{}\n", error_chain(&self))).into_response()
    }
}

impl Console {
    /// Renders a page for a caller.
    pub(super) fn page<V: Serialize>(
        &self,
        headers: &HeaderMap,
        template: &'static str,
        title: &'static str,
        view: V,
    ) -> Result<Html<String>, PageError> {
        let operator = match access::operator(self, headers) {
            Some(session) => Some(SignedIn { ticket: self.ticket(&session)?, name: session.name }),
            None => None,
        };
        let can_sign_in = self.0.settings.operator_token.is_some();
        let now = clock::stamp(now_ms());
        let page = Page { title, operator, can_sign_in, now, view };
        Ok(Html(self.0.templates.get_template(template)?.render(Serde(page))?))
    }

    /// A fresh ticket for a form of this session.
    pub(super) fn ticket(&self, session: &Session) -> Result<String, PageError> {
        let random = clients::random_hex()?;
        let token = self.0.settings.operator_token.as_ref();
        Ok(token.map(|token| session.ticket(token, &random)).unwrap_or_default())
    }

    /// A page with one message.
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
