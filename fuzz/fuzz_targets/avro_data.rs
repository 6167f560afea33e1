#![no_main]
#[path = "../avro.rs"]
#[allow(dead_code)]
mod avro;

libfuzzer_sys::fuzz_target!(|data: &[u8]| avro::data(data));
