//! Metric names and the closed sets of their label values.
//!
//! A name here is Envoy's stat name up to its first label; a counter with labels is called
//! `NAME.label.value[.label.value…]` inside Envoy, and a stats tag turns it into `NAME{label="value"}`.
//! The `lm_` names are those of the system that Perch replaced: dashboards rely on them, letter by letter.

/// Agreement of the two sides, per transaction item: label `agree` is `True`, `False` or `None`.
pub const COMPARE: &str = "lm_suggest_compare_total";
/// Who answered the client, per answer: label `source` is `rule` or `model`.
pub const SOURCE: &str = "lm_suggest_source_total";
/// Was there a model to ask, per request on which the model was asked: label `available` is `True` or `False`.
pub const PREDICT_REQUESTS: &str = "lm_ml_predict_requests_total";
/// Canary requests that the rules answered: label `reason` is a [`FallbackReason`].
pub const FALLBACK: &str = "lm_ml_fallback_total";

/// Callbacks of the filter that failed without harm: their requests got the rules' answer, and their worker's filter began
/// anew. The WebAssembly module has none: what fails there is a trap, which Envoy counts as a reload of the VM.
pub const FAILURES: &str = "perch_filter_failures_total";

/// Every intercepted request, once. Equals the sum of [`OBSERVATION`] once nothing is in flight.
pub const INTERCEPTED: &str = "perch_intercepted_total";
/// What became of each intercepted request as an observation: label `outcome` is an [`Outcome`].
pub const OBSERVATION: &str = "perch_observation_total";
/// Why items count as `agree="None"`: label `reason` is a [`NotCompared`].
pub const NOT_COMPARED: &str = "perch_not_compared_total";
/// Agreement by the served label: labels `label` (closed set from the configuration, else `other`) and `agree`.
pub const LABEL_COMPARE: &str = "perch_label_compare_total";
/// Where the user's identity came from: label `source` is `header`, `cookie`, `jwt`, `body` or `none`.
pub const IDENTITY: &str = "perch_identity_total";
/// Observation batches by result: label `result` is `sent`, `answered` or `failed`.
pub const BATCH: &str = "perch_batch_total";

/// What `label` becomes when it is not in the configured set.
pub const OTHER_LABEL: &str = "other";

/// The spending labels of the reference application: its rules, its demo transactions and its first model know these,
/// and they are the default of the configured set. The order is that of a model's history features: append only.
pub const SPENDING_LABELS: [&str; 21] = [
    "groceries",
    "restaurants",
    "coffee",
    "shopping",
    "transportation",
    "transportation.fuel",
    "transportation.auto",
    "travel",
    "entertainment",
    "home",
    "housing",
    "utilities",
    "health",
    "health.insurance",
    "personal.care",
    "education",
    "pets",
    "fees",
    "transfers",
    "income",
    "cash",
];

/// What the native module's filter is called in Envoy's configuration, and its listener to the admin interface.
pub const NATIVE_FILTER: &str = "perch";
/// See [`NATIVE_FILTER`].
pub const NATIVE_SWITCH: &str = "perch_switch";

/// The label by which the reference application's rules say nothing.
pub const UNKNOWN_LABEL: &str = "unknown";

macro_rules! label_values {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$vmeta])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value, so that each counter exists, at 0, from the first scrape.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The label value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

label_values! {
    /// Did the two sides give an item the same label?
    Agree {
        /// Both sides have an opinion and it is the same.
        True => "True",
        /// Both sides have an opinion and they differ.
        False => "False",
        /// At least one side has none; see [`NotCompared`].
        None => "None",
    }
}

label_values! {
    /// Which response a client was given.
    Arm {
        /// The application's own.
        Baseline => "baseline",
        /// The model's under trial.
        Candidate => "candidate",
    }
}

label_values! {
    /// [`Arm`] in the words of [`SOURCE`] and of the reference application's responses.
    Source {
        /// The application's own response.
        Rule => "rule",
        /// The candidate's.
        Model => "model",
    }
}

impl From<Arm> for Source {
    fn from(arm: Arm) -> Self {
        match arm {
            Arm::Baseline => Self::Rule,
            Arm::Candidate => Self::Model,
        }
    }
}

