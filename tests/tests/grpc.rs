//! GRPCRoutes as users write them, through the adapter's translation, into a running gateway.

use adapter::status::Truth;
use doppel_tests::{Echo, Gate, H2Answer, H2Client, Manifests, Reply, Script, Step, World, message, refusing};

const GATEWAY: &str = "
    apiVersion: gateway.networking.k8s.io/v1
    kind: Gateway
    metadata: {name: web, namespace: shop}
    spec: {gatewayClassName: doppel, listeners: [{name: http, port: 80, protocol: HTTP}]}
    ";

/// A Gateway, and a route `calls` of this kind with these rules.
fn manifests(kind: &str, rules: &str) -> Manifests {
    Manifests::with_class().apply(GATEWAY).apply(&route(kind, rules))
}

fn route(kind: &str, rules: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: {kind}, metadata: {{name: calls, namespace: shop}}, \
         spec: {{parentRefs: [{{name: web}}], rules: [{rules}]}}}}"
    )
}

/// Services that each have one pod, which answers every call with the Service's name.
async fn named(mut manifests: Manifests, names: &[&'static str]) -> (World, Vec<Echo>) {
    let mut echoes = Vec::new();
    for &name in names {
        let echo = Echo::h2c(move |_, _| vec![Step::ReadAll, Step::Reply(Reply::messages(&[name]))]).await;
        manifests = manifests.apply(&service(name)).pod(&format!("shop/{name}"), &echo);
        echoes.push(echo);
    }
    (manifests.setup().start().await, echoes)
}

fn service(name: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: shop}}, spec: {{ports: [{{port: 80}}]}}}}"
    )
}

fn to(service: &str) -> String {
    format!("backendRefs: [{{name: {service}, port: 80}}]")
}

async fn call(client: &mut H2Client, method: &str, metadata: &[(&str, &str)]) -> H2Answer {
    let mut upload = client.call(method, metadata).await;
    let _ = upload.try_send(message("question")).await;
    upload.try_finish();
    upload.answer().await
}

/// The one message of an answer, or the status where there is none.
fn told(answer: &H2Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    match answer.body.bytes.get(5..) {
        Some(message) => String::from_utf8_lossy(message).into_owned(),
        None => answer.header("grpc-status").expect("an answer without messages has a status"),
    }
}

