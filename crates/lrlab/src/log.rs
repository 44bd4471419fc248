//! Log events on standard error.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::color;

/// Writes warnings and errors to standard error like those of the commands, each only once, or the events that `RUST_LOG`
/// selects, with the time and the module. `timed` also selects the latter format, for processes whose output is a log file.
pub(crate) fn init(timed: bool) {
    let selected = EnvFilter::try_from_default_env();
    let timed = timed || selected.is_ok();
    let events = tracing_subscriber::fmt()
        .with_env_filter(selected.unwrap_or_else(|_| "warn".into()))
        .with_writer(std::io::stderr)
        .with_ansi(color::on_stderr());
    if timed {
        events.init();
    } else {
        events.event_format(Once(Mutex::default())).init();
    }
}

/// Formats an event as `warning: MESSAGE FIELD=VALUE`, and repeated events as nothing.
struct Once(Mutex<BTreeSet<String>>);

impl<S, N> FormatEvent<S, N> for Once
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (word, color) = match *event.metadata().level() {
            Level::ERROR => ("error", 31),
            Level::WARN => ("warning", 33),
            _ => ("note", 36),
        };
        let mut text = String::new();
        context.field_format().format_fields(Writer::new(&mut text), event)?;
        if !self.0.lock().map_or(true, |mut printed| printed.insert(format!("{word}: {text}"))) {
            return Ok(());
        }
        if writer.has_ansi_escapes() {
            writeln!(writer, "\x1b[1;{color}m{word}\x1b[0m: {text}")
        } else {
            writeln!(writer, "{word}: {text}")
        }
    }
}
