//! The interval between checkpoints.

use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// The interval between two checkpoints. A run that is interrupted or paused is always saved.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum CheckpointEvery {
    /// 2 % of the time since the start of the attempt, at least a fifth of a second and at most a minute. It is extended if checkpoints would
    /// take more than 2 % of the time.
    #[default]
    Auto,
    /// A number of seconds, extended if checkpoints would take more than 2 % of the time.
    Seconds(f64),
    /// A number of updates.
    Updates(u64),
    /// A number of epochs.
    Epochs(u64),
    /// No checkpoints during training.
    Never,
}

impl FromStr for CheckpointEvery {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let count = || number.parse().ok().filter(|&n: &u64| n > 0);
        let every = match unit.trim() {
            "" if number == "auto" => Some(Self::Auto),
            "" if number == "never" => Some(Self::Never),
            "s" | "second" | "seconds" => {
                number.parse().ok().filter(|s: &f64| *s >= 0.0 && s.is_finite()).map(Self::Seconds)
            }
            "update" | "updates" => count().map(Self::Updates),
            "epoch" | "epochs" => count().map(Self::Epochs),
            _ => None,
        };
        every.ok_or_else(|| {
            format!(
                "{text:?} is not an interval, expected \"auto\", \"5 seconds\", \"200 updates\", \"1 epoch\" or \"never\""
            )
        })
    }
}

impl Display for CheckpointEvery {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Seconds(n) => write!(f, "{n} seconds"),
            Self::Updates(1) => f.write_str("1 update"),
            Self::Updates(n) => write!(f, "{n} updates"),
            Self::Epochs(1) => f.write_str("1 epoch"),
            Self::Epochs(n) => write!(f, "{n} epochs"),
            Self::Never => f.write_str("never"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        for (text, expected) in [
            ("auto", Some(CheckpointEvery::Auto)),
            ("5 seconds", Some(CheckpointEvery::Seconds(5.0))),
            ("0.5 s", Some(CheckpointEvery::Seconds(0.5))),
            ("200 updates", Some(CheckpointEvery::Updates(200))),
            ("1 epoch", Some(CheckpointEvery::Epochs(1))),
            ("never", Some(CheckpointEvery::Never)),
            ("5", None),
            ("0 updates", None),
            ("-1 s", None),
            ("NaN s", None),
            ("1.5 epochs", None),
            ("5 minutes", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text}");
            if let Some(every) = expected {
                assert_eq!(every.to_string().parse(), Ok(every));
            }
        }
    }
}
