//! Single values of a profile: numbers, words, lines, amounts of memory, times.

use crate::mistake::Log;
use crate::tree::{Node, Value};

/// Options of sbatch that the submission sets.
const RESERVED: [&str; 10] = [
    "array",
    "output",
    "error",
    "signal",
    "requeue",
    "no-requeue",
    "job-name",
    "dependency",
    "open-mode",
    "time",
];

/// The value of `key` in the first of `tables` that contains it.
pub(super) fn find<'a>(tables: &[&'a Node], key: &str) -> Option<&'a Node> {
    tables.iter().find_map(|table| table.get(key))
}

pub(super) fn whole(log: &mut Log, tables: &[&Node], key: &str) -> Option<u32> {
    let node = find(tables, key)?;
    let Value::Integer(n) = node.value else { return None };
    match u32::try_from(n) {
        Ok(n) if n > 0 => Some(n),
        _ => {
            log.error(node.place, format!("`{key}` is {n}: expected at least 1"), None);
            None
        }
    }
}

pub(super) fn word(log: &mut Log, node: Option<&Node>, key: &str) -> Option<String> {
    let node = node?;
    let text = node.text()?;
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        log.error(node.place, format!("`{key}` is \"{}\": expected one word", text.escape_debug()), None);
    }
    Some(text.to_owned())
}

pub(super) fn lines(log: &mut Log, node: Option<&Node>, key: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for item in node.map(Node::list).unwrap_or_default() {
        let Some(text) = item.text() else { continue };
        let control = text.chars().any(char::is_control);
        if text.is_empty() || control || (key == "modules" && text.contains(char::is_whitespace)) {
            let expected = if key == "modules" { "one word" } else { "one line" };
            log.error(item.place, format!("\"{}\": expected {expected}", text.escape_debug()), None);
        }
        if key == "extra" {
            option(log, item, text);
        }
        lines.push(text.to_owned());
    }
    lines
}

/// An additional option of sbatch.
fn option(log: &mut Log, node: &Node, text: &str) {
    let Some(name) = text.strip_prefix("--") else {
        let hint = text.trim_start_matches("#SBATCH").trim_start();
        log.error(
            node.place,
            format!("\"{text}\" is not an option"),
            format!("write \"--{}\"", hint.trim_start_matches('-')),
        );
        return;
    };
    let name = name.split(['=', ' ']).next().unwrap_or_default();
    if RESERVED.contains(&name) {
        let hint = match name {
            "time" => "the key `time`",
            "array" => "the keys `throttle` and `max_tasks`",
            "signal" => "the key `save_before`",
            _ => "leave it out",
        };
        log.error(node.place, format!("`--{name}` is set for every job"), hint.to_owned());
    }
}

pub(super) fn memory(log: &mut Log, node: &Node) -> Option<String> {
    let text = node.text()?;
    let digits = text.trim_end_matches(['K', 'M', 'G', 'T']);
    if digits.is_empty() || text.len() > digits.len() + 1 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        log.error(
            node.place,
            format!("\"{text}\" is not an amount of memory"),
            "write \"4000M\" or \"16G\"".to_owned(),
        );
        return None;
    }
    Some(text.to_owned())
}

pub(super) fn duration(log: &mut Log, node: &Node) -> Option<u64> {
    let text = node.text()?;
    let seconds = seconds(text).filter(|seconds| *seconds > 0);
    if seconds.is_none() {
        let hint = "write \"90\" (minutes), \"1:30:00\" or \"2-12:00:00\"".to_owned();
        log.error(node.place, format!("\"{text}\" is not a time"), hint);
    }
    seconds
}

/// Slurm's times: `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours[:minutes[:seconds]]`.
fn seconds(text: &str) -> Option<u64> {
    let numbers = |text: &str| -> Option<Vec<u64>> {
        text.split(':').map(|part| (part.len() < 8).then(|| part.parse().ok())?).collect()
    };
    if let Some((days, rest)) = text.split_once('-') {
        let (days, rest) = (numbers(days)?, numbers(rest)?);
        let ([days], 1..=3) = (&days[..], rest.len()) else { return None };
        return Some(rest.iter().zip([3600, 60, 1]).map(|(n, unit)| n * unit).sum::<u64>() + days * 86_400);
    }
    match numbers(text)?[..] {
        [minutes] => Some(minutes * 60),
        [minutes, seconds] => Some(minutes * 60 + seconds),
        [hours, minutes, seconds] => Some(hours * 3600 + minutes * 60 + seconds),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, expected) in [
            ("90", Some(5400)),
            ("1:30", Some(90)),
            ("1:00:05", Some(3605)),
            ("2-12", Some(216_000)),
            ("1-0:0:1", Some(86_401)),
            ("1h", None),
            ("", None),
            ("-1", None),
            ("1:2:3:4", None),
            ("99999999999", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
