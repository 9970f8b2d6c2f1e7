//! Normalised text: what is the merchant in `POS DEBIT SQ *BLUE BOTTLE COFFEE, INC. #0123 OAKLAND CA`?
//!
//! Lower case, punctuation to spaces, apostrophes out; what the terminal or the bank put in front (`pos debit`,
//! `purchase authorized on 03/14`, `sq *`) off; words with a digit (store numbers, dates, references) off, but for a
//! first word such as the `7` of 7-Eleven; corporate suffixes and a state at the end off. The example becomes
//! `blue bottle coffee oakland`. A memo keeps all words but those with digits.
//!
//! The result sits in a fixed buffer of [`MOST_BYTES`]: nothing is allocated for ASCII, and no text, however long, costs more
//! than its first [`MOST_READ`] bytes.
//!
//! **Unicode.** Spellings that only a computer tells apart are one: text is read in compatibility composed form (NFKC: an
//! accent written apart, full-width letters, the no-break space), its case is folded, characters that show nothing
//! (zero-width spaces and joiners, soft hyphens, direction marks) are passed over, and every apostrophe is one. An accent
//! that is missing is another spelling: `cafe` is not `café`.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

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

/// Bytes of a word that are kept; the rest of a longer one is cut.
const MOST_WORD: usize = 32;

/// A word under way, in a buffer of its own.
struct Word {
    bytes: [u8; MOST_WORD],
    len: usize,
    /// A character did not fit: none that comes later does.
    full: bool,
}

impl Word {
    fn push(&mut self, letter: char) {
        let mut utf8 = [0; 4];
        let utf8 = letter.encode_utf8(&mut utf8).as_bytes();
        match self.bytes.get_mut(self.len..self.len + utf8.len()) {
            Some(slot) if !self.full => {
                slot.copy_from_slice(utf8);
                self.len += utf8.len();
            }
            _ => self.full = true,
        }
    }

    fn end(&mut self, each: &mut impl FnMut(&[u8])) {
        if self.len > 0 {
            each(self.bytes.get(..self.len).unwrap_or_default());
        }
        (self.len, self.full) = (0, false);
    }
}

fn for_each_word(raw: &str, mut each: impl FnMut(&[u8])) {
    let mut word = Word { bytes: [0; MOST_WORD], len: 0, full: false };
    let read = raw.char_indices().take_while(|(at, _)| *at < MOST_READ).map(|(_, letter)| letter);
    if raw.is_ascii() {
        read.for_each(|letter| word.take(letter.to_ascii_lowercase(), &mut each));
    } else {
        // By way of upper case, since some letters have two lower-case forms (the sigmas), or none of one letter (ß).
        // Apostrophes first: the form of one of them is a space with a mark.
        let folded = read.filter(|letter| !shows_nothing(*letter) && !is_apostrophe(*letter)).nfkc();
        let folded = folded.flat_map(char::to_uppercase).flat_map(char::to_lowercase);
        folded.nfc().filter(|letter| !shows_nothing(*letter)).for_each(|letter| word.take(letter, &mut each));
    }
    word.end(&mut each);
}

impl Word {
    /// Apostrophes are left out, letters, digits and marks on them go on with the word, everything else ends it.
    fn take(&mut self, letter: char, each: &mut impl FnMut(&[u8])) {
        if is_apostrophe(letter) {
            // One of them counts as a letter.
        } else if letter.is_alphanumeric() || self.len > 0 && is_combining_mark(letter) {
            self.push(letter);
        } else {
            self.end(each);
        }
    }
}

const fn is_apostrophe(letter: char) -> bool {
    matches!(letter, '\'' | '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2bc}' | '\u{2b9}' | '\u{2032}' | '`' | '\u{b4}')
}

