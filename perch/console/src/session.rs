//! Who is at the console: a session in a cookie, and tickets for its forms.
//!
//! Both are signed with the operator's token and kept nowhere, so they outlast a restart of the guard, hold at every
//! guard that has the same token, and end when the token is changed. A ticket is good for one action: the ledger keeps
//! the key of each that was used ([`crate::guard::audit_log::Entry::idempotency_key`]), so a form that is sent again is refused, also
//! after a restart. What another site sends lacks the cookie (`SameSite=Strict`) and a ticket of this session.

use contract::token::Token;

use super::code::Code;

/// The cookie's name.
pub(super) const COOKIE: &str = "perch_session";
/// How long a session lasts, in seconds.
pub(super) const LIFETIME: u64 = 12 * 3_600;
/// Longest name of an operator, in characters.
pub(super) const LONGEST_NAME: usize = 40;
const SESSION: &str = "session";
const TICKET: &str = "ticket";

/// An operator who has shown the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    /// As the operator wants to be called in the ledger.
    pub(super) name: String,
    id: String,
}

/// A name that nobody can be called by in the ledger.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to {LONGEST_NAME} characters, all of which can be seen")]
pub(super) struct NoName;

impl Session {
    /// A session for the operator called `name`, whose token was checked, and its cookie's value.
    pub(super) fn open(token: &Token, name: &str, random: &str, now_ms: u64) -> Result<String, NoName> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err(NoName);
        }
        let until = (now_ms / 1_000 + LIFETIME).to_string();
        let name: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        let code = Code::of(token, SESSION, &[&until, random, &name]).hex();
        Ok(format!("{until}.{random}.{name}.{code}"))
    }

    /// The session of a cookie's value; `None` when it is over, or was not made here.
    pub(super) fn of(token: &Token, cookie: &str, now_ms: u64) -> Option<Self> {
        let mut parts = cookie.splitn(4, '.');
        let (until, random, name, code) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if !Code::of(token, SESSION, &[until, random, name]).is(code) || until.parse::<u64>().ok()? <= now_ms / 1_000 {
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

    /// The key under which the ledger keeps the use of `ticket`; `None` when it is not one of this session.
    pub(super) fn key(&self, token: &Token, ticket: &str) -> Option<String> {
        let (random, code) = ticket.split_once('.')?;
        Code::of(token, TICKET, &[&self.id, random]).is(code).then(|| format!("console {random}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token::new("0123456789abcdef").unwrap()
    }

    #[test]
    fn a_session_is_its_operators_until_it_is_over() {
        let cookie = Session::open(&token(), " Ada Łovelace ", "r1", 5_000).unwrap();
        let session = Session::of(&token(), &cookie, 6_000).unwrap();
        assert_eq!(session.name, "Ada Łovelace");
        assert_eq!(Session::of(&token(), &cookie, 5_000 + LIFETIME * 1_000), None);
        assert_eq!(Session::of(&Token::new("another-token-16").unwrap(), &cookie, 6_000), None);
    }

    #[test]
    fn nothing_in_a_cookie_can_be_changed() {
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
    fn a_ticket_is_of_one_session() {
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
    fn a_name_can_be_seen() {
        for wrong in ["", "  ", "a\nb", &"x".repeat(41)] {
            assert_eq!(Session::open(&token(), wrong, "r", 0), Err(NoName));
        }
    }
}
