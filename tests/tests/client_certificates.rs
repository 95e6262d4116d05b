//! Certificates of clients: who is let in by which listener, and what a session is good for.

use std::net::SocketAddr;

use doppel_tests::{Authority, Dialer, Echo, Identity, Setup, World};
use rustls::version::{TLS12, TLS13};

/// A listener for this host, which asks for certificates as the fields say.
fn listener(name: &str, hostname: &str, clients: &str) -> String {
    format!(
        "listener: {{name: {name}, address: '127.0.0.1:0', hostname: {hostname}, tls: {{certificates: [server]{clients}}}}}"
    )
}

const KNOWN: &str = ", clients: {authorities: [known]}";
const ASKED: &str = ", clients: {authorities: [known], required: false}";

fn setup(primary: &Echo, authority: &Authority) -> Setup {
    Setup::empty()
        .document(&Identity::new(&["a.test"]).document("server"))
        .document(&authority.document("known"))
        .backend("primary", primary)
        .document("route: {name: route, listeners: [asked, open], rules: [{backends: [{backend: primary}]}]}")
}

/// What a request comes to: none if there was no answer. Clients with TLS 1.3 hear only after their
/// handshake that they are not let in.
async fn visit(dialer: &Dialer, address: SocketAddr, name: &str) -> Option<(u16, bool)> {
    let (mut client, agreed) = dialer.try_connect(address, name).await.ok()?;
    client.try_send(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n")).await.ok()?;
    Some((client.maybe_answer().await?.status, agreed.is_resumed))
}

async fn is_let_in(dialer: &Dialer, world: &World) -> bool {
    visit(dialer, world.address_of("asked"), "a.test").await.is_some_and(|(status, _)| status == 200)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_are_let_in_whom_an_authority_knows() {
    let (known, unknown, primary) = (Authority::new(), Authority::new(), Echo::start().await);
    let world = setup(&primary, &known).document(&listener("asked", "a.test", KNOWN)).start().await;
    let clients = [
        (Some(known.identity(&["client.test"])), true),
        (Some(known.expired(&["client.test"])), false),
        (Some(unknown.identity(&["client.test"])), false),
        (Some(Identity::new(&["client.test"])), false),
        (None, false),
    ];
    for version in [&TLS12, &TLS13] {
        for (identity, expected) in &clients {
            let dialer = Dialer::of(&[version]);
            let dialer = identity.iter().fold(dialer, |dialer, identity| dialer.as_who(identity));
            assert_eq!(is_let_in(&dialer, &world).await, *expected, "{version:?}");
        }
    }
    assert_eq!(primary.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_let_in_where_the_answer_does_not_matter() {
    let (known, unknown, primary) = (Authority::new(), Authority::new(), Echo::start().await);
    let world = setup(&primary, &known).document(&listener("asked", "a.test", ASKED)).start().await;
    for version in [&TLS12, &TLS13] {
        let dialer = Dialer::of(&[version]);
        assert!(is_let_in(&dialer, &world).await, "{version:?}");
        for identity in [known.identity(&["a"]), unknown.identity(&["a"]), known.expired(&["a"]), Identity::new(&["a"])]
        {
            assert!(is_let_in(&dialer.clone().as_who(&identity), &world).await, "{version:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_no_way_around_the_question() {
    let (known, other, primary) = (Authority::new(), Authority::new(), Echo::start().await);
    let setup = |authority: &Authority, clients: &str| {
        setup(&primary, authority)
            .document(&listener("asked", "a.test", clients))
            .document(&listener("open", "a.test", "").replace("127.0.0.1:0", "127.0.0.2:0"))
    };
    let mut world = setup(&known, KNOWN).start().await;
    for version in [&TLS12, &TLS13] {
        world.reload(&setup(&known, KNOWN)).await;
        let (asked, open) = (world.address_of("asked"), world.address_of("open"));
        // One that was begun where nobody asks.
        let nobody = Dialer::of(&[version]);
        assert_eq!(visit(&nobody, open, "a.test").await, Some((200, false)), "{version:?}");
        assert_eq!(visit(&nobody, open, "a.test").await, Some((200, true)), "{version:?}");
        assert_eq!(visit(&nobody, asked, "a.test").await, None, "{version:?}");

        // One that was begun by who is let in, and is good for as long as that is so.
        let somebody = Dialer::of(&[version]).as_who(&known.identity(&["client.test"]));
        assert_eq!(visit(&somebody, asked, "a.test").await, Some((200, false)), "{version:?}");
        assert_eq!(visit(&somebody, asked, "a.test").await, Some((200, true)), "{version:?}");
        let neighbour = setup(&known, KNOWN).document(&listener("neighbour", "b.test", KNOWN));
        world.reload(&neighbour).await;
        assert_eq!(visit(&somebody, asked, "a.test").await, Some((200, true)), "{version:?}");
        world.reload(&setup(&other, KNOWN)).await;
        assert_eq!(visit(&somebody, asked, "a.test").await, None, "{version:?}");

        // One that was begun by who could prove nothing, where that did not matter yet.
        world.reload(&setup(&known, ASKED)).await;
        let nobody = Dialer::of(&[version]);
        assert_eq!(visit(&nobody, asked, "a.test").await, Some((200, false)), "{version:?}");
        world.reload(&setup(&known, KNOWN)).await;
        assert_eq!(visit(&nobody, asked, "a.test").await, None, "{version:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_authorities_a_listener_refuses_its_clients_alone() {
    let (known, primary) = (Authority::new(), Echo::start().await);
    let world = setup(&primary, &known)
        .document(&listener("asked", "a.test", ", clients: {authorities: [missing]}"))
        .document(&listener("open", "b.test", ""))
        .start()
        .await;
    let dialer = Dialer::http1().as_who(&known.identity(&["client.test"]));
    let error = dialer.refused(world.address_of("asked"), "a.test").await;
    assert!(error.contains("HandshakeFailure"), "{error}");
    assert_eq!(visit(&dialer, world.address_of("open"), "b.test").await, Some((200, false)));
    assert!(world.admin("/config").await.contains("there is no authorities missing"));
}
