//! The lab for learning-rate schedules: runs experiment grids and reports them.
