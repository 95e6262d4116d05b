//! A mirror in trouble, of every kind: the requests that it gets copies of go on as if there were
//! no mirror, those that follow on the same connection too.

use std::net::SocketAddr;
use std::time::Duration;

use doppel_tests::{
    Echo, Gate, Head, MirrorAccount, Pattern, Reply, Script, Setup, Step, World, full_backlog, refusing,
};

/// With times short enough that copies to a mirror that does nothing end within the test.
async fn impatient(setup: Setup) -> World {
    World::start_with(setup, |settings| {
        let limits = &mut settings.mirror;
        limits.connect = Duration::from_millis(300);
        limits.write_idle = Duration::from_millis(300);
        limits.response_head = Duration::from_millis(300);
        limits.drain = Duration::from_millis(300);
    })
    .await
}

const ROUNDS: u64 = 3;

/// Sends requests of every kind, again and again over the same two connections, and says what became of their copies.
/// Each must be answered as without a mirror.
async fn unharmed(primary: &Echo, setup: Setup) -> MirrorAccount {
    let world = impatient(setup).await;
    let (mut h1, mut h2) = (world.client().await, world.h2_client().await);
    let body = Pattern::new(70_000);
    for _ in 0..ROUNDS {
        assert_eq!(h1.get("/").await.status, 200);
        assert_eq!(h1.post("/", body.bytes()).await.body, body.body());
        let chunked = "PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
        assert_eq!(h1.exchange(chunked).await.text(), "body");
        assert_eq!(h2.post("/", body.bytes()).await.body, body.body());
        assert_eq!(h2.get("/").await.status, 200);
    }
    let requests = 5 * ROUNDS;
    assert_eq!(primary.count() as u64, requests);
    assert!(primary.receipts().iter().all(|receipt| receipt.is_complete()));
    world.mirror_account(requests).await
}

async fn unharmed_by(mirror: SocketAddr) -> MirrorAccount {
    let primary = Echo::start().await;
    let setup = Setup::mirrored_to(&primary, mirror);
    unharmed(&primary, setup).await
}

