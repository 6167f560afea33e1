//! `aqueduct broker`.

use std::path::PathBuf;

use crate::{Broker, BrokerConfig, BrokerError};

/// What `aqueduct broker --help` prints.
pub const USAGE: &str = "\
Runs the embedded Kafka broker (one node, for development only).

Usage: aqueduct broker [OPTIONS]

  --listen HOST:PORT      address to listen on            [default: 127.0.0.1:9092]
  --advertised-host HOST  host name told to clients       [default: the listen address]
  --data-dir FOLDER       keep topics and offsets here    [default: in memory]
  --partitions N          partitions of new topics        [default: 1]
  --no-auto-create        do not create topics by themselves
";

/// Runs a broker until Ctrl-C or SIGTERM. `args` are the words after `aqueduct broker`.
///
/// # Errors
/// Wrong arguments, an address in use, an unusable data folder.
pub async fn run(args: impl IntoIterator<Item = String>) -> Result<(), BrokerError> {
    let Some(config) = parse(args)? else {
        print!("{USAGE}");
        return Ok(());
    };
    let broker = Broker::start(config).await?;
    println!("Kafka broker for development on {}. Stop it with Ctrl-C.", broker.addr());
    wait_for_signal().await;
    broker.shutdown().await;
    Ok(())
}

#[cfg(unix)]
async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn wait_for_signal() {
    let _ = tokio::signal::ctrl_c().await;
}

/// The configuration, or `None` for help.
fn parse(args: impl IntoIterator<Item = String>) -> Result<Option<BrokerConfig>, BrokerError> {
    let mut config = BrokerConfig { listen: ([127, 0, 0, 1], 9092).into(), ..BrokerConfig::default() };
    let mut args = args.into_iter();
    while let Some(argument) = args.next() {
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        let mut value =
            || inline.clone().or_else(|| args.next()).ok_or_else(|| usage(&format!("{name} needs a value")));
        match name.as_str() {
            "--help" | "-h" => return Ok(None),
            "--listen" => {
                let value = value()?.replace("localhost", "127.0.0.1");
                config.listen = value.parse().map_err(|_| {
                    usage(&format!("--listen {value}: not an IP address and port, e.g. 127.0.0.1:9092"))
                })?;
            }
            "--advertised-host" => config.advertised_host = Some(value()?),
            "--data-dir" => config.data_dir = Some(PathBuf::from(value()?)),
            "--partitions" => {
                let value = value()?;
                let count = value.parse().ok().filter(|n| (1..=crate::state::MAX_PARTITIONS).contains(n));
                config.default_partitions = count
                    .ok_or_else(|| usage(&format!("--partitions {value}: not a number from 1 to 10000")))?;
            }
            "--no-auto-create" => config.auto_create_topics = false,
            other => return Err(usage(&format!("unknown argument {other}"))),
        }
    }
    Ok(Some(config))
}

fn usage(reason: &str) -> BrokerError {
    BrokerError::Usage(format!("{reason}; see aqueduct broker --help"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Option<BrokerConfig>, BrokerError> {
        parse(args.iter().map(ToString::to_string))
    }

    #[test]
    fn arguments_are_read_and_wrong_ones_named() {
        let config =
            parsed(&["--listen", "0.0.0.0:19", "--partitions=3", "--no-auto-create"]).unwrap().unwrap();
        assert_eq!(config.listen.port(), 19);
        assert_eq!(config.default_partitions, 3);
        assert!(!config.auto_create_topics);
        assert!(parsed(&["--help"]).unwrap().is_none());
        for bad in [&["--listen"][..], &["--listen", "x"], &["--partitions", "0"], &["--port", "1"]] {
            assert!(parsed(bad).unwrap_err().to_string().contains(bad[0]));
        }
    }
}
