//! The herder of a distributed worker: a member of the `connect` group, beside JVM workers or alone.

mod assignor;
mod protocol;
