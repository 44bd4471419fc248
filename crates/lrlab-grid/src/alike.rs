//! When the first runs of a grid all fail for the same reason, so would the rest.

use crate::Failure;

/// Compares the first failures of a call.
#[derive(Debug)]
pub(crate) struct Alike {
    /// How many have to be alike.
    wanted: usize,
    seen: usize,
    signature: Option<String>,
    differ: bool,
}

impl Alike {
    /// `wanted` failures have to be alike; 0 is never.
    pub(crate) fn new(wanted: usize) -> Self {
        Self { wanted, seen: 0, signature: None, differ: false }
    }

    /// Takes in that a run was given up. The reason, once enough of the first runs failed for the same and none was
    /// done.
    pub(crate) fn add(&mut self, failure: &Failure, nothing_done: bool) -> Option<String> {
        let signature = failure.signature();
        self.differ |= self.signature.get_or_insert_with(|| signature.clone()) != &signature;
        self.seen += 1;
        let enough = self.wanted > 0 && self.seen >= self.wanted;
        (nothing_done && !self.differ && enough).then(|| failure.message.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: usize, messages: &[&str], nothing_done: bool, expected: Option<&str>) {
        let mut alike = Alike::new(wanted);
        let told = messages.iter().fold(None, |told, message| {
            let mut failure = Failure::lost(1, "x");
            failure.message = (*message).to_owned();
            told.or(alike.add(&failure, nothing_done))
        });
        assert_eq!(told.as_deref(), expected, "{messages:?}");
    }

    #[test]
    fn only_the_first_ones_and_only_for_one_reason() {
        check(3, &["line 7: bad", "line 8: bad", "line 9: bad"], true, Some("line 9: bad"));
        check(3, &["bad", "bad"], true, None);
        check(3, &["bad", "worse", "bad", "bad", "bad"], true, None);
        check(3, &["bad", "bad", "bad"], false, None);
        check(0, &["bad", "bad", "bad"], true, None);
    }
}
