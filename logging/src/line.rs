//! An event as a line of text or JSON.

use std::fmt::Debug;

use clap::ValueEnum;
use contract::log_text::push_value;
use jiff::Timestamp;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Words and key=value pairs, for people
    Text,
    /// One JSON object per line, for log collectors
    Json,
}

/// Writes each event as one line.
pub(crate) struct Lines<W> {
    format: LogFormat,
    write: W,
}

impl<W: Fn(&[u8])> Lines<W> {
    /// `write` gets each line whole, its end included, so that lines of several threads do not mix.
    pub(crate) const fn new(format: LogFormat, write: W) -> Self {
        Self { format, write }
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&[u8]) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.add(outer);
            }
        }
        // A record of `log` keeps its target in fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let time = format!("{:.3}", Timestamp::now());
        (self.write)(line(self.format, &time, metadata, &fields).as_bytes());
    }
}

/// What an event or a span says.
#[derive(Debug, Default)]
struct Fields {
    event: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    /// Adds what a span around says; what is said within counts.
    fn add(&mut self, outer: &Self) {
        for (name, value) in &outer.others {
            if !self.others.iter().any(|(known, _)| known == name) {
                self.others.push((name, value.clone()));
            }
        }
    }

    fn push(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => self.event = value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            name if name.starts_with("log.") => {}
            name => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        // What `Duration::as_millis` gives; more than fits is for ever anyhow.
        self.push(field, u64::try_from(value).unwrap_or(u64::MAX).into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.push(field, format!("{value:?}").into());
    }
}

fn line(format: LogFormat, time: &str, metadata: &Metadata<'_>, fields: &Fields) -> String {
    let (level, target) = (metadata.level().as_str(), metadata.target());
    let mut line = match format {
        LogFormat::Text => text(time, level, target, fields),
        LogFormat::Json => json(time, level, target, fields),
    };
    line.push('\n');
    line
}

fn text(time: &str, level: &str, target: &str, fields: &Fields) -> String {
    let mut line = format!("{time} {level} {target} ");
    push_value(&mut line, &fields.event);
    for (name, value) in &fields.others {
        line.push(' ');
        line.push_str(name);
        line.push('=');
        match value {
            Value::String(text) => push_value(&mut line, text),
            value => line.push_str(&value.to_string()),
        }
    }
    line
}

/// By hand, since a map would sort its keys: time, level, target and event stand first.
fn json(time: &str, level: &str, target: &str, fields: &Fields) -> String {
    let level = level.to_ascii_lowercase();
    let mut line = String::from("{");
    let first = [("time", time), ("level", &level), ("target", target), ("event", &fields.event)];
    for (name, value) in first {
        push_member(&mut line, name, &value.into());
    }
    for (name, value) in &fields.others {
        push_member(&mut line, name, value);
    }
    line.push('}');
    line
}

fn push_member(line: &mut String, name: &str, value: &Value) {
    if line.len() > 1 {
        line.push(',');
    }
    line.push_str(&Value::from(name).to_string());
    line.push(':');
    line.push_str(&value.to_string());
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// The lines that `work` logs, without their times, which are checked.
    fn logged(format: LogFormat, work: impl FnOnce()) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&lines);
        let layer = Lines::new(format, move |line: &[u8]| {
            into.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
        });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let lines = lines.lock().unwrap().clone();
        lines.iter().map(|line| without_time(format, line)).collect()
    }

    fn without_time(format: LogFormat, line: &str) -> String {
        let line = line.strip_suffix('\n').unwrap();
        let (time, rest) = match format {
            LogFormat::Text => line.split_once(' ').unwrap(),
            LogFormat::Json => line.strip_prefix(r#"{"time":""#).unwrap().split_once(r#"","#).unwrap(),
        };
        assert_eq!(time.len(), "2026-12-01T07:00:00.123Z".len(), "milliseconds, UTC: {time}");
        let _: Timestamp = time.parse().unwrap();
        rest.to_owned()
    }

    #[test]
    fn a_line_has_level_target_event_and_fields() {
        let work = || tracing::warn!(target: "p::x", n = 3, ratio = 0.5, path = "/a b", on = true, "store_failed");
        assert_eq!(logged(LogFormat::Text, work), [r#"WARN p::x store_failed n=3 ratio=0.5 path="/a b" on=true"#]);
        assert_eq!(
            logged(LogFormat::Json, work),
            [r#""level":"warn","target":"p::x","event":"store_failed","n":3,"ratio":0.5,"path":"/a b","on":true}"#]
        );
    }

    #[test]
    fn an_event_carries_the_fields_of_its_spans_once() {
        let work = || {
            let request = tracing::error_span!("request", trace_id = "4bf9", route = "live");
            request.in_scope(|| tracing::info!(target: "x", route = "inner", "answered"));
            tracing::info!(target: "x", "idle");
        };
        assert_eq!(logged(LogFormat::Text, work), ["INFO x answered route=inner trace_id=4bf9", "INFO x idle"]);
    }

    #[test]
    fn no_value_forges_a_line() {
        let work = || tracing::info!(target: "x", user = %"a\n2026 ERROR x forged b=1", "seen");
        assert_eq!(logged(LogFormat::Text, work), [r#"INFO x seen user="a\n2026 ERROR x forged b=1""#]);
        assert_eq!(logged(LogFormat::Json, work).len(), 1);
    }
}
