use std::net::IpAddr;
use std::path::PathBuf;

use adapter::{Addresses, Options, app};
use clap::Parser;

/// Turns Gateway API manifests into the configuration of a Doppel gateway.
///
/// Reads GatewayClass, Gateway, HTTPRoute, ReferenceGrant, Namespace, Service and EndpointSlice
/// objects, writes documents for doppel-gateway, and prints the status of each object. Gateways are
/// served whose class has the controllerName doppel.dev/gateway-controller.
#[derive(Parser)]
#[command(name = "doppel-adapter", version, max_term_width = 100)]
struct Flags {
    /// The folder of manifests (*.yaml, *.yml, *.json), or one file.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,

    /// The directory that documents are written to. Files of others in it are left alone.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,

    /// Go on until told to stop, and translate whenever a manifest changes. SIGHUP reads them all
    /// again.
    #[arg(long)]
    watch: bool,

    /// The gateway's process id, to send it SIGHUP once its documents are written.
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,

    /// The address that listeners bind.
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    bind: IpAddr,

    /// An address that clients reach the gateway by, for the status of Gateways; may be repeated.
    /// Without one, the address that listeners bind if that is a single one.
    #[arg(long, value_name = "ADDRESS")]
    address: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    let flags = Flags::parse();
    let mut addresses = flags.address;
    if addresses.is_empty() && !flags.bind.is_unspecified() {
        addresses.push(flags.bind.to_string());
    }
    let settings = app::Settings {
        from: flags.from,
        to: flags.to,
        pid_file: flags.pid_file,
        options: Options {
            bind: flags.bind,
            addresses: Addresses::Host { addresses, gateway_service: None },
            ..Options::default()
        },
    };
    let mut output = std::io::stdout().lock();
    if !flags.watch {
        return app::run(settings, &mut output);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(app::watch(settings, &mut output))
}
