//! The first exchange on a connection: which versions the broker speaks.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::connection::Connection;
use crate::guard::decode_response;
use crate::{Error, ErrorCode, ErrorKind, Result};

/// What a broker speaks.
#[derive(Debug, Clone, Default)]
pub(super) struct Versions {
    apis: HashMap<i16, (i16, i16)>,
    /// Finalized feature levels (KIP-584).
    pub(super) features: HashMap<String, i16>,
}

impl Versions {
    /// The highest version of `api` that broker `node` and `ours` share.
    pub(super) fn pick(&self, api: ApiKey, ours: RangeInclusive<i16>, node: i32) -> Result<i16> {
        let unsupported = |theirs: String| {
            let message = format!(
                "broker {node} speaks {theirs} of {api:?}, needed is one of {} to {}: brokers from 2.8 on are supported",
                ours.start(),
                ours.end()
            );
            Error::new(ErrorKind::UnsupportedVersion, message)
        };
        let Some((min, max)) = self.apis.get(&(api as i16)) else {
            return Err(unsupported("no version".into()));
        };
        let highest = (*max).min(*ours.end());
        if highest >= (*min).max(*ours.start()) {
            Ok(highest)
        } else {
            Err(unsupported(format!("versions {min} to {max}")))
        }
    }
}

/// Asks for the versions: the newest form first, the oldest where the broker doesn't know it (KIP-511).
pub(super) async fn api_versions(connection: &Connection) -> Result<Versions> {
    let answer = exchange(connection, 3).await?;
    let answer = match ErrorCode::try_from_code(answer.error_code) {
        Some(ErrorCode::UnsupportedVersion) => exchange(connection, 0).await?,
        _ => answer,
    };
    if let Some(code) = ErrorCode::try_from_code(answer.error_code) {
        return Err(Error::broker(code, "the broker's versions"));
    }
    let apis = answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
    let features =
        answer.finalized_features.iter().map(|f| (f.name.to_string(), f.max_version_level)).collect();
    Ok(Versions { apis, features })
}

async fn exchange(connection: &Connection, version: i16) -> Result<ApiVersionsResponse> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("aqueduct"))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
    let mut body = bytes::BytesMut::new();
    let malformed = |error| Error::new(ErrorKind::Protocol, format!("ApiVersions cannot be read: {error}"));
    request.encode(&mut body, version).map_err(malformed)?;
    let mut answer = connection.enqueue(ApiKey::ApiVersions, version, vec![body.freeze()], true)?.await?;
    // A broker that doesn't know the version answers in version 0.
    let refused = answer.starts_with(&ErrorCode::UnsupportedVersion.code().to_be_bytes());
    let version = if refused { 0 } else { version };
    decode_response(ApiKey::ApiVersions, version, &mut answer).map_err(|error| {
        Error::new(ErrorKind::Protocol, format!("the answer to ApiVersions is malformed: {error}"))
    })
}
