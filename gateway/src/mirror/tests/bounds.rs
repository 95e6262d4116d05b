//! What mirroring may cost at most.

use super::*;

const KIB: usize = 1 << 10;

/// More than the sockets' buffers hold.
const MUCH: usize = 32 << 20;

/// Feeds a body without ever letting a copy catch up. Returns how much was fed when no copy was left.
async fn feed(tee: &mut Tee, body: &Bytes) -> usize {
    for start in (0..body.len()).step_by(64 * KIB) {
        let end = (start + 64 * KIB).min(body.len());
        tee.body(Some(&body.slice(start..end)), end == body.len());
        if tee.is_empty() {
            return end;
        }
        tokio::task::yield_now().await;
    }
    body.len()
}

#[tokio::test]
async fn a_copy_that_cannot_keep_up_is_broken_off() {
    for head in [post(MUCH), chunked()] {
        let world = World::new(Limits { copy_bytes: 256 * KIB, ..Limits::default() });
        let mirror = Mirror::new().await;
        let mut tee = world.copy(mirror.endpoint, &head);
        let body = bytes(MUCH);
        let fed = feed(&mut tee, &body).await;
        assert!(fed < MUCH && !tee.is_behind());
        world.books(&[("aborted queue_full", 1)]).await;
        let mut connection = mirror.accept().await;
        connection.head().await;
        let got = connection.rest().await;
        assert!(got.len() < fed && !got.ends_with(b"0\r\n\r\n"));
    }
}

#[tokio::test]
async fn a_copy_is_behind_when_more_than_half_its_queue_is_used() {
    let world = World::new(Limits { copy_bytes: 100 * KIB, ..Limits::default() });
    let mirror = Mirror::new().await;
    let mut tee = world.copy(mirror.endpoint, &post(200 * KIB));
    tee.body(Some(&bytes(40 * KIB)), false);
    assert!(!tee.is_behind());
    tee.body(Some(&bytes(40 * KIB)), false);
    assert!(tee.is_behind());
    let mut connection = mirror.accept().await;
    connection.head().await;
    connection.read_exact(80 * KIB).await;
    soon(async {
        while tee.is_behind() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    tee.abort(Abort::Client);
    world.books(&[("aborted client", 1)]).await;
}

#[tokio::test]
async fn one_mirror_s_budget_is_not_the_other_s() {
    let world = World::new(Limits { mirror_bytes: 100 * KIB, ..Limits::default() });
    let (m, n) = (Mirror::new().await, Mirror::new().await);
    let plan = ["m", "m", "n"].map(|mirror| {
        let endpoint = if mirror == "m" { m.endpoint } else { n.endpoint };
        world.planned(mirror, endpoint, Protocol::Http)
    });
    let mut tee = Tee::start(plan, &post(60 * KIB), false);
    tee.body(Some(&bytes(60 * KIB)), true);
    for mirror in [m, n] {
        let mut connection = mirror.accept().await;
        connection.head().await;
        assert!(connection.read_exact(60 * KIB).await == bytes(60 * KIB));
        connection.ok().await;
    }
    world.books(&[("aborted mirror_budget", 1), ("completed 2xx", 1), ("n completed 2xx", 1)]).await;
}

#[tokio::test]
async fn the_process_budget_holds_for_all() {
    let world = World::new(Limits { process_bytes: 100 * KIB, ..Limits::default() });
    let mirror = Mirror::new().await;
    let plan = ["m", "n"].map(|name| world.planned(name, mirror.endpoint, Protocol::Http));
    let mut tee = Tee::start(plan, &post(120 * KIB), false);
    tee.body(Some(&bytes(60 * KIB)), false);
    assert_eq!(world.samples("doppel_mirror_queue_bytes").len(), 1);
    tee.abort(Abort::Client);
    world.books(&[("aborted client", 1), ("n aborted process_budget", 1)]).await;
}

#[tokio::test]
async fn copies_over_the_bound_are_dropped() {
    let (world, mirror) = (World::new(Limits { in_flight: 2, ..Limits::default() }), Mirror::new().await);
    let tees: Vec<Tee> = (0..5).map(|_| world.copy(mirror.endpoint, &get())).collect();
    assert_eq!(tees.iter().map(Tee::started).sum::<u32>(), 2);
    assert_eq!(world.sample("doppel_mirror_in_flight"), 2.0);
    for _ in 0..2 {
        let mut connection = mirror.accept().await;
        connection.head().await;
        connection.ok().await;
    }
    world.books(&[("completed 2xx", 2), ("dropped in_flight", 3)]).await;
}

#[tokio::test]
async fn what_the_proxy_decides_is_counted() {
    let world = World::new(Limits::default());
    let account = world.mirrors.account(&"route".parse().unwrap(), &"m".parse().unwrap());
    account.sampled_out();
    account.skipped(Skip::OwnAnswer);
    account.skipped(Skip::OwnAnswer);
    account.skipped(Skip::NoEndpoint);
    world.books(&[("sampled_out", 1), ("skipped own_answer", 2), ("skipped no_endpoint", 1)]).await;
}
