//! Normalised text: what is the merchant in `POS DEBIT SQ *BLUE BOTTLE COFFEE, INC. #0123 OAKLAND CA`?
//!
//! Lower case, punctuation to spaces, apostrophes out; what the terminal or the bank put in front (`pos debit`,
//! `purchase authorized on 03/14`, `sq *`) off; words with a digit (store numbers, dates, references) off, but for a
//! first word such as the `7` of 7-Eleven; corporate suffixes and a state at the end off. The example becomes
//! `blue bottle coffee oakland`. A memo keeps all words but those with digits.
//!
//! The result sits in a fixed buffer of [`MOST_BYTES`]: nothing is allocated, and no text, however long, costs more
//! than its first [`MOST_READ`] bytes. Letters beyond ASCII keep their bytes.

/// Bytes of normalised text that are kept.
pub const MOST_BYTES: usize = 96;
/// Bytes of raw text that are read.
pub const MOST_READ: usize = 256;

/// A payment processor that the statement names in front of the merchant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// `SQ *`: small merchants.
    Square,
    /// `TST*`: restaurants.
    Toast,
    /// `PAYPAL *`.
    Paypal,
}

/// Put in front by a bank or terminal: says how it was paid, not to whom.
const IN_FRONT: [&[u8]; 13] = [
    b"pos",
    b"debit",
    b"purchase",
    b"authorized",
    b"on",
    b"checkcard",
    b"recurring",
    b"dbt",
    b"crd",
    b"pending",
    b"pmt",
    b"withdrawal",
    b"visa",
];
const SUFFIXES: [&[u8]; 12] =
    [b"inc", b"llc", b"ltd", b"corp", b"co", b"company", b"corporation", b"limited", b"gmbh", b"plc", b"pty", b"com"];
const STATES: &[u8] =
    b"al ak az ar ca co ct de fl ga hi id il in ia ks ky la me md ma mi mn ms mo mt ne nv nh nj nm ny \
nc nd oh ok or pa ri sc sd tn tx ut vt va wa wv wi wy dc us";

/// Normalised text in a buffer of its own.
#[derive(Clone)]
pub struct Normalised {
    bytes: [u8; MOST_BYTES],
    len: usize,
    words: usize,
    via: Option<Via>,
}

impl Normalised {
    /// The merchant of a statement's line.
    #[must_use]
    pub fn merchant(raw: &str) -> Self {
        let mut out = Self::empty();
        let (mut in_front, mut after_on) = (true, false);
        for_each_word(raw, |word| {
            if in_front {
                if let Some(via) = via(word) {
                    out.via = Some(via);
                    return;
                }
                let number = word.iter().all(u8::is_ascii_digit);
                if is(word, &IN_FRONT) || number && (after_on || word.len() > 2) {
                    after_on = word == b"on" || number && after_on;
                    return;
                }
                in_front = false;
            } else if has_digit(word) || is(word, &SUFFIXES) {
                return;
            }
            out.push(word);
        });
        out.drop_state();
        out
    }

    /// A memo: its words without those that carry digits.
    #[must_use]
    pub fn memo(raw: &str) -> Self {
        let mut out = Self::empty();
        for_each_word(raw, |word| {
            if !has_digit(word) {
                out.push(word);
            }
        });
        out
    }

    const fn empty() -> Self {
        Self { bytes: [0; MOST_BYTES], len: 0, words: 0, via: None }
    }

    /// Words with one space between.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Was the payment made through `via`?
    #[must_use]
    pub fn via(&self, via: Via) -> bool {
        self.via == Some(via)
    }

    /// The first two words: what makes two spellings one merchant.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        let text = self.as_bytes();
        let end = text.iter().enumerate().filter(|(_, byte)| **byte == b' ').nth(1).map_or(text.len(), |(at, _)| at);
        text.get(..end).unwrap_or_default()
    }

    pub(super) const fn words(&self) -> usize {
        self.words
    }

    fn push(&mut self, word: &[u8]) {
        let gap = usize::from(self.len > 0);
        let Some(room) = self.bytes.get_mut(self.len..) else { return };
        let Some(slot) = room.get_mut(gap..gap + word.len()) else { return };
        slot.copy_from_slice(word);
        if gap == 1
            && let Some(first) = room.first_mut()
        {
            *first = b' ';
        }
        self.len += gap + word.len();
        self.words += 1;
    }

    /// Takes a state off the end, unless nothing would be left.
    fn drop_state(&mut self) {
        let text = self.as_bytes();
        let Some(last) = text.iter().rposition(|byte| *byte == b' ') else { return };
        let word = text.get(last + 1..).unwrap_or_default();
        if word.len() == 2 && STATES.split(|byte| *byte == b' ').any(|state| state == word) {
            self.len = last;
            self.words -= 1;
        }
    }
}

