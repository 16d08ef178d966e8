//! The log of a server: lines on the standard error, as `log` in the configuration wants them.
//!
//! `text` is for people, `json` and `logstash` are one object a line. The static fields are in every line. Other
//! crates are heard only when they warn.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use crate::config::{self, Formatter, Log};

/// Sets the log of the process up. A second call changes nothing.
pub fn init(log: &Log) {
    let level = match log.level.unwrap_or(config::Level::Info) {
        config::Level::Error => LevelFilter::ERROR,
        config::Level::Warn => LevelFilter::WARN,
        config::Level::Info => LevelFilter::INFO,
        config::Level::Debug => LevelFilter::DEBUG,
    };
    let filter = Targets::new().with_default(LevelFilter::WARN.min(level)).with_target("pullplug", level);
    let format = Format { formatter: log.formatter, fields: log.fields.clone() };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).event_format(format).with_filter(filter);
    // Only a log that is there already can make this fail.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer));
}

struct Format {
    formatter: Formatter,
    fields: BTreeMap<String, String>,
}

/// The fields of one event.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = self.line(now(), *event.metadata().level(), fields.0);
        writeln!(writer, "{line}")
    }
}

impl Format {
    fn line(&self, time: String, level: Level, mut fields: Map<String, Value>) -> String {
        let level = level.as_str().to_lowercase();
        let message = fields.remove("message").unwrap_or_default();
        let fixed = self.fields.iter().map(|(key, value)| (key.clone(), Value::String(value.clone())));
        match self.formatter {
            Formatter::Text => {
                let mut line = format!("{time} {level:5} {}", message.as_str().unwrap_or_default());
                for (key, value) in fields.into_iter().chain(fixed) {
                    // Writing to a string cannot fail.
                    let _ = match value.as_str() {
                        Some(text) if !text.is_empty() && !text.contains([' ', '"', '=', '\n']) => {
                            write!(line, " {key}={text}")
                        }
                        _ => write!(line, " {key}={value}"),
                    };
                }
                line.replace('\n', "\\n")
            }
            Formatter::Json | Formatter::Logstash => {
                let [time_key, message_key] = match self.formatter {
                    Formatter::Logstash => ["@timestamp", "message"],
                    _ => ["time", "msg"],
                };
                fields.extend(fixed);
                fields.insert(time_key.to_owned(), time.into());
                fields.insert("level".to_owned(), level.into());
                fields.insert(message_key.to_owned(), message);
                if self.formatter == Formatter::Logstash {
                    fields.insert("@version".to_owned(), "1".into());
                }
                Value::Object(fields).to_string()
            }
        }
    }
}

/// When a line was written; nothing depends on it.
fn now() -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(formatter: Formatter) -> String {
        let fields = [("service".to_owned(), "registry".to_owned())].into();
        let event = [("message", Value::from("two\nlines")), ("bytes", 7.into()), ("who", "a b".into())];
        let event = event.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
        Format { formatter, fields }.line("2020-01-01T00:00:00Z".to_owned(), Level::WARN, event)
    }

    #[test]
    fn lines_carry_the_fields_and_stay_lines() {
        assert_eq!(
            line(Formatter::Text),
            r#"2020-01-01T00:00:00Z warn  two\nlines bytes=7 who="a b" service=registry"#
        );
        assert_eq!(
            line(Formatter::Json),
            r#"{"bytes":7,"level":"warn","msg":"two\nlines","service":"registry","time":"2020-01-01T00:00:00Z","who":"a b"}"#
        );
        assert_eq!(
            line(Formatter::Logstash),
            r#"{"@timestamp":"2020-01-01T00:00:00Z","@version":"1","bytes":7,"level":"warn","message":"two\nlines","service":"registry","who":"a b"}"#
        );
    }
}
