//! Errors of spaces and ranking metrics.

/// An error in the definition of a search.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A space without values, or with values that are not finite.
    #[error("`{key}`: {problem}")]
    Space {
        /// The key of the space.
        key: String,
        /// The value and what is expected instead.
        problem: String,
    },
    /// The spaces contain fewer points than are drawn.
    #[error("the spaces contain fewer than {trials} points")]
    TooFewPoints {
        /// The number of points to draw.
        trials: usize,
    },
    /// The values of a continuous space cannot be listed.
    #[error("`{key}`: the values of a range without `points` cannot be listed")]
    Continuous {
        /// The key of the space.
        key: String,
    },
    /// A metric that cannot rank trials.
    #[error("`{metric}` cannot rank trials: {problem}")]
    Metric {
        /// The metric.
        metric: String,
        /// What it lacks.
        problem: String,
    },
}
