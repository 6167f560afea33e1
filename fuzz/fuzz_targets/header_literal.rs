#![no_main]
#[path = "../engine_targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::header_literal(data));
