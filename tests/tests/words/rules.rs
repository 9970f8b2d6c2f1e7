//! The left-hand words of the glossary's third column, each with the word to use instead, and where it is looked for.

/// Words that are not used any more.
pub(crate) struct Rule {
    /// As the glossary's column `instead of` has it; empty for what the rules below its table say.
    pub(crate) glossary: &'static [&'static str],
    /// What to write.
    pub(crate) instead: &'static str,
    /// Words of any name, in a row: `turned_away` is in `is_turned_away` and `TurnedAway`. With `=` in front the name
    /// is that word and no other.
    pub(crate) names: &'static [&'static str],
    /// As `names`, but only of types, modules, ordinary functions and files where they are declared.
    pub(crate) declared: &'static [&'static str],
    /// Whole words or phrases of text: literals, comments, documents.
    pub(crate) text: &'static [&'static str],
}

const NONE: Rule = Rule { glossary: &[], instead: "", names: &[], declared: &[], text: &[] };

/// Phrases are in small letters.
pub(crate) const RULES: &[Rule] = &[
    Rule {
        glossary: &["the rules' answer", "the road"],
        instead: "baseline, baseline response",
        names: &["rules_answer", "rules_answers", "road"],
        text: &["rules' answer", "rules' answers", "rules' response", "the rules answer", "on the rules", "the road"],
        ..NONE
    },
    Rule {
        glossary: &["the model's side", "the detour"],
        instead: "candidate, candidate response",
        names: &["detour", "model_side"],
        text: &["model's side", "detour"],
        ..NONE
    },
    Rule {
        glossary: &["side"],
        instead: "arm (or what it is a side of: response, endpoint)",
        declared: &["side", "sides"],
        text: &["rules' side", "which side", "other side's", "changed side", "changes side"],
        ..NONE
    },
    Rule {
        glossary: &["keeps their side"],
        instead: "sticky; keeps the arm",
        text: &["their side", "keeps its side"],
        ..NONE
    },
    Rule {
        glossary: &["dealt", "dealt anew", "who is in"],
        instead: "in the canary share; re-bucketed",
        names: &["dealt", "undealt"],
        text: &["dealt", "does not deal", "deals all users", "who is in"],
        ..NONE
    },
    Rule { glossary: &["what was seen"], instead: "observation", text: &["what was seen"], ..NONE },
    Rule {
        glossary: &["verdict"],
        instead: "comparison (of an item), batch result, decision (of the guard)",
        names: &["verdict", "verdicts"],
        text: &["verdict", "verdicts"],
        ..NONE
    },
    Rule {
        glossary: &["look"],
        instead: "evaluation",
        declared: &["look", "looks", "looked"],
        text: &["a look", "each look", "every look", "one look", "last look", "next look", "at a look"],
        ..NONE
    },
    Rule {
        glossary: &["word", "the last human word"],
        instead: "decision; audit log entry; manual override",
        names: &["human_word", "last_word"],
        text: &["human word", "last word", "last human word", "operator's word", "guard's word"],
        ..NONE
    },
    Rule { glossary: &["orders"], instead: "rollout plan; command", names: &["orders"], text: &["orders to"], ..NONE },
    Rule { glossary: &["hand"], instead: "manual override", declared: &["hand", "hands"], ..NONE },
    Rule {
        glossary: &["ledger", "story"],
        instead: "audit log",
        names: &["ledger", "ledgers", "story"],
        text: &["ledger", "story"],
        ..NONE
    },
    Rule {
        glossary: &["mend"],
        instead: "fix",
        names: &["mend", "mends", "mended"],
        text: &["mend", "mends", "mended", "mending"],
        ..NONE
    },
    Rule {
        glossary: &["contest"],
        instead: "champion and challenger",
        names: &["contest"],
        text: &["contest", "contests"],
        ..NONE
    },
    Rule {
        glossary: &["turned away"],
        instead: "shed",
        names: &["turned_away", "turn_away"],
        text: &["turned away", "turns away"],
        ..NONE
    },
    Rule {
        glossary: &["answer"],
        instead: "response",
        declared: &["answer", "answers", "answered", "answering"],
        text: &["http answer", "http answers"],
        ..NONE
    },
    Rule {
        glossary: &["ask", "question"],
        instead: "request, call, query",
        declared: &["ask", "asks", "asked", "asking", "question", "questions"],
        ..NONE
    },
    Rule {
        glossary: &["always", "however often one looks"],
        instead: "confidence sequence; JSON field `anytime_ci`",
        names: &["=always", "always_low", "always_high"],
        text: &["however often one looks", "however often it is looked at"],
        ..NONE
    },
    Rule {
        glossary: &["played", "moody", "drill", "town"],
        instead: "fake host, scripted upstream, fault injection, fake cluster",
        names: &["played", "moody", "drill", "drilled", "drills", "town"],
        text: &["played", "moody", "drill", "drills", "town"],
        ..NONE
    },
    // How sentences are written: types are nouns, and names say what a thing is.
    Rule {
        instead: "a noun that says what it is",
        declared: &["told", "said", "seen", "held", "kept", "begun", "judged", "spoken", "sought", "=taken", "=fed"],
        ..NONE
    },
    Rule {
        instead: "the field's own word",
        names: &["courtesy", "be_nice", "anew", "punctual", "step_back", "step_forward", "in_vain"],
        declared: &["crowd"],
        text: &["courtesy", "foretells", "foretold"],
        ..NONE
    },
    Rule {
        instead: "nothing: only docs/names.md says where names come from (random seeds and seed data are fine)",
        names: &["seeds"],
        text: &["replaced system", "replaced system's", "the seed's", "seed's"],
        ..NONE
    },
];

/// Entries of the glossary's column that no rule looks for, and why.
pub(crate) const NOT_MATCHED: &[(&str, &str)] = &[
    ("rules", "Prometheus has rules too, and the demo application's program is called `rules-backend`"),
    ("True/False/None", "values of `lm_suggest_compare_total`, which docs/names.md keeps"),
    ("ramp", "the name of the command `perch ramp`"),
    ("gate", "the right word for a step's gate"),
];

/// Where a word stays.
pub(crate) struct Exception {
    /// The beginning of the paths.
    pub(crate) path: &'static str,
    /// A word or phrase of a rule; empty: all of them.
    pub(crate) word: &'static str,
    pub(crate) reason: &'static str,
}

pub(crate) const EXCEPTIONS: &[Exception] = &[
    Exception { path: "docs/glossary.md", word: "", reason: "it lists them" },
    Exception { path: "tests/tests/words/", word: "", reason: "it lists them" },
    Exception { path: "tests/tests/documents.rs", word: "replaced system", reason: "it looks for these words" },
    Exception {
        path: "shadow-scorer/store/migrations/0004_feedback.sql",
        word: "last word",
        reason: "a migration that ran somewhere is not edited: its checksum is stored with it",
    },
    Exception { path: "CHANGELOG.md", word: "", reason: "it says what was renamed" },
];
