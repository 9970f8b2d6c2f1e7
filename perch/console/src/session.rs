//! An operator's session in a cookie, and the one-time tickets of its forms.
//!
//! Both are signed with the operator's token and stored nowhere, so they survive a restart of the guard, are valid at
//! every guard with the same token, and end when the token changes. A ticket is valid for one action: the audit log has
//! the key of each used one ([`guard_runtime::ledger::Entry::key`]), so a form that is sent twice is rejected, also
//! after a restart. A request from another site lacks the cookie (`SameSite=Strict`) and a ticket of this session.

use contract::token::Token;

use super::code::Code;

/// The cookie's name.
pub(super) const COOKIE: &str = "perch_session";
/// Duration of a session, in seconds.
pub(super) const LIFETIME: u64 = 12 * 3_600;
/// Longest name of an operator, in characters.
pub(super) const LONGEST_NAME: usize = 40;
const SESSION: &str = "session";
const TICKET: &str = "ticket";

/// A signed-in operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    /// The operator's name in the audit log.
    pub(super) name: String,
    id: String,
}

/// An unusable name of an operator.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name must have 1 to {LONGEST_NAME} printable characters")]
pub(super) struct InvalidName;

impl Session {
    /// The cookie's value of a new session for `name`, whose token the caller has checked.
    pub(super) fn open(token: &Token, name: &str, random: &str, now_ms: u64) -> Result<String, InvalidName> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err(InvalidName);
        }
        let until = (now_ms / 1_000 + LIFETIME).to_string();
        let name: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        let code = Code::of(token, SESSION, &[&until, random, &name]).hex();
        Ok(format!("{until}.{random}.{name}.{code}"))
    }

    /// The session of a cookie's value; `None` if it has expired or is not signed with the token.
    pub(super) fn of(token: &Token, cookie: &str, now_ms: u64) -> Option<Self> {
        let mut parts = cookie.splitn(4, '.');
        let (until, random, name, code) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if !Code::of(token, SESSION, &[until, random, name]).verify(code)
            || until.parse::<u64>().ok()? <= now_ms / 1_000
        {
            return None;
        }
        let byte = |at: usize| u8::from_str_radix(name.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..name.len()).step_by(2).map(byte).collect();
        Some(Self { name: String::from_utf8(bytes?).ok()?, id: random.to_owned() })
    }

    /// A ticket for one form of this session.
    pub(super) fn ticket(&self, token: &Token, random: &str) -> String {
        format!("{random}.{}", Code::of(token, TICKET, &[&self.id, random]).hex())
    }

    /// The key of `ticket` in the audit log; `None` if the ticket is not of this session.
    pub(super) fn key(&self, token: &Token, ticket: &str) -> Option<String> {
        let (random, code) = ticket.split_once('.')?;
        Code::of(token, TICKET, &[&self.id, random]).verify(code).then(|| format!("console {random}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token::new("0123456789abcdef").unwrap()
    }

    #[test]
    fn a_session_names_its_operator_until_it_expires() {
        let cookie = Session::open(&token(), " Ada Łovelace ", "r1", 5_000).unwrap();
        let session = Session::of(&token(), &cookie, 6_000).unwrap();
        assert_eq!(session.name, "Ada Łovelace");
        assert_eq!(Session::of(&token(), &cookie, 5_000 + LIFETIME * 1_000), None);
        assert_eq!(Session::of(&Token::new("another-token-16").unwrap(), &cookie, 6_000), None);
    }

    #[test]
    fn a_changed_cookie_is_not_a_session() {
        let cookie = Session::open(&token(), "ada", "r1", 5_000).unwrap();
        let parts: Vec<&str> = cookie.split('.').collect();
        let forged = [
            format!("9999999999.{}.{}.{}", parts[1], parts[2], parts[3]),
            format!("{}.r2.{}.{}", parts[0], parts[2], parts[3]),
            format!("{}.{}.626f62.{}", parts[0], parts[1], parts[3]),
            String::new(),
            "...".to_owned(),
        ];
        for cookie in forged {
            assert_eq!(Session::of(&token(), &cookie, 6_000), None, "{cookie}");
        }
    }

    #[test]
    fn a_ticket_is_valid_in_one_session() {
        let session = |random| {
            let cookie = Session::open(&token(), "ada", random, 0).unwrap();
            Session::of(&token(), &cookie, 1).unwrap()
        };
        let (one, other) = (session("r1"), session("r2"));
        let ticket = one.ticket(&token(), "t1");
        assert_eq!(one.key(&token(), &ticket).as_deref(), Some("console t1"));
        assert_eq!(other.key(&token(), &ticket), None);
        assert_eq!(one.key(&token(), &ticket.replace("t1", "t2")), None);
    }

    #[test]
    fn a_name_is_printable() {
        for wrong in ["", "  ", "a\nb", &"x".repeat(41)] {
            assert_eq!(Session::open(&token(), wrong, "r", 0), Err(InvalidName));
        }
    }
}