const UNIMPLEMENTED: &str = "12";
const UNAVAILABLE: &str = "14";

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_by_method_and_metadata() {
    let rules = [
        format!("{{matches: [{{method: {{service: shop.Cart, method: Add}}}}], {}}}", to("add")),
        format!("{{matches: [{{method: {{service: shop.Cart}}}}], {}}}", to("cart")),
        format!(
            "{{matches: [{{method: {{service: shop.Cart}}, headers: [{{name: Tenant, value: two}}]}}], {}}}",
            to("tenant")
        ),
        format!("{{matches: [{{method: {{method: Check}}}}], {}}}", to("check")),
        format!(
            "{{matches: [{{method: {{type: RegularExpression, service: 'shop[.].*', method: 'Get.*'}}}}], {}}}",
            to("get")
        ),
        format!("{{matches: [{{headers: [{{name: tenant, type: RegularExpression, value: 'x.*'}}]}}], {}}}", to("x")),
    ]
    .join(", ");
    let (world, _echoes) = named(manifests("GRPCRoute", &rules), &["add", "cart", "tenant", "check", "get", "x"]).await;
    let mut client = world.h2_client().await;
    for (method, metadata, expected) in [
        ("/shop.Cart/Add", &[][..], "add"),
        ("/shop.Cart/Add", &[("tenant", "two")], "add"),
        ("/shop.Cart/Remove", &[], "cart"),
        ("/shop.Cart/Remove", &[("tenant", "two")], "tenant"),
        ("/shop.Cart/Remove", &[("tenant", "Two")], "cart"),
        ("/shop.Cart/add", &[], "cart"),
        ("/shop.cart/Add", &[], UNIMPLEMENTED),
        ("/shop.CartX/Add", &[], UNIMPLEMENTED),
        ("/grpc.Health/Check", &[], "check"),
        ("/shop.Order/GetAll", &[], "get"),
        ("/shop.Order/Cancel", &[], UNIMPLEMENTED),
        ("/a.B/C", &[("tenant", "xy")], "x"),
    ] {
        let answer = call(&mut client, method, metadata).await;
        assert_eq!(told(&answer), expected, "{method} {metadata:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_shared_out_by_weight() {
    let rules = "{backendRefs: [{name: one, port: 80, weight: 7}, {name: two, port: 80, weight: 3}, {name: three, port: 80, weight: 0}]}";
    let (world, echoes) = named(manifests("GRPCRoute", rules), &["one", "two", "three"]).await;
    let mut client = world.h2_client().await;
    for _ in 0..50 {
        call(&mut client, "/shop.Cart/Add", &[]).await;
    }
    let counts: Vec<_> = echoes.iter().map(Echo::count).collect();
    assert!(counts[0].abs_diff(35) <= 2 && counts[2] == 0 && counts.iter().sum::<usize>() == 50, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_changed_in_both_directions() {
    let rules = "{
        filters: [
            {type: RequestHeaderModifier, requestHeaderModifier: {
                set: [{name: X-Set, value: new}], add: [{name: X-Add, value: two}], remove: [X-Gone]}},
            {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-Answer, value: new}]}}],
        backendRefs: [{name: one, port: 80}]}";
    let (world, echoes) = named(manifests("GRPCRoute", rules), &["one"]).await;
    let metadata = [("x-set", "old"), ("x-add", "one"), ("x-gone", "1"), ("x-kept", "k")];
    let answer = call(&mut world.h2_client().await, "/shop.Cart/Add", &metadata).await;
    assert_eq!((told(&answer).as_str(), answer.header("x-answer").as_deref()), ("one", Some("new")));
    let receipt = echoes[0].only().await;
    assert_eq!(receipt.head.values("x-set"), ["new"]);
    assert_eq!(receipt.head.values("x-add"), ["one", "two"]);
    assert_eq!((receipt.header("x-gone"), receipt.header("x-kept").as_deref()), (None, Some("k")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_route_may_share_the_host() {
    let web = Echo::named("web").await;
    let manifests = manifests("GRPCRoute", &format!("{{{}}}", to("calls")))
        .apply(&route("HTTPRoute", &format!("{{{}}}", to("web"))))
        .apply(&service("web"))
        .pod("shop/web", &web);
    let (world, _echoes) = named(manifests, &["calls"]).await;
    let mut client = world.h2_client().await;
    assert_eq!(told(&call(&mut client, "/shop.Cart/Add", &[]).await), "calls");
    assert_eq!(client.get("/shop.Cart/Add").await.text(), "web");
    assert_eq!(client.post("/shop.Cart/Add", "{}").await.text(), "web");
    assert_eq!(world.client().await.get("/").await.text(), "web");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_leads_nowhere_is_unavailable() {
    let (refused, _bound) = refusing();
    let absent = manifests("GRPCRoute", &format!("{{{}}}", to("absent")));
    let condition = absent.route_condition("GRPCRoute shop/calls", "ResolvedRefs");
    assert_eq!((condition.status, condition.reason), (Truth::False, "BackendNotFound"));
    let there = manifests("GRPCRoute", &format!("{{{}}}", to("there"))).apply(&service("there"));
    let refusing = there.clone().apply(&format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, \
         metadata: {{name: there-x, namespace: shop, labels: {{kubernetes.io/service-name: there}}}}, \
         ports: [{{port: {}}}], endpoints: [{{addresses: [{}]}}]}}",
        refused.port(),
        refused.ip()
    ));
    for manifests in [absent, there, refusing] {
        let world = manifests.setup().start().await;
        let answer = call(&mut world.h2_client().await, "/shop.Cart/Add", &[]).await;
        assert_eq!(told(&answer), UNAVAILABLE);
        assert!(answer.header("grpc-message").is_some_and(|message| message.contains("backend")), "{answer:?}");
    }
}

async fn scripted(script: impl Fn() -> Script + Send + Sync + 'static) -> (World, Echo) {
    let echo = Echo::h2c(move |_, _| script()).await;
    let manifests = manifests("GRPCRoute", &format!("{{{}}}", to("one"))).apply(&service("one"));
    (manifests.pod("shop/one", &echo).setup().start().await, echo)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_trailers_alone_arrives_as_such() {
    let (world, _echo) = scripted(|| {
        let reply = Reply { body: doppel_tests::ReplyBody::None, ..Reply::status(200) };
        let reply = reply.header("content-type", "application/grpc").header("grpc-status", "5");
        vec![Step::ReadAll, Step::Reply(reply.header("grpc-message", "no such cart"))]
    })
    .await;
    let answer = call(&mut world.h2_client().await, "/shop.Cart/Add", &[]).await;
    assert_eq!((told(&answer).as_str(), answer.trailers.len()), ("5", 0));
    assert_eq!(answer.header("grpc-message").as_deref(), Some("no such cart"));
    assert!(answer.error.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_many_fields_arrive_after_the_messages() {
    let (world, _echo) = scripted(|| {
        let mut reply = Reply::messages(&["one", "two"]);
        reply.trailers = vec![("grpc-status".into(), "8".into()), ("details-bin".into(), "CAgSBWJ1c3k".into())];
        vec![Step::ReadAll, Step::Reply(reply)]
    })
    .await;
    let mut answer = call(&mut world.h2_client().await, "/shop.Cart/Add", &[]).await;
    assert_eq!(answer.body.bytes, [message("one"), message("two")].concat());
    answer.trailers.sort();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(answer.trailers, [pair("details-bin", "CAgSBWJ1c3k"), pair("grpc-status", "8")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_its_server_breaks_off_does_not_end_in_order() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let (world, _echo) = scripted(move || {
        let begin = Step::Begin(Reply::status(200).header("content-type", "application/grpc"));
        vec![Step::ReadAll, begin, Step::write(message("one")), Step::Wait(waiting.clone()), Step::Reset]
    })
    .await;
    let mut client = world.h2_client().await;
    let mut upload = client.call("/shop.Cart/Add", &[]).await;
    upload.finish();
    assert_eq!(upload.receive().await, message("one"));
    gate.open();
    let answer = upload.answer().await;
    assert!(answer.error.is_some() && answer.trailers.is_empty(), "{answer:?}");
}
