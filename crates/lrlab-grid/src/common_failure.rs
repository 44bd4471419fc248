//! Stops a grid whose first runs all fail for the same reason.

use crate::Failure;

/// Compares the first failures of a call.
#[derive(Debug)]
pub(crate) struct CommonFailure {
    /// The number of equal failures that stops the grid; 0 is never.
    wanted: usize,
    seen: usize,
    signature: Option<String>,
    differ: bool,
}

impl CommonFailure {
    /// `wanted` equal failures stop the grid; 0 never does.
    pub(crate) fn new(wanted: usize) -> Self {
        Self { wanted, seen: 0, signature: None, differ: false }
    }

    /// Adds the failure of a run that is not tried again. Returns the common reason once enough runs failed with it
    /// and none was done.
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
        let mut common_failure = CommonFailure::new(wanted);
        let shown = messages.iter().fold(None, |shown, message| {
            let mut failure = Failure::lost(1, "x");
            failure.message = (*message).to_owned();
            shown.or(common_failure.add(&failure, nothing_done))
        });
        assert_eq!(shown.as_deref(), expected, "{messages:?}");
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
