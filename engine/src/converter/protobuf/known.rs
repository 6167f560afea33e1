//! Files that need not be registered to be imported.

/// Path and text of each; of `google/protobuf` and `google/type` those that describe data.
const FILES: [(&str, &str); 12] = [
    (
        "google/protobuf/timestamp.proto",
        "syntax=\"proto3\"; package google.protobuf; message Timestamp { int64 seconds=1; int32 nanos=2; }",
    ),
    (
        "google/protobuf/duration.proto",
        "syntax=\"proto3\"; package google.protobuf; message Duration { int64 seconds=1; int32 nanos=2; }",
    ),
    ("google/protobuf/empty.proto", "syntax=\"proto3\"; package google.protobuf; message Empty {}"),
    (
        "google/protobuf/any.proto",
        "syntax=\"proto3\"; package google.protobuf; message Any { string type_url=1; bytes value=2; }",
    ),
    (
        "google/protobuf/field_mask.proto",
        "syntax=\"proto3\"; package google.protobuf; message FieldMask { repeated string paths=1; }",
    ),
    (
        "google/protobuf/struct.proto",
        "syntax=\"proto3\"; package google.protobuf;
         message Struct { map<string, Value> fields=1; }
         message Value { oneof kind { NullValue null_value=1; double number_value=2; string string_value=3;
           bool bool_value=4; Struct struct_value=5; ListValue list_value=6; } }
         message ListValue { repeated Value values=1; }
         enum NullValue { NULL_VALUE=0; }",
    ),
    (WRAPPERS, WRAPPERS_TEXT),
    (
        "google/type/date.proto",
        "syntax=\"proto3\"; package google.type; message Date { int32 year=1; int32 month=2; int32 day=3; }",
    ),
    (
        "google/type/timeofday.proto",
        "syntax=\"proto3\"; package google.type;
         message TimeOfDay { int32 hours=1; int32 minutes=2; int32 seconds=3; int32 nanos=4; }",
    ),
    (
        "google/type/money.proto",
        "syntax=\"proto3\"; package google.type;
         message Money { string currency_code=1; int64 units=2; int32 nanos=3; }",
    ),
    (
        "google/type/latlng.proto",
        "syntax=\"proto3\"; package google.type; message LatLng { double latitude=1; double longitude=2; }",
    ),
    (
        "confluent/type/decimal.proto",
        "syntax=\"proto3\"; package confluent.type;
         message Decimal { bytes value=1; uint32 precision=2; int32 scale=3; }",
    ),
];

/// Files that hold nothing that a field can have as its type.
const OPTIONS_ONLY: [&str; 2] = ["confluent/meta.proto", "google/protobuf/descriptor.proto"];

const WRAPPERS: &str = "google/protobuf/wrappers.proto";

/// What is registered for a value that is no struct.
pub(super) const WRAPPERS_TEXT: &str = "syntax = \"proto3\";
package google.protobuf;

option java_package = \"com.google.protobuf\";
option java_outer_classname = \"WrappersProto\";
option java_multiple_files = true;
option go_package = \"google.golang.org/protobuf/types/known/wrapperspb\";
option cc_enable_arenas = true;
option objc_class_prefix = \"GPB\";
option csharp_namespace = \"Google.Protobuf.WellKnownTypes\";

message DoubleValue {
  double value = 1;
}
message FloatValue {
  float value = 1;
}
message Int64Value {
  int64 value = 1;
}
message UInt64Value {
  uint64 value = 1;
}
message Int32Value {
  int32 value = 1;
}
message UInt32Value {
  uint32 value = 1;
}
message BoolValue {
  bool value = 1;
}
message StringValue {
  string value = 1;
}
message BytesValue {
  bytes value = 1;
}
";

/// The file of a type that fields of Connect's schemas become.
pub(super) fn import_of(type_name: &str) -> Option<&'static str> {
    Some(match type_name {
        super::vocabulary::DECIMAL_TYPE => "confluent/type/decimal.proto",
        super::vocabulary::DATE_TYPE => "google/type/date.proto",
        super::vocabulary::TIME_TYPE => "google/type/timeofday.proto",
        super::vocabulary::TIMESTAMP_TYPE => "google/protobuf/timestamp.proto",
        _ if wrapped(type_name).is_some() => WRAPPERS,
        _ => return None,
    })
}

/// The text of a file; empty for one of options.
pub(super) fn text(path: &str) -> Option<&'static str> {
    if OPTIONS_ONLY.contains(&path) {
        return Some("");
    }
    FILES.iter().find(|(known, _)| *known == path).map(|(_, text)| *text)
}

/// What a wrapper message wraps.
pub(super) fn wrapped(full_name: &str) -> Option<super::model::Scalar> {
    use super::model::Scalar;
    Some(match full_name.strip_prefix("google.protobuf.")? {
        "DoubleValue" => Scalar::Double,
        "FloatValue" => Scalar::Float,
        "Int64Value" => Scalar::Int64,
        "UInt64Value" => Scalar::Uint64,
        "Int32Value" => Scalar::Int32,
        "UInt32Value" => Scalar::Uint32,
        "BoolValue" => Scalar::Bool,
        "StringValue" => Scalar::String,
        "BytesValue" => Scalar::Bytes,
        _ => return None,
    })
}
