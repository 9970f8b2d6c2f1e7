//! Names that two programs share, and the closed sets of label values.
//!
//! Metrics themselves are declared in [`crate::series`], headers in [`crate::headers`].

/// The value of `label` for a label that is not in the configured set.
pub const OTHER_LABEL: &str = "other";

/// The filter's name in Envoy's configuration, in both builds.
pub const FILTER: &str = "perch";
/// The name of the native module's access logger on the admin interface, which notifies it of a changed share.
pub const NATIVE_ACCESS_LOGGER: &str = "perch_switch";

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
    /// Agreement of the two responses on an item.
    Agree {
        /// Both responses have an opinion, and it is the same.
        True => "True",
        /// Both responses have an opinion, and they differ.
        False => "False",
        /// At least one response has none; see [`NotCompared`].
        None => "None",
    }
}

label_values! {
    /// Which response a client was given.
    Arm {
        /// The application's response.
        Baseline => "baseline",
        /// The response of the model under trial.
        Candidate => "candidate",
    }
}

label_values! {
    /// [`Arm`] in the words of [`crate::series::SOURCE`] and of the reference application's responses.
    Source {
        /// The application's response.
        Rule => "rule",
        /// The candidate response.
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
    /// A group of users whose arm does not follow from the canary share alone.
    Cohort {
        /// No cohort: the canary share decides.
        Ordinary => "none",
        /// Has a share of its own.
        Beta => "beta",
        /// Always gets the baseline.
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
        /// Too many calls in flight (Envoy's circuit breaker, or the scorer sheds load).
        Overloaded => "overloaded",
        /// The scorer has no model to serve, or its store did not reply in time.
        Unavailable => "unavailable",
        /// The scorer's status is not 200.
        Status => "status",
        /// The status is 200, but the body is not JSON.
        NotJson => "not_json",
        /// The body is JSON without items, where the application has some.
        NoItems => "no_items",
        /// The body is JSON, but an item, id or label is of the wrong type.
        WrongType => "wrong_type",
        /// None of its items is one of the application's.
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
        /// Its response has no body, or only a part of one (204, 205, 206, 304).
        NoBody => "no_body",
        /// Its response is not of a configured media type (gRPC, an event stream, HTML).
        ContentType => "content_type",
        /// Its body cannot be read: not JSON, or of an encoding that the filter does not know.
        Unreadable => "unreadable",
        /// Its response has no items.
        NoItems => "no_items",
        /// It lacks some of the candidate's items, e.g. since the user may not see them.
        LeftOut => "left_out",
        /// Its response is longer than the filter may buffer.
        TooLarge => "too_large",
        /// The application responded before the request had ended.
        RequestIncomplete => "request_incomplete",
        /// The request's body is over the limit, so the scorer was not called.
        RequestTooLarge => "request_too_large",
        /// The client does not accept a response without an encoding.
        NotAcceptable => "not_acceptable",
        /// The client or the application's connection closed before the response was complete.
        Gone => "gone",
        /// The worker's buffers for requests or responses were full.
        Shed => "shed",
        /// The share was lowered, or could no longer be read, while the filter waited for the responses.
        RolledBack => "rolled_back",
    }
}

label_values! {
    /// Why the scorer responds with 503, in [`crate::headers::UNAVAILABLE`].
    Unavailable {
        /// No model is loaded.
        NoModel => "no_model",
        /// The store did not return the transactions within the deadline.
        Store => "store",
        /// Too much work in flight: the scorer sheds load.
        Overloaded => "overloaded",
        /// The program's role does not include it, e.g. live responses with `--role observe`.
        Role => "role",
    }
}

label_values! {
    /// How an intercepted request ended as an observation.
    Outcome {
        /// Added to a batch.
        Observed => "observed",
        /// Dropped: the worker's buffer, or its batches in flight, are at their limit.
        DroppedBufferFull => "dropped_buffer_full",
        /// Dropped: the response's body is over the limit.
        DroppedBodyLimit => "dropped_body_limit",
        /// The stream ended before its request and its response were complete: the client or the application closed the
        /// connection. Nothing was dropped, and clients can cause it at will.
        Incomplete => "incomplete",
        /// Skipped: the observation sample does not contain it.
        SkippedSampling => "skipped_sampling",
    }
}

impl Outcome {
    /// The outcomes in which Perch lost an observation that it should have made.
    pub const DROPPED: [Self; 2] = [Self::DroppedBufferFull, Self::DroppedBodyLimit];
}

label_values! {
    /// Why an item could not be compared.
    NotCompared {
        /// A response gives the item no label.
        NoLabel => "no_label",
        /// The other response lacks the item.
        MissingItem => "missing_item",
        /// There was no candidate to compare with.
        CandidateUnavailable => "candidate_unavailable",
        /// A body could not be decoded or read; counted once for the observation, as its items are not known.
        Unreadable => "unreadable",
        /// The scorer shed the observation to keep live responses fast.
        Shed => "shed",
        /// No usable batch result came back: the call was refused, reset or late, or the result does not match the
        /// batch.
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
        /// Nowhere: the user is given the baseline.
        Missing => "none",
    }
}

label_values! {
    /// How an observation batch ended.
    BatchOutcome {
        /// Handed to Envoy.
        Sent => "sent",
        /// The scorer's batch result came back and was counted.
        Answered => "answered",
        /// No result came back.
        Failed => "failed",
        /// A result came back whose counts do not match the items of the batch.
        Mismatched => "mismatched",
    }
}
