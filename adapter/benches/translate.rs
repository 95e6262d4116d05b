//! What a translation of all objects costs, and the publication of a change of one, among how many
//! routes: `cargo bench -p doppel-adapter --bench translate`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use adapter::publish::Directory;
use adapter::{Options, Snapshot, translate};

const SIZES: [usize; 3] = [10, 1_000, 5_000];
const ROUNDS: u32 = 20;

fn main() {
    println!(
        "routes, each with a Service of its own: translation; first publication; publication of one changed route"
    );
    for size in SIZES {
        measure(size);
    }
}

fn measure(size: usize) {
    let options = Options::default();
    let mut snapshot = Snapshot::from_manifests(&manifests(size)).0;
    let began = Instant::now();
    for _ in 0..ROUNDS {
        black_box(translate(black_box(&snapshot), &options));
    }
    let translation = began.elapsed() / ROUNDS;

    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let mut directory = Directory::open(folder.path()).expect("it was just made");
    let mut publish = |snapshot: &Snapshot, changed: usize| {
        let files = translate(snapshot, &options).files;
        let began = Instant::now();
        let published = directory.publish(files).expect("nothing is in the way");
        assert_eq!(published.changed.len(), changed);
        began.elapsed()
    };
    // A file for the listeners, and one for the revision.
    let first = publish(&snapshot, 2 * size + 2);
    let mut change = Duration::ZERO;
    for round in 0..ROUNDS {
        let route = snapshot.http_routes.values_mut().next().expect("there are routes");
        route.spec.hostnames = vec![format!("changed{round}.example.com")];
        change += publish(&snapshot, 2);
    }
    println!("{size:>5} routes: {translation:>9.2?} {first:>9.2?} {:>9.2?}", change / ROUNDS);
}

fn manifests(size: usize) -> String {
    let mut text = String::from(
        "{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: c}, \
         spec: {controllerName: doppel.dev/gateway-controller}}\n---\n\
         {apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: web, namespace: shop}, \
         spec: {gatewayClassName: c, listeners: [{name: http, port: 80, protocol: HTTP}]}}\n",
    );
    for i in 0..size {
        text.push_str(&format!(
            "---\n{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: r{i}, namespace: shop}}, \
             spec: {{parentRefs: [{{name: web}}], hostnames: [h{i}.example.com], rules: [\
             {{matches: [{{path: {{value: /a}}}}], backendRefs: [{{name: s{i}, port: 80}}]}}, \
             {{backendRefs: [{{name: s{i}, port: 80}}]}}]}}}}\n\
             ---\n{{apiVersion: v1, kind: Service, metadata: {{name: s{i}, namespace: shop}}, spec: {{ports: [{{port: 80}}]}}}}\n\
             ---\n{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, \
             metadata: {{name: s{i}-x, namespace: shop, labels: {{kubernetes.io/service-name: s{i}}}}}, \
             endpoints: [{{addresses: [10.0.0.1]}}, {{addresses: [10.0.0.2]}}], ports: [{{port: 8080}}]}}\n",
        ));
    }
    text
}