/// Characters without a shape: soft hyphen, zero-width spaces and joiners, direction marks, variation selectors, the byte
/// order mark.
const fn shows_nothing(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
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

    /// Pairs that a person reads as one name.
    #[test]
    fn spellings_that_only_a_computer_tells_apart_are_one_merchant_case_a13() {
        for (one, other) in [
            ("CAF\u{c9} NOIR", "Caf\u{e9} Noir"),
            ("CAF\u{c9} NOIR", "Cafe\u{301} Noir"),
            ("CAF\u{c9} NOIR", "CAFE\u{301} NOIR"),
            ("BLUE\u{a0}BOTTLE", "BLUE BOTTLE"),
            ("BLUE\u{2009}BOTTLE", "BLUE BOTTLE"),
            ("BLUE\u{3000}BOTTLE", "blue bottle"),
            ("DUNKIN\u{2019} DONUTS", "DUNKIN' DONUTS"),
            ("\u{ff33}\u{ff34}\u{ff21}\u{ff32}\u{ff22}\u{ff35}\u{ff23}\u{ff2b}\u{ff33}", "STARBUCKS"),
            ("MOM\u{b4}S CAFE", "MOM'S CAFE"),
            ("MOM\u{2bc}S CAFE", "MOM'S CAFE"),
            ("ROCK \u{149} ROLL", "ROCK N ROLL"),
            ("STAR\u{200b}BUCKS", "STARBUCKS"),
            ("\u{feff}STAR\u{ad}BUCKS", "STARBUCKS"),
            ("STRA\u{df}E 7 CAFE", "STRASSE 7 CAFE"),
            ("\u{39f}\u{394}\u{39f}\u{3a3} ODOS", "\u{3bf}\u{3b4}\u{3bf}\u{3c2} odos"),
            (
                "\u{421}\u{411}\u{415}\u{420}\u{411}\u{410}\u{41d}\u{41a}",
                "\u{441}\u{431}\u{435}\u{440}\u{431}\u{430}\u{43d}\u{43a}",
            ),
            ("\u{fb01}sh \u{2116} market", "FISH NO MARKET"),
            ("CAF\u{c9}\u{2014}NOIR", "caf\u{e9} noir"),
        ] {
            let (a, b) = (Normalised::merchant(one), Normalised::merchant(other));
            assert!(a.key() == b.key() && a.as_bytes() == b.as_bytes(), "{one:?} {other:?}: {a:?} {b:?}");
            let (a, b) = (Normalised::memo(one), Normalised::memo(other));
            assert_eq!(a.as_bytes(), b.as_bytes(), "{one:?} {other:?}");
        }
        assert_ne!(Normalised::merchant("CAFE NOIR").key(), Normalised::merchant("CAF\u{c9} NOIR").key());
        // What the statement adds is found in any width.
        assert_eq!(merchant("\u{ff33}\u{ff31}\u{a0}*MOM\u{2019}S CAF\u{c9} #\u{ff11}\u{ff12}"), "moms caf\u{e9}");
        assert!(Normalised::merchant("\u{ff33}\u{ff31} *MOM").via(Via::Square));
    }

    #[test]
    fn a_word_is_cut_between_characters_case_a13() {
        let long = "\u{6771}".repeat(40);
        assert_eq!(merchant(&long), "\u{6771}".repeat(10));
        assert_eq!(merchant(&format!("{}\u{6771}x", "a".repeat(31))), "a".repeat(31), "nothing follows what was cut");
    }

    #[test]
    fn a_memo_keeps_its_words() {
        assert_eq!(Normalised::memo("Rent for unit 4, March").as_bytes(), b"rent for unit march");
    }

    proptest! {
        #[test]
        fn any_text_is_taken_and_bounded(raw in "\\PC{0,400}") {
            let normalised = Normalised::merchant(&raw);
            prop_assert!(std::str::from_utf8(normalised.as_bytes()).is_ok());
            prop_assert!(normalised.as_bytes().len() <= MOST_BYTES);
            let words = normalised.as_bytes().split(|b| *b == b' ').filter(|w| !w.is_empty()).count();
            prop_assert_eq!(words, normalised.words());
        }

        #[test]
        fn case_and_composition_make_no_difference_case_a13(raw in "[a-zA-Z\\u{c0}-\\u{17f}\\u{391}-\\u{3c9}\\u{410}-\\u{44f} ]{0,60}") {
            let of = |text: String| Normalised::merchant(&text).as_bytes().to_vec();
            let wanted = of(raw.clone());
            prop_assert_eq!(of(raw.to_uppercase()), wanted.clone());
            prop_assert_eq!(of(raw.nfd().collect()), wanted.clone());
            prop_assert_eq!(of(raw.to_uppercase().nfd().collect()), wanted);
        }
    }
}
