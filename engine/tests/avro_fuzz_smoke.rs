//! The fuzz targets of Avro on seeds mutated a bounded number of times: what stable Rust and a minute can find.

#[path = "../../fuzz/avro.rs"]
mod avro;
#[path = "../../fuzz/smoke.rs"]
mod smoke;

use smoke::smoke;

#[test]
fn data() {
    let data: [&[u8]; 8] = [
        &[0, 2, 4, 6, 97, 98, 99, 1, 0, 0, 0, 63, 0, 0, 0, 0, 0, 0, 240, 63, 2, 2, 120],
        &[1, 4, 2, 2, 97, 0, 14, 2, 2, 98, 2, 0, 0],
        &[2, 2, 2, 4, 2, 6, 2, 8, 0],
        &[3, 2, 0, 2, 0, 0, 4, 2, 0, 0, 0, 2],
        &[4, 8, 1, 2, 3],
        &[5, 4, 1, 244, 200, 1, 120, 0, 0, 0, 1, 0],
        &[6, 4, 2, 2, 2, 97, 4, 0, 0],
        &[7, 20, 0],
    ];
    smoke(&data.map(<[u8]>::to_vec), avro::data);
}

#[test]
fn schema() {
    let seeds = avro::SCHEMAS.map(|schema| schema.as_bytes().to_vec());
    smoke(&seeds, avro::schema);
}

#[test]
fn endless_nesting_is_refused() {
    let mut deep = vec![2];
    deep.extend([2, 2].repeat(100_000));
    avro::data(&deep);
    let brackets = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(100_000), "}".repeat(100_000));
    avro::schema(brackets.as_bytes());
}
