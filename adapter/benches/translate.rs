//! What a translation of all objects costs, that of a change of one, and the publication of either,
//! among how many routes: `cargo bench -p doppel-adapter --bench translate`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adapter::publish::Directory;
use adapter::{Memo, Options, Snapshot, translate};

const SIZES: [usize; 3] = [10, 1_000, 5_000];
const ROUNDS: u32 = 20;

fn main() {
    println!(
        "routes, each with a Service of its own: translation and publication of all; of one changed route; \
         of the endpoints of one Service"
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
    let mut memo = Memo::default();
    let mut step = |snapshot: &Snapshot, changed: usize| {
        let began = Instant::now();
        let files = memo.translate(snapshot, &options).files;
        let translated = began.elapsed();
        let published = directory.publish(&files).expect("nothing is in the way");
        assert_eq!(published.changed.len(), changed);
        [translated, began.elapsed() - translated]
    };
    // A file for the listeners, and one for the revision.
    let [_, all] = step(&snapshot, 2 * size + 2);
    let mut mean = |change: &mut dyn FnMut(&mut Snapshot, u32)| {
        let mut sum = [Duration::ZERO; 2];
        for round in 0..ROUNDS {
            change(&mut snapshot, round);
            for (sum, time) in sum.iter_mut().zip(step(&snapshot, 2)) {
                *sum += time / ROUNDS;
            }
        }
        sum
    };
    let route = mean(&mut |snapshot, round| {
        let route = snapshot.http_routes.values_mut().next().expect("there are routes");
        Arc::make_mut(route).spec.hostnames = vec![format!("changed{round}.example.com")];
    });
    let endpoints = mean(&mut |snapshot, round| {
        let slice = snapshot.slices.values_mut().next().expect("there are EndpointSlices");
        Arc::make_mut(slice).endpoints[0].addresses = vec![format!("10.0.1.{round}")];
    });
    println!("{size:>5} routes: {translation:>9.2?} {all:>9.2?}; {route:>9.2?}; {endpoints:>9.2?}");
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
