//! Stops a grid whose first runs all fail for the same reason.

use crate::Failure;

/// Compares the first failures of a call.
#[derive(Debug)]
pub(crate) struct CommonFailure {
    /// The number of equal failures that stops the grid; 0 means never.
    wanted: usize,
    seen: usize,
    signature: Option<String>,
    differ: bool,
}

impl CommonFailure {
    /// Creates a counter that stops the grid after `wanted` equal failures; 0 means never.
    pub(crate) fn new(wanted: usize) -> Self {
        Self { wanted, seen: 0, signature: None, differ: false }
    }

    /// Adds the failure of a run that is not tried again. Returns the common reason once enough runs failed for
    /// it and no run is done.
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
    fn only_first_failures_for_one_reason_stop_the_grid() {
        check(3, &["line 7: bad", "line 8: bad", "line 9: bad"], true, Some("line 9: bad"));
        check(3, &["bad", "bad"], true, None);
        check(3, &["bad", "worse", "bad", "bad", "bad"], true, None);
        check(3, &["bad", "bad", "bad"], false, None);
        check(0, &["bad", "bad", "bad"], true, None);
    }
}
