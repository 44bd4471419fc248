//! `ro-crate-metadata.json`: machine-readable metadata of the report folder as an RO-Crate (profile Process Run Crate 0.5,
//! <https://w3id.org/ro/wfrun/process/0.5>).

use std::time::{Duration, UNIX_EPOCH};

use lrlab_runs::Timing;
use serde_json::{Value as Json, json};

use crate::manifest::MANIFEST;
use crate::{Error, Report, Run};

/// The name of the file, which the specification fixes.
pub(crate) const RO_CRATE: &str = "ro-crate-metadata.json";

const PROFILE: &str = "https://w3id.org/ro/wfrun/process/0.5";
const LRLAB: &str = "https://crates.io/crates/lrlab";

/// The metadata of a report with these files; `None` without a finished run, because there is no action to describe. The
/// times are those of the runs, so that equal results give equal bytes.
pub(crate) fn ro_crate(report: &Report, files: &[(String, String)]) -> Result<Option<String>, Error> {
    let timings = || report.runs().filter_map(Run::result).map(|result| &result.timing);
    let first =
        |of: fn(&Timing) -> f64, pick: fn(f64, f64) -> f64| timings().map(of).reduce(pick).and_then(iso);
    let (Some(began), Some(ended)) =
        (first(|timing| timing.started, f64::min), first(|timing| timing.finished, f64::max))
    else {
        return Ok(None);
    };
    let mut names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).chain([MANIFEST]).collect();
    names.sort_unstable();
    let of = |id: &str| json!({ "@id": id });
    let parts: Vec<Json> = names.iter().map(|name| of(name)).collect();
    let data: Vec<String> = (1..=report.origin.datasets.len()).map(|i| format!("#data-{i}")).collect();
    let named = |id: &str, kind: &str, name: &str| json!({ "@id": id, "@type": kind, "name": name });
    let mut graph = vec![
        json!({
            "@id": RO_CRATE, "@type": "CreativeWork",
            "conformsTo": of("https://w3id.org/ro/crate/1.1"), "about": of("./"),
        }),
        json!({
            "@id": "./", "@type": "Dataset", "conformsTo": of(PROFILE),
            "name": format!("{}: report of an experiment", report.experiment),
            "description": if report.description.is_empty() { &report.experiment } else { &report.description },
            "datePublished": ended, "license": of("#license"), "hasPart": parts, "mentions": of("#runs"),
        }),
        json!({ "@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5" }),
        json!({
            "@id": "#license", "@type": "CreativeWork", "name": "Not stated",
            "description": "The experiment states no licence; add one before publishing the crate.",
        }),
        json!({
            "@id": LRLAB, "@type": "SoftwareApplication", "name": "lrlab", "url": LRLAB,
            "softwareVersion": report.origin.builds.join("; "),
        }),
        json!({
            "@id": "#runs", "@type": "CreateAction",
            "name": format!("Training of {} of {} runs", report.counts.done, report.counts.planned),
            "description": format!(
                "On {} ({}), numerics {}. {MANIFEST} lists the digest of each run, report.html the command that repeats it.",
                report.origin.hosts.join(", "), report.origin.devices.join(", "), report.origin.numerics.join(", ")
            ),
            "instrument": of(LRLAB), "object": one_or_all(data.iter().map(|id| of(id)).collect()), "result": parts,
            "startTime": began, "endTime": ended,
            "actionStatus": "http://schema.org/CompletedActionStatus",
        }),
    ];
    graph.extend(data.iter().zip(&report.origin.datasets).map(|(id, name)| named(id, "CreativeWork", name)));
    graph.extend(
        names.iter().map(
            |name| json!({ "@id": name, "@type": "File", "name": name, "encodingFormat": encoding(name) }),
        ),
    );
    let all = json!({ "@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph });
    Ok(Some(serde_json::to_string_pretty(&all)? + "\n"))
}

/// A single value or an array: RO-Crate represents one value without an array.
fn one_or_all(mut all: Vec<Json>) -> Json {
    if all.len() == 1 { all.remove(0) } else { Json::Array(all) }
}

/// A Unix time in seconds as ISO 8601 in UTC; `None` if it is out of range.
fn iso(seconds: f64) -> Option<String> {
    // humantime formats years up to 9999.
    let seconds = Some(seconds).filter(|seconds| (0.0..253_402_300_800.0).contains(seconds))?;
    let moment = UNIX_EPOCH.checked_add(Duration::from_secs(seconds as u64))?;
    Some(humantime::format_rfc3339_seconds(moment).to_string().replace('Z', "+00:00"))
}

fn encoding(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html",
        Some("md") => "text/markdown",
        Some("csv") => "text/csv",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        Some("tex") => "application/x-tex",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        assert_eq!(iso(0.0).as_deref(), Some("1970-01-01T00:00:00+00:00"));
        assert_eq!(iso(1_795_799_030.44).as_deref(), Some("2026-11-27T17:03:50+00:00"));
        for odd in [-1.0, f64::NAN, f64::INFINITY, 253_402_300_800.0] {
            assert_eq!(iso(odd), None, "{odd}");
        }
    }
}
