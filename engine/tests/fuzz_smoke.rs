//! The fuzz targets of the engine on mutated seeds.

#[path = "../../fuzz/smoke.rs"]
mod smoke;
#[path = "../../fuzz/engine_targets.rs"]
mod targets;

use smoke::smoke;

#[test]
fn json() {
    let seeds = [
        r#"{"a":1,"b":[true,null,"x\né😀\ud83d\ude00"],"c":{"d":-1.5e10,"e":""}}"#,
        r#"[0,-0,007,1e400,12345678901234567890,0.1,1.0]"#,
        r#"{"schema":{"type":"struct","optional":false,"name":"n","fields":[{"field":"a","type":"int8","optional":true,"default":5},{"field":"b","type":"array","items":{"type":"string"}},{"field":"c","type":"map","keys":{"type":"int32"},"values":{"type":"bytes"}},{"field":"d","type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}}]},"payload":{"a":1,"b":["x"],"c":[[1,"AQI="]],"d":"AJY="}}"#,
        r#"{"schema":{"type":"int64","name":"org.apache.kafka.connect.data.Timestamp","version":1},"payload":1700000000123}"#,
        r#"{"schema":null,"payload":{"a":1,"a":2}}"#,
    ];
    smoke(&seeds.map(|seed| seed.as_bytes().to_vec()), targets::json);
}

#[test]
fn header_literal() {
    let seeds = [
        r#"[1, 2.5, "a\"b", {"k": [true, null]}, 2020-01-02T03:04:05.678Z]"#,
        r#"{"a": 12:34:56.789Z, "b": 1e400, "c": 12345678901234567890}"#,
        "2020-01-02",
        "-1.5E-7",
        " null ",
        "é\\:[",
    ];
    smoke(&seeds.map(|seed| seed.as_bytes().to_vec()), targets::header_literal);
}
