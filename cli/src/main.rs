//! The `aqueduct` binary: reads the command line and the files it names, and hands over to the crates that do the work.

mod distributed;
mod dry_run;
mod listeners;
mod logging;
mod plugins;
mod quickstart;
mod signals;
mod standalone;
mod validate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Kafka Connect without the JVM: the same properties files, connectors, offsets and REST API.
#[derive(Parser)]
#[command(name = "aqueduct", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a standalone worker, with the files of the JVM's connect-standalone.
    Standalone(standalone::Arguments),
    /// Run a worker of a group, with the file of the JVM's connect-distributed; JVM workers may be in the same group.
    Distributed(distributed::Arguments),
    /// A broker, a worker and a sample flow in one process, to look at.
    Quickstart(quickstart::Arguments),
    /// Run the embedded single-node broker, for development only.
    #[command(disable_help_flag = true)]
    Broker {
        /// See aqueduct broker --help
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run a connector's converters and transforms over given records, offline.
    DryRun(dry_run::Arguments),
    /// Check connector files: every error, and keys that nothing uses.
    Validate(validate::Arguments),
    /// List the connectors of this binary.
    Plugins,
}

/// What ends the program: one line that names the thing and the remedy.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let done = |()| ExitCode::SUCCESS;
    let result = match command {
        Command::Plugins => plugins::print().map(done),
        Command::Validate(arguments) => block_on(validate::run(arguments)).map(done),
        Command::DryRun(arguments) => dry_run::run(&arguments),
        Command::Standalone(arguments) => block_on(standalone::run(arguments)).map(done),
        Command::Distributed(arguments) => block_on(distributed::run(arguments)).map(done),
        Command::Quickstart(arguments) => block_on(quickstart::run(arguments)).map(done),
        Command::Broker { arguments } => block_on(broker(arguments)).map(done),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("aqueduct: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn broker(arguments: Vec<String>) -> Result<(), Failure> {
    logging::start(logging::Default::Info);
    Ok(aqueduct_broker::run(arguments).await?)
}

/// Room for JSON of a thousand levels; what is not used is not taken from the system.
const STACK: usize = 8 << 20;

/// Runs to the end, and does not wait for threads that a read of standard input may hold for ever.
fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads())
        .thread_stack_size(STACK)
        .enable_all()
        .build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

/// A batch is handed on within its task, so few threads are enough; more would only cost wake-ups and memory.
fn worker_threads() -> usize {
    const MOST: usize = 8;
    std::thread::available_parallelism().map_or(1, usize::from).min(MOST)
}

/// An error and what caused it, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}
