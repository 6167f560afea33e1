//! The config topic: connectors, their tasks, what the user wants of them, and what workers tell each other.

mod record;
mod state;