impl std::fmt::Debug for Normalised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}

/// Does `text` have `token` as a word? Words end at anything that is no letter and no digit.
#[must_use]
pub fn has_token(text: &str, token: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word.eq_ignore_ascii_case(token))
}

/// Longest word that is kept whole; the rest of a longer one is cut.
const MOST_WORD: usize = 32;

fn for_each_word(raw: &str, mut each: impl FnMut(&[u8])) {
    let mut word = [0_u8; MOST_WORD];
    let mut len = 0;
    for byte in raw.bytes().take(MOST_READ) {
        if byte.is_ascii_alphanumeric() || !byte.is_ascii() {
            if let Some(slot) = word.get_mut(len) {
                *slot = byte.to_ascii_lowercase();
                len += 1;
            }
        } else if byte != b'\'' && len > 0 {
            each(word.get(..len).unwrap_or_default());
            len = 0;
        }
    }
    if len > 0 {
        each(word.get(..len).unwrap_or_default());
    }
}

fn via(word: &[u8]) -> Option<Via> {
    match word {
        b"sq" => Some(Via::Square),
        b"tst" => Some(Via::Toast),
        b"paypal" | b"pp" => Some(Via::Paypal),
        _ => None,
    }
}

fn is(word: &[u8], set: &[&[u8]]) -> bool {
    set.contains(&word)
}

fn has_digit(word: &[u8]) -> bool {
    word.iter().any(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn merchant(raw: &str) -> String {
        String::from_utf8(Normalised::merchant(raw).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn what_the_terminal_added_goes_and_the_name_stays() {
        assert_eq!(merchant("POS DEBIT SQ *BLUE BOTTLE COFFEE, INC. #0123 OAKLAND CA"), "blue bottle coffee oakland");
        assert_eq!(merchant("PURCHASE AUTHORIZED ON 03/14 COSTCO WHSE #0123 SEATTLE WA"), "costco whse seattle");
        assert_eq!(merchant("TST* THE CAPITAL GRILLE - 12"), "the capital grille");
        assert_eq!(merchant("Dunkin' #339912"), "dunkin");
        assert_eq!(merchant("7-ELEVEN 33312 AUSTIN TX"), "7 eleven austin");
        assert_eq!(merchant("Kroger Co."), "kroger");
        assert_eq!(merchant("5GUYS 1020 TULSA OK"), "5guys tulsa");
        assert_eq!(merchant("00042 RECURRING HULU"), "hulu");
    }

    #[test]
    fn the_processor_is_kept_as_a_fact() {
        assert!(Normalised::merchant("SQ *MOM'S CAFE").via(Via::Square));
        assert!(Normalised::merchant("TST* BRASSERIE").via(Via::Toast));
        assert!(Normalised::merchant("PAYPAL *SPOTIFY").via(Via::Paypal));
        assert_eq!(merchant("PAYPAL *SPOTIFY"), "spotify");
        assert!(!Normalised::merchant("BISTRO SQ").via(Via::Square), "only in front");
    }

    #[test]
    fn two_words_make_the_merchant() {
        assert_eq!(Normalised::merchant("WHOLE FOODS MKT 10226 AUSTIN").key(), b"whole foods");
        assert_eq!(Normalised::merchant("IKEA").key(), b"ikea");
        assert_eq!(Normalised::merchant("").key(), b"");
    }

    #[test]
    fn a_memo_keeps_its_words() {
        assert_eq!(Normalised::memo("Rent for unit 4, March").as_bytes(), b"rent for unit march");
    }

    proptest! {
        #[test]
        fn any_text_is_taken_and_bounded(raw in "\\PC{0,400}") {
            let normalised = Normalised::merchant(&raw);
            prop_assert!(normalised.as_bytes().len() <= MOST_BYTES);
            let words = normalised.as_bytes().split(|b| *b == b' ').filter(|w| !w.is_empty()).count();
            prop_assert_eq!(words, normalised.words());
        }
    }
}
