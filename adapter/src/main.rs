//! What the user wrote: flags. The rest is the library's.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use adapter::api::ObjectKey;
use adapter::{Addresses, Options, ServiceType, app, cluster};
use clap::{Args, Parser, ValueEnum};
use log::LevelFilter;

/// Turns Gateway API objects into the configuration of a Doppel gateway.
///
/// Reads Gateways, ListenerSets, their routes, classes, policies and grants, and the Namespaces, Services,
/// EndpointSlices, TLS Secrets and ConfigMaps that these speak of; writes documents for doppel-gateway, and
/// reports the status of each object. Serves Gateways whose class has the controllerName
/// doppel.dev/gateway-controller.
///
/// In a cluster it watches the API server and writes statuses there. With --from it reads manifests
/// from files, and prints statuses.
#[derive(Parser)]
#[command(name = "doppel-adapter", version, max_term_width = 100)]
struct Flags {
    /// The folder of manifests (*.yaml, *.yml, *.json), or one file. Without it, objects come from the
    /// API server.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,

    /// The directory that documents are written to. Files of others in it are left alone.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,

    /// Go on until told to stop, and translate whenever a manifest changes. SIGHUP reads them all
    /// again.
    #[arg(long, requires = "from")]
    watch: bool,

    /// The gateway's process id, to send it SIGHUP once its documents are written.
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,

    /// Log level of the standard error: off, error, warn, info, debug or trace. RUST_LOG, if it is
    /// set, replaces it, in the syntax of env_logger.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: LevelFilter,

    /// The address that listeners bind.
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    bind: IpAddr,

    /// An address that clients reach the gateway by, for the status of Gateways; may be repeated. Only
    /// with --from or --expose host. Without one, that which listeners bind, if it is a single one.
    #[arg(long, value_name = "ADDRESS")]
    address: Vec<String>,

    #[command(flatten)]
    cluster: Cluster,
}

#[derive(Args)]
#[command(next_help_heading = "In a cluster")]
struct Cluster {
    /// How to reach the API server from outside the cluster. Without it, the service account of the
    /// pod says how.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    kubeconfig: Option<PathBuf>,

    /// How clients reach Gateways: each by a Service of its own, which the adapter makes, or all at the
    /// ports of the nodes that gateway pods run on.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Expose::Service, conflicts_with = "from")]
    expose: Expose,

    /// The type of the Services made for Gateways: LoadBalancer, ClusterIP or NodePort.
    #[arg(long, value_name = "TYPE", default_value = "LoadBalancer", conflicts_with = "from")]
    service_type: ServiceType,

    /// The Service that selects the gateway pods. Their addresses are taken from its EndpointSlices.
    /// Without it, the Service doppel-gateway of the adapter's own namespace.
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with = "from")]
    gateway_service: Option<ObjectKey>,

    /// The admin port of the gateways in those pods. Each is asked there, for a second at most, whether
    /// it serves what a status is about to tell.
    #[arg(long, value_name = "PORT", default_value_t = 19000)]
    gateway_admin: u16,

    /// Where this adapter answers /livez, /readyz (once everything is translated) and /metrics.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:19001")]
    admin: SocketAddr,

    /// The name of this adapter among those that elect the one that writes statuses. Without it, the
    /// host's name.
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pod_name: Option<String>,

    /// The namespace of the Lease doppel-adapter, by which they elect it.
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", default_value = "default")]
    pod_namespace: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Expose {
    Service,
    Host,
}

impl Cluster {
    fn gateway_service(&self) -> ObjectKey {
        self.gateway_service.clone().unwrap_or_else(|| ObjectKey::new(&self.pod_namespace, "doppel-gateway"))
    }

    /// `known` are those that nodes are reached by.
    fn addresses(&self, known: Vec<String>) -> Addresses {
        let gateway_service = self.gateway_service();
        match self.expose {
            Expose::Service => Addresses::Service { service_type: self.service_type, gateway_service },
            Expose::Host => Addresses::Host { addresses: known, gateway_service: Some(gateway_service) },
        }
    }

    fn settings(self, to: PathBuf, pid_file: Option<PathBuf>, options: Options) -> cluster::Settings {
        let gateway_service = self.gateway_service();
        let Self { kubeconfig, gateway_admin, admin, pod_name, pod_namespace, .. } = self;
        cluster::Settings {
            kubeconfig,
            to,
            pid_file,
            options,
            gateway_service,
            gateway_admin,
            admin,
            identity: pod_name.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned()),
            namespace: pod_namespace,
        }
    }
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(flags.log_level.as_str())).init();
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("doppel-adapter: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: Flags) -> anyhow::Result<()> {
    let mut addresses = flags.address;
    if addresses.is_empty() && !flags.bind.is_unspecified() {
        addresses.push(flags.bind.to_string());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bind = flags.bind;
    let Some(from) = flags.from else {
        let options = Options { bind, addresses: flags.cluster.addresses(addresses), ..Options::default() };
        return runtime.block_on(cluster::run(flags.cluster.settings(flags.to, flags.pid_file, options)));
    };
    let addresses = Addresses::Host { addresses, gateway_service: None };
    let options = Options { bind, addresses, ..Options::default() };
    let settings = app::Settings { from, to: flags.to, pid_file: flags.pid_file, options };
    let mut output = std::io::stdout().lock();
    if !flags.watch {
        return app::run(settings, &mut output);
    }
    runtime.block_on(app::watch(settings, &mut output))
}