async fn unharmed_by_script(script: impl Fn(usize, &Head) -> Script + Send + Sync + 'static) -> (MirrorAccount, Echo) {
    let mirror = Echo::scripted(script).await;
    (unharmed_by(mirror.address()).await, mirror)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_refuses() {
    let (refused, _bound) = refusing();
    let account = unharmed_by(refused).await;
    assert_eq!((account.completed, account.failed + account.aborted + account.dropped), (0, 15), "{account:?}");
    assert!(account.reasons["failed connect"] > 0, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_cannot_be_reached() {
    let (address, _full) = full_backlog().await;
    let account = unharmed_by(address).await;
    assert_eq!(account.completed, 0, "{account:?}");
    assert!(account.reasons.contains_key("failed connect_timeout"), "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_never_reads() {
    let mirror = Echo::never_reads().await;
    let account = unharmed_by(mirror.address()).await;
    assert_eq!((account.completed, account.failed), (0, 15), "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_never_answers() {
    let (account, mirror) = unharmed_by_script(|_, _| Step::never_answer()).await;
    assert_eq!(account.reasons["failed answer_timeout"], 15, "{account:?}");
    assert!(mirror.receipts().iter().all(|copy| copy.is_complete()));
    // None of these connections was used again.
    assert_eq!(mirror.connections(), 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_resets_after_the_head() {
    let (account, _mirror) = unharmed_by_script(|_, _| vec![Step::Reset]).await;
    assert_eq!(account.failed, 15, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_resets_within_the_body() {
    let (account, _mirror) = unharmed_by_script(|_, _| vec![Step::Read(3), Step::Reset]).await;
    assert_eq!(account.failed, 15, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_resets_after_the_body() {
    let (account, _mirror) = unharmed_by_script(|_, _| vec![Step::ReadAll, Step::Reset]).await;
    assert_eq!(account.failed, 15, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_closes_within_the_body() {
    let (account, _mirror) = unharmed_by_script(|_, _| vec![Step::Read(3), Step::Close]).await;
    assert_eq!(account.failed, 15, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_answers_before_it_reads() {
    // The body is read all the same: the copy is whole, whenever its answer came.
    let (account, mirror) = unharmed_by_script(|_, _| vec![Step::Reply(Reply::status(202)), Step::ReadAll]).await;
    assert_eq!((account.completed, account.failed), (15, 0), "{account:?}");
    assert!(mirror.receipts().iter().all(|copy| copy.is_complete()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_answers_and_closes_before_it_reads() {
    let (account, _mirror) = unharmed_by_script(|_, _| vec![Step::Reply(Reply::status(413)), Step::Close]).await;
    assert_eq!(account.ended(), 15, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_answers_with_errors_and_redirects() {
    for (status, class) in [(401, "4xx"), (500, "5xx"), (302, "3xx"), (204, "2xx")] {
        let reply = match status {
            204 => Reply { body: doppel_tests::ReplyBody::None, ..Reply::status(204) },
            _ => Reply::status(status).header("Location", "http://elsewhere.test/"),
        };
        let (account, mirror) = unharmed_by_script(move |_, _| vec![Step::ReadAll, Step::Reply(reply.clone())]).await;
        assert_eq!(account.reasons[&format!("completed {class}")], 15, "{account:?}");
        assert_eq!(mirror.count(), 15);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_sends_interim_answers() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    let (account, _mirror) =
        unharmed_by_script(move |_, _| vec![Step::write(interim), Step::ReadAll, Step::Reply(Reply::status(200))])
            .await;
    assert_eq!(account.completed, 15, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_floods() {
    let floods: [(&str, &str); 4] = [
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("HTTP/1.1 200 OK\r\nX-Long: ", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n", "0123456789abcdef0123456789abcdef0123456789abcdef"),
        ("HTTP/1.1 200 OK\r\n\r\n", "0123456789abcdef0123456789abcdef0123456789abcdef"),
    ];
    for (head, flood) in floods {
        let flood = bytes::Bytes::from(flood.repeat(100));
        let script = move |_: usize, _: &Head| vec![Step::ReadAll, Step::write(head), Step::Flood(flood.clone())];
        let (account, mirror) = unharmed_by_script(script).await;
        assert_eq!(account.ended() + account.dropped, 15, "{account:?}");
        // What was not read to its end is not used again.
        assert_eq!(mirror.connections(), mirror.count());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_drips() {
    let drip = Step::Drip(Duration::from_millis(10));
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
    let (account, mirror) = unharmed_by_script(move |_, _| vec![Step::ReadAll, Step::write(head), drip.clone()]).await;
    assert_eq!(account.ended(), 15, "{account:?}");
    assert_eq!(mirror.connections(), 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_talks_nonsense() {
    let nonsense = [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nX-Nul: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 999999 OK\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nmore than was said",
        "\0\0\0\0\r\n\r\n\r\n\r\n",
    ];
    for answer in nonsense {
        let (account, _mirror) =
            unharmed_by_script(move |_, _| vec![Step::ReadAll, Step::write(answer), Step::Close]).await;
        assert_eq!(account.ended(), 15, "{answer:?}: {account:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_speaks_another_protocol() {
    let mirror = Echo::start().await;
    let primary = Echo::start().await;
    let setup = Setup::new().backend("primary", &primary).h2c_backend("mirror", &mirror).rule(doppel_tests::MIRRORED);
    let account = unharmed(&primary, setup).await;
    assert_eq!(account.completed, 0, "{account:?}");
    let mirror = Echo::h2c(|_, _| Step::echo()).await;
    assert_eq!(unharmed_by(mirror.address()).await.completed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_of_http2_that_resets_or_stalls() {
    let scripts: [fn() -> Script; 4] =
        [|| vec![Step::Reset], || vec![Step::Read(3), Step::Reset], || vec![Step::Stall], || Step::never_answer()];
    for script in scripts {
        let mirror = Echo::h2c(move |_: usize, _: &Head| script()).await;
        let primary = Echo::start().await;
        let setup =
            Setup::new().backend("primary", &primary).h2c_backend("mirror", &mirror).rule(doppel_tests::MIRRORED);
        let account = unharmed(&primary, setup).await;
        assert_eq!((account.completed, account.ended()), (0, 15), "{account:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_is_gone_and_comes_back() {
    let primary = Echo::start().await;
    let gate = Gate::default();
    let waiting = gate.clone();
    let mirror =
        Echo::scripted(move |_, _| vec![Step::ReadAll, Step::Wait(waiting.clone()), Step::Reply(Reply::status(200))])
            .await;
    let address = mirror.address();
    let world = World::start_with(Setup::mirrored(&primary, &mirror), |settings| {
        settings.mirror.pause_min = Duration::from_millis(10);
        settings.mirror.pause_max = Duration::from_millis(20);
    })
    .await;
    let mut clients = tokio::task::JoinSet::new();
    for i in 0..100 {
        let mut client = world.client().await;
        clients.spawn(async move { assert_eq!(client.post("/", format!("{i}")).await.text(), i.to_string()) });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("answered while the mirror holds every copy");
    }
    mirror.ended(100).await;
    drop(mirror);
    let account = world.mirror_account(100).await;
    assert_eq!((account.completed, account.failed), (0, 100), "{account:?}");

    let mut client = world.client().await;
    for _ in 0..50 {
        assert_eq!(client.get("/gone").await.status, 200);
    }
    world.mirror_account(150).await;

    let back = Echo::start_at(address).await;
    let mut sent = 150;
    while back.count() == 0 {
        assert_eq!(client.get("/back").await.status, 200);
        sent += 1;
        world.mirror_account(sent).await;
    }
    assert!(world.mirror_account(sent).await.completed > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_beyond_the_bound_are_dropped_and_counted() {
    const BOUND: usize = 5;
    let primary = Echo::start().await;
    let gate = Gate::default();
    let waiting = gate.clone();
    let mirror = Echo::scripted(move |_, _| Step::echo_after(&waiting)).await;
    let world =
        World::start_with(Setup::mirrored(&primary, &mirror), |settings| settings.mirror.in_flight = BOUND).await;
    let mut client = world.client().await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let full = mirror.ended(BOUND).await.len();
    gate.open();
    let account = world.mirror_account(20).await;
    assert_eq!((full, account.completed, account.dropped), (BOUND, 5, 15), "{account:?}");
    assert_eq!(account.reasons["dropped in_flight"], 15);
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(world.mirror_account(21).await.completed, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_falls_behind_is_broken_off_and_the_upload_is_not() {
    let primary = Echo::start().await;
    let mirror = Echo::scripted(|_, _| vec![Step::Read(1), Step::Stall]).await;
    let setup = Setup::mirrored(&primary, &mirror);
    let world = World::start_with(setup, |settings| settings.mirror.copy_bytes = 256 << 10).await;
    let body = Pattern::new(30 << 20);
    let mut client = world.client().await;
    client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.length)).await;
    for chunk in body.chunks() {
        client.send(chunk).await;
    }
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(primary.only().await.body, body.body());
    let account = world.mirror_account(1).await;
    assert_eq!(account.reasons["aborted queue_full"], 1, "{account:?}");
    let receipts = mirror.until("the beginning of the copy", |receipts| !receipts.is_empty()).await;
    assert!(receipts[0].body.length < body.length);
    let mut h2 = world.h2_client().await;
    assert_eq!(h2.get("/").await.status, 200);
}
