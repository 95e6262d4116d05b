//! Mirrors as users write them: Kubernetes manifests, through the adapter's translation, into a
//! running gateway.

use adapter::status::Truth;
use doppel_tests::{Echo, Manifests, Receipt, World};

const PAGE: &str = "examples/traffic-mirroring";

/// The manifests of the traffic-mirroring page, and a pod for each of its Services.
async fn page() -> (Manifests, Echo, Echo) {
    let (pipy, mirror) = (Echo::start().await, Echo::start().await);
    let manifests = Manifests::folder(PAGE).pod("server/pipy", &pipy).pod("server/pipy-mirror", &mirror);
    (manifests, pipy, mirror)
}

async fn hello(world: &World) {
    let answer = world.client().await.post("/", "Hello world").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "Hello world"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_before_and_after_its_filter() {
    let (manifests, pipy, mirror) = page().await;
    let mut world = manifests.setup().start().await;
    hello(&world).await;
    assert!(pipy.only().await.is_complete());
    assert_eq!(mirror.connections(), 0);

    world.reload(&manifests.clone().apply_file(&format!("{PAGE}/mirror/all.yaml")).setup()).await;
    hello(&world).await;
    let (original, copy) = (pipy.ended(2).await.remove(1), mirror.only().await);
    assert_eq!((copy.head.text(), copy.body.text()), (original.head.text(), "Hello world".to_owned()));
    assert!(original.is_complete() && copy.is_complete());
    assert_eq!(world.mirror_account(1).await.completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_of_a_hundred_are_copied() {
    const REQUESTS: u64 = 500;
    let (manifests, _pipy, mirror) = page().await;
    let world = manifests.apply_file(&format!("{PAGE}/mirror/10-percent.yaml")).setup().start().await;
    let mut client = world.client().await;
    for _ in 0..REQUESTS {
        assert_eq!(client.get("/").await.status, 200);
    }
    let account = world.mirror_account(REQUESTS).await;
    assert!(account.completed.abs_diff(50) <= 20, "{account:?}");
    assert_eq!(mirror.count() as u64, account.completed);
}

/// The page's route with one filter more.
fn route(filter: &str) -> String {
    format!(
        "
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {{name: foo, namespace: server}}
        spec:
          parentRefs: [{{name: simple-fsm-gateway, port: 8000}}]
          rules:
            - filters:
                - type: RequestMirror
                  requestMirror: {{backendRef: {{name: pipy-mirror, port: 8080}}}}
                - type: RequestMirror
                  requestMirror: {filter}
              backendRefs: [{{name: pipy, port: 8080}}]
        "
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_leads_nowhere_is_the_only_one_that_drops() {
    let elsewhere =
        "{apiVersion: v1, kind: Service, metadata: {name: copy, namespace: other}, spec: {ports: [{port: 8080}]}}";
    for (backend_ref, reason) in [
        ("{name: absent, port: 8080}", "BackendNotFound"),
        ("{name: pipy, port: 1}", "BackendNotFound"),
        ("{name: pipy}", "BackendNotFound"),
        ("{name: copy, namespace: other, port: 8080}", "RefNotPermitted"),
        ("{name: pipy, kind: ConfigMap, port: 8080}", "InvalidKind"),
    ] {
        let (manifests, _pipy, mirror) = page().await;
        let manifests = manifests.apply(elsewhere).apply(&route(&format!("{{backendRef: {backend_ref}}}")));
        let condition = manifests.route_condition("HTTPRoute server/foo", "ResolvedRefs");
        assert_eq!((condition.status, condition.reason), (Truth::False, reason), "{backend_ref}");
        let world = manifests.setup().start().await;
        hello(&world).await;
        assert!(mirror.only().await.is_complete());
        let account = world.mirror_account(2).await;
        assert_eq!(
            (account.completed, account.reasons["skipped invalid_target"]),
            (1, 1),
            "{backend_ref}: {account:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_in_another_namespace_is_served_with_a_grant() {
    let (manifests, _pipy, _mirror) = page().await;
    let elsewhere = Echo::start().await;
    let manifests = manifests
        .apply(
            "{apiVersion: v1, kind: Service, metadata: {name: copy, namespace: other}, spec: {ports: [{port: 8080}]}}",
        )
        .apply(&route("{backendRef: {name: copy, namespace: other, port: 8080}}"))
        .apply(
            "
            apiVersion: gateway.networking.k8s.io/v1
            kind: ReferenceGrant
            metadata: {name: copies, namespace: other}
            spec:
              from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: server}]
              to: [{group: '', kind: Service, name: copy}]
            ",
        )
        .pod("other/copy", &elsewhere);
    let world = manifests.setup().start().await;
    hello(&world).await;
    assert!(elsewhere.only().await.is_complete());
    assert_eq!(world.mirror_account(2).await.completed, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_service_twice_gets_each_share() {
    let (manifests, _pipy, mirror) = page().await;
    let world =
        manifests.apply(&route("{backendRef: {name: pipy-mirror, port: 8080}, percent: 0}")).setup().start().await;
    for _ in 0..5 {
        hello(&world).await;
    }
    let account = world.mirror_account(10).await;
    assert_eq!((account.completed, account.sampled_out), (5, 5), "{account:?}");
    assert_eq!(mirror.count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_whose_pods_go_and_come_back() {
    let (manifests, pipy, mirror) = page().await;
    let manifests = manifests.apply_file(&format!("{PAGE}/mirror/all.yaml"));
    let mut world = manifests.setup().start().await;
    hello(&world).await;
    world.mirror_account(1).await;

    world.reload(&manifests.clone().without_pods("server/pipy-mirror").setup()).await;
    hello(&world).await;
    let account = world.mirror_account(2).await;
    assert_eq!(account.reasons["skipped no_endpoint"], 1, "{account:?}");

    let other = Echo::start().await;
    world.reload(&manifests.clone().pods("server/pipy-mirror", &[&mirror, &other]).setup()).await;
    for _ in 0..4 {
        hello(&world).await;
    }
    // Each copy goes to one of them.
    assert_eq!(world.mirror_account(6).await.completed, 5);
    assert_eq!((mirror.count(), other.count(), pipy.count()), (3, 2, 6));
    assert!(other.receipts().iter().all(Receipt::is_complete));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backends_own_mirror_gets_that_backends_share_once() {
    let (manifests, pipy, mirror) = page().await;
    let canary = Echo::start().await;
    let route = "
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: foo, namespace: server}
        spec:
          parentRefs: [{name: simple-fsm-gateway, port: 8000}]
          rules:
            - backendRefs:
                - name: pipy
                  port: 8080
                - name: canary
                  port: 8080
                  filters:
                    - type: RequestMirror
                      requestMirror: {backendRef: {name: pipy-mirror, port: 8080}}
        ";
    let service =
        "{apiVersion: v1, kind: Service, metadata: {name: canary, namespace: server}, spec: {ports: [{port: 8080}]}}";
    let world = manifests.apply(service).apply(route).pod("server/canary", &canary).setup().start().await;
    for _ in 0..10 {
        hello(&world).await;
    }
    assert_eq!((pipy.count(), canary.count()), (5, 5));
    assert_eq!(world.mirror_account(5).await.completed, 5);
    assert_eq!(mirror.count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_speaks_what_its_service_says() {
    let (manifests, _pipy, _mirror) = page().await;
    let h2c = Echo::h2c(|_, _| doppel_tests::Step::echo()).await;
    let service = "
        apiVersion: v1
        kind: Service
        metadata: {name: pipy-mirror, namespace: server}
        spec: {ports: [{port: 8080, appProtocol: kubernetes.io/h2c}]}
        ";
    let manifests = manifests.apply(service).apply_file(&format!("{PAGE}/mirror/all.yaml"));
    let world = manifests.pod("server/pipy-mirror", &h2c).setup().start().await;
    hello(&world).await;
    assert!(h2c.only().await.is_complete());
    assert_eq!(world.mirror_account(1).await.completed, 1);
}
