//! Tests that cross crates and meet real servers; `tests/run` is the one command.
