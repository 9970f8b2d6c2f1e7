//! Metric names and the closed sets of their label values.
//!
//! A name here is Envoy's stat name up to its first label; a counter with labels is called
//! `NAME.label.value[.label.value…]` inside Envoy, and a stats tag turns it into `NAME{label="value"}`.
//! The `lm_` names are those of the system that Perch replaced: dashboards rely on them, letter by letter.

/// Agreement of baseline and candidate, per item: label `agree` is `True`, `False` or `None`.
pub const COMPARE: &str = "lm_suggest_compare_total";
/// Whose response the client was given, per response: label `source` is `rule` or `model`.
pub const SOURCE: &str = "lm_suggest_source_total";
/// Requests for which the candidate was asked, but not those that were passed through: label `available` is `True` or
/// `False`.
pub const PREDICT_REQUESTS: &str = "lm_ml_predict_requests_total";
/// Canary requests that were given the baseline since the candidate failed: label `reason` is a [`FallbackReason`].
pub const FALLBACK: &str = "lm_ml_fallback_total";
/// Canary requests that were given the baseline for a reason that is not the candidate's: label `reason` is a
/// [`PassedThrough`].
pub const PASSED_THROUGH: &str = "perch_passed_through_total";
/// Requests of users who would be in the canary by a copy of the shares that was too old: they were given the baseline.
pub const SHARE_STALE: &str = "perch_share_stale_total";

/// Callbacks of the native module that panicked: their requests were given the baseline, and their worker's filter began
/// anew. What fails in the WebAssembly module is a trap, which Envoy counts as a reload of the VM.
pub const FAILURES: &str = "perch_filter_failures_total";

/// Every intercepted request, once. Equals the sum of [`OBSERVATION`] once nothing is in flight.
pub const INTERCEPTED: &str = "perch_intercepted_total";
/// What became of each intercepted request as an observation: label `outcome` is an [`Outcome`].
pub const OBSERVATION: &str = "perch_observation_total";
/// Why items count as `agree="None"`: label `reason` is a [`NotCompared`].
pub const NOT_COMPARED: &str = "perch_not_compared_total";
/// Items on which baseline or candidate abstains, which [`COMPARE`] leaves out: label `arm` is the [`Arm`] that the client
/// was given.
pub const ABSTAINED: &str = "perch_compare_abstained_total";
/// Agreement by the label that the client was given: labels `label` (closed set from the configuration, else `other`) and
/// `agree`.
pub const LABEL_COMPARE: &str = "perch_label_compare_total";
/// Where the user's identity came from: label `source` is `header`, `cookie`, `jwt`, `body` or `none`.
pub const IDENTITY: &str = "perch_identity_total";
/// Observation batches by what became of them: label `result` is a [`BatchOutcome`].
pub const BATCH: &str = "perch_batch_total";

/// What `label` becomes when it is not in the configured set.
pub const OTHER_LABEL: &str = "other";

/// What the filter is called in Envoy's configuration, in both builds.
pub const FILTER: &str = "perch";
/// The native module's listener to the admin interface.
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
    /// How the candidate failed, so that a canary request was given the baseline.
    FallbackReason {
        /// No connection to the scorer, or no healthy one.
        Refused => "refused",
        /// The scorer's connection broke before its response was whole.
        Reset => "reset",
        /// No whole response within the deadline.
        Deadline => "deadline",
        /// Too many calls under way (Envoy's circuit breaker, or the scorer sheds).
        Overloaded => "overloaded",
        /// The scorer answered that it has no model to serve, or that its store did not answer in time.
        Unavailable => "unavailable",
        /// The scorer answered another status than 200.
        Status => "status",
        /// 200, but the body is not JSON.
        NotJson => "not_json",
        /// 200 and JSON, but without items, where the application has some.
        NoItems => "no_items",
        /// 200 and JSON, but an item, id or label is of the wrong type.
        WrongType => "wrong_type",
        /// Its items are none of the application's.
        OtherItems => "other_items",
        /// The response is over the limit.
        TooLarge => "too_large",
    }
}

label_values! {
    /// Why a canary request was given the baseline though the candidate did not fail.
    PassedThrough {
        /// The application's status is 4xx or 5xx.
        Error => "error",
        /// Its status is a redirect.
        Redirect => "redirect",
        /// Its response has no body, or a part of one only (204, 205, 206, 304).
        NoBody => "no_body",
        /// Its response is not of the type that is intercepted (gRPC, an event stream, HTML).
        ContentType => "content_type",
        /// Its body cannot be read: not JSON, or of an encoding that the filter does not know.
        Unreadable => "unreadable",
        /// Its response has no items.
        NoItems => "no_items",
        /// It leaves out some of the candidate's items, e.g. since the user may not see them.
        LeftOut => "left_out",
        /// Its response is longer than the filter may hold.
        TooLarge => "too_large",
        /// The application answered before the request had ended.
        RequestIncomplete => "request_incomplete",
        /// The request's body is over the limit, so the candidate was not asked.
        RequestTooLarge => "request_too_large",
        /// The client does not accept a response without an encoding.
        NotAcceptable => "not_acceptable",
        /// The client, or the application's connection, was gone before a response was whole.
        Gone => "gone",
        /// The worker had no room for the request or the responses: a slower client's copies went first.
        Shed => "shed",
        /// The share was lowered, or could not be read any more, while the responses were waited for.
        RolledBack => "rolled_back",
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
        /// Dropped: the response's body is over the limit.
        DroppedBodyLimit => "dropped_body_limit",
        /// The stream ended before its request and its response had passed whole: the client left, or the application
        /// broke off. Nothing was dropped, and clients can cause it at will.
        Incomplete => "incomplete",
        /// Skipped: the observation sample left it out.
        SkippedSampling => "skipped_sampling",
    }
}

impl Outcome {
    /// The outcomes in which Perch lost an observation that it should have taken.
    pub const DROPPED: [Self; 2] = [Self::DroppedBufferFull, Self::DroppedBodyLimit];
}

label_values! {
    /// Why an item could not be compared.
    NotCompared {
        /// A response gave the item no label at all.
        NoLabel => "no_label",
        /// The other response lacks the item.
        MissingItem => "missing_item",
        /// There was no candidate to ask.
        CandidateUnavailable => "candidate_unavailable",
        /// A body could not be decoded or read; counted once for the observation, as its items are not known.
        Unreadable => "unreadable",
        /// The scorer shed the observation to keep live responses fast.
        Shed => "shed",
        /// The batch was not answered (refused, reset, late, not understood), or its result does not fit the batch.
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
        /// The scorer's result came back and was counted.
        Answered => "answered",
        /// No result came back.
        Failed => "failed",
        /// A result came back whose counts do not fit the items of the batch.
        Mismatched => "mismatched",
    }
}