label_values! {
    /// A group of users that the share does not deal.
    Cohort {
        /// None: the share decides.
        Ordinary => "none",
        /// Has a share of its own.
        Beta => "beta",
        /// Never leaves the rules.
        OptOut => "opt_out",
    }
}

label_values! {
    /// Why the rules answered a canary request.
    FallbackReason {
        /// No connection to the scorer, or no healthy one.
        Refused => "refused",
        /// The scorer's connection broke before its answer was whole.
        Reset => "reset",
        /// No whole answer within the deadline, or the client's own body did not come in the time it may be held.
        Deadline => "deadline",
        /// Too many live requests under way (Envoy's circuit breaker, the scorer sheds, or the worker has no room to hold
        /// another body).
        Overloaded => "overloaded",
        /// The scorer answered that it has no model to serve, or that its store did not answer in time.
        Unavailable => "unavailable",
        /// The scorer answered another status than 200.
        Status => "status",
        /// 200, but the body is not JSON.
        NotJson => "not_json",
        /// 200 and JSON, but without items.
        NoItems => "no_items",
        /// 200 and JSON, but an item, id or label is of the wrong type.
        WrongType => "wrong_type",
        /// The scorer's answer is over the limit.
        TooLarge => "too_large",
        /// The client's request is over the limit and was not held.
        RequestTooLarge => "request_too_large",
    }
}

label_values! {
    /// Why the scorer answers 503, in [`crate::headers::UNAVAILABLE`].
    Unavailable {
        /// No model is loaded.
        NoModel => "no_model",
        /// The store did not give the transactions within the deadline.
        Store => "store",
        /// Too much under way: the scorer sheds.
        Overloaded => "overloaded",
        /// The program's role leaves this out, e.g. live answers from `--role observe`.
        Role => "role",
    }
}

label_values! {
    /// What became of an intercepted request as an observation.
    Outcome {
        /// Handed to a batch.
        Observed => "observed",
        /// Dropped: the worker's buffer, or what it has under way, is at its limit.
        DroppedBufferFull => "dropped_buffer_full",
        /// Dropped: the request's or the answer's body is over the limit.
        DroppedBodyLimit => "dropped_body_limit",
        /// Dropped: the stream ended before its request and its answer had passed whole.
        DroppedIncomplete => "dropped_incomplete",
        /// Skipped: the method is not the intercepted one.
        SkippedMethod => "skipped_method",
        /// Skipped: the path is not the intercepted one.
        SkippedPath => "skipped_path",
        /// Skipped: the observation sample left it out.
        SkippedSampling => "skipped_sampling",
    }
}

label_values! {
    /// Why an item has no verdict.
    NotCompared {
        /// A side abstained (`unknown` by default).
        Abstained => "abstained",
        /// A side gave the item no label at all.
        NoLabel => "no_label",
        /// The other side's answer lacks the item.
        MissingItem => "missing_item",
        /// There was no model to ask.
        CandidateUnavailable => "candidate_unavailable",
        /// The rules did not answer the scorer's question (refused, late, over the concurrency limit, not 200).
        RulesUnavailable => "rules_unavailable",
        /// A body could not be decoded or read; counted once for the observation, as its items are not known.
        Unreadable => "unreadable",
        /// The scorer shed the observation to keep live answers fast.
        Shed => "shed",
        /// The batch was not answered (refused, reset, late, not understood).
        ObserverFailed => "observer_failed",
    }
}

label_values! {
    /// Where an identity came from.
    IdentitySource {
        /// A request header.
        Header => "header",
        /// A cookie.
        Cookie => "cookie",
        /// A claim that Envoy's `jwt_authn` verified.
        Jwt => "jwt",
        /// The request body.
        Body => "body",
        /// Nowhere: the rules answer.
        Missing => "none",
    }
}

label_values! {
    /// What became of an observation batch.
    BatchOutcome {
        /// Handed to Envoy.
        Sent => "sent",
        /// The scorer's verdict came back and was counted.
        Answered => "answered",
        /// No verdict came back.
        Failed => "failed",
    }
}
