//! Errors of requests.

/// An error of a request, with the HTTP status that Kafka Connect gives it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HerderError {
    /// HTTP status.
    pub status: u16,
    /// The text that clients see.
    pub message: String,
    /// The worker that can do what was asked, as `http://host:port/`: REST passes the request on. Status and message are what
    /// clients see where that is not possible.
    pub forward: Option<String>,
}

impl HerderError {
    /// An error with this HTTP status.
    pub fn new(status: u16, message: impl Into<String>) -> HerderError {
        HerderError { status, message: message.into(), forward: None }
    }

    /// The worker at this URL has to be asked: the leader, or the owner of a connector or task. Without a URL it is 409.
    pub fn ask_other(url: Option<String>) -> HerderError {
        let message = match url {
            Some(_) => "Cannot complete request because of a conflicting operation (e.g. worker rebalance)",
            None => {
                "Cannot complete request momentarily due to no known leader URL, likely because a rebalance was underway."
            }
        };
        HerderError { status: 409, message: message.to_owned(), forward: url }
    }

    /// A rebalance is in the way, or another operation on the same thing.
    pub fn conflict(message: impl Into<String>) -> HerderError {
        HerderError::new(409, message)
    }

    /// `Connector NAME not found`.
    pub fn not_found(connector: &str) -> HerderError {
        HerderError::new(404, format!("Connector {connector} not found"))
    }

    /// Offsets can be changed of stopped connectors only.
    pub fn not_stopped(connector: &str) -> HerderError {
        HerderError::new(
            400,
            format!(
                "Connectors must be in the STOPPED state before their offsets can be modified. This can be done for the specified connector by issuing a 'PUT' request to the '/connectors/{connector}/stop' endpoint"
            ),
        )
    }

    /// The answer to a configuration with these errors.
    pub fn invalid_config(errors: &[String]) -> HerderError {
        let count = errors.len();
        let list = errors.join("\n");
        HerderError::new(
            400,
            format!(
                "Connector configuration is invalid and contains the following {count} error(s):\n{list}\nYou can also find the above list of errors at the endpoint `/connector-plugins/{{connectorType}}/config/validate`"
            ),
        )
    }
}
