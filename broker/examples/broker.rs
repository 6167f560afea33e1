//! The broker alone: `cargo run -p aqueduct-broker --example broker -- --listen 127.0.0.1:9092`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(aqueduct_broker::run(std::env::args().skip(1)))?;
    Ok(())
}
