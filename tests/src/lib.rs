//! End-to-end tests only: see the files beside this one.
