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
        let mut line = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            _ => "note: ",
        }
        .to_owned();
        context.field_format().format_fields(Writer::new(&mut line), event)?;
        let is_new = self.0.lock().map_or(true, |mut printed| printed.insert(line.clone()));
        if is_new { writeln!(writer, "{line}") } else { Ok(()) }
    }
}
