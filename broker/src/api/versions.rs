//! ApiVersions: what this broker speaks, and nothing else.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};

use crate::dispatch::Context;

/// API, lowest and highest version.
const SUPPORTED: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Produce, 3, 13),
    (ApiKey::Fetch, 4, 18),
    (ApiKey::ListOffsets, 1, 10),
    (ApiKey::Metadata, 0, 13),
    (ApiKey::FindCoordinator, 0, 6),
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::DeleteTopics, 1, 6),
];

/// Whether a request of this version is answered.
pub(crate) fn supports(key: i16, version: i16) -> bool {
    SUPPORTED.iter().any(|(api, min, max)| *api as i16 == key && (*min..=*max).contains(&version))
}

fn versions() -> Vec<ApiVersion> {
    let one = |(api, min, max): &(ApiKey, i16, i16)| {
        ApiVersion::default().with_api_key(*api as i16).with_min_version(*min).with_max_version(*max)
    };
    SUPPORTED.iter().map(one).collect()
}

/// The answer to a version of ApiVersions that is too new.
pub(crate) fn unsupported() -> ApiVersionsResponse {
    ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(versions())
}

/// ApiVersions.
pub(crate) fn api_versions(_: &Context<'_>, _: ApiVersionsRequest) -> ApiVersionsResponse {
    ApiVersionsResponse::default().with_api_keys(versions()).with_finalized_features_epoch(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_promised_that_cannot_be_read() {
        for (api, min, max) in SUPPORTED {
            let readable = api.valid_versions();
            assert!(*min >= readable.min && *max <= readable.max, "{api:?}");
            assert!(supports(*api as i16, *max) && !supports(*api as i16, max + 1));
        }
    }
}
