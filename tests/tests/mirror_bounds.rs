//! What mirrors may cost has bounds, and a mirror that is dead or gone costs next to nothing.

use std::time::Duration;

use doppel_tests::{Client, Echo, Gate, MIRRORED, Pattern, Receipt, Setup, Step, World, eventually};
use tokio::task::JoinSet;

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
async fn a_copy_whose_client_is_silent_gives_way_to_a_new_one_and_the_upload_goes_on() {
    const BOUND: usize = 3;
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let world = World::start_with(Setup::mirrored(&primary, &mirror), |settings| {
        settings.mirror.in_flight = BOUND;
        settings.mirror.silence = Duration::from_millis(50);
    })
    .await;
    let mut stalled = Vec::new();
    for _ in 0..BOUND {
        let mut client = world.client().await;
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\na").await;
        stalled.push(client);
    }
    let have_begun = |copies: &[Receipt]| copies.iter().filter(|copy| copy.body.length == 1).count() == BOUND;
    mirror.until("the copies to begin", have_begun).await;

    let mut client = world.client().await;
    let mut new = 0;
    let account = eventually("a new request to be copied", async || {
        assert_eq!(client.get("/").await.status, 200);
        new += 1;
        let decided = async || {
            let account = world.scrape().await.mirror_account(&[]);
            (account.dropped + account.completed == new).then_some(account)
        };
        let account = eventually("the copy to be dropped or at its end", decided).await;
        (account.completed > 0).then_some(account)
    })
    .await;
    assert_eq!((account.aborted, account.reasons["aborted gave_way"]), (1, 1), "{account:?}");
    mirror.until("its mirror to see it", |copies| copies.iter().filter(|copy| copy.is_aborted()).count() == 1).await;

    for client in &mut stalled {
        assert_eq!(client.exchange("b").await.text(), "ab");
    }
    let account = world.mirror_account(BOUND as u64 + new).await;
    assert_eq!((account.completed, account.aborted), (BOUND as u64, 1), "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_falls_behind_is_broken_off_and_the_upload_is_not() {
    let primary = Echo::start().await;
    let mirror = Echo::scripted(|_, _| vec![Step::Read(1), Step::Stall]).await;
    let setup = Setup::mirrored(&primary, &mirror);
    let world = World::start_with(setup, |settings| settings.mirror.copy_bytes = 256 << 10).await;
    let body = Pattern::new(30 << 20);
    let mut client = world.client().await;
    upload(&mut client, body).await;
    assert_eq!(primary.only().await.body, body.body());
    let account = world.mirror_account(1).await;
    assert_eq!(account.reasons["aborted queue_full"], 1, "{account:?}");
    // On a busy machine, not even its head may have been sent by then.
    assert!(mirror.receipts().iter().all(|copy| copy.body.length < body.length));
    assert_eq!(client.get("/").await.status, 200);
}

async fn upload(client: &mut Client, body: Pattern) {
    client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.length)).await;
    for chunk in body.chunks() {
        client.send(chunk).await;
    }
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_uploads_at_once_are_all_copied_within_the_budget() {
    const UPLOADS: u64 = 50;
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let world = Setup::mirrored(&primary, &mirror).start().await;
    let mut clients = JoinSet::new();
    for i in 0..UPLOADS {
        let mut client = world.client().await;
        // With a length of its own each, so that no two are taken for one another.
        clients.spawn(async move { upload(&mut client, Pattern::new((512 << 10) + i)).await });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("every upload is answered");
    }
    let account = world.mirror_account(UPLOADS).await;
    assert_eq!(account.completed, UPLOADS, "{account:?}");
    let mut copies = mirror.ended(UPLOADS as usize).await;
    copies.sort_by_key(|copy| copy.body.length);
    for (i, copy) in (0..).zip(&copies) {
        assert!(copy.is_complete() && copy.body == Pattern::new((512 << 10) + i).body(), "{copy:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_beyond_the_budget_of_a_mirror_break_off_its_copies_alone() {
    const UPLOADS: u64 = 8;
    let (primary, stuck, sound) = (Echo::start().await, Echo::never_reads().await, Echo::start().await);
    let setup = Setup::new()
        .backend("primary", &primary)
        .backend("stuck", &stuck)
        .backend("sound", &sound)
        .rule("filters: [{requestMirror: {backend: stuck}}, {requestMirror: {backend: sound}}]");
    let world = World::start_with(setup, |settings| {
        settings.mirror.mirror_bytes = 8 << 20;
        settings.mirror.write_idle = Duration::from_millis(500);
    })
    .await;
    let mut clients = JoinSet::new();
    for _ in 0..UPLOADS {
        let mut client = world.client().await;
        clients.spawn(async move { upload(&mut client, Pattern::new(8 << 20)).await });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("every upload is answered");
    }
    let account = world.mirror_account_of("stuck", UPLOADS).await;
    assert_eq!(account.completed, 0, "{account:?}");
    assert!(account.reasons.contains_key("aborted mirror_budget"), "{account:?}");
    // The other mirror loses nothing but to its own pace.
    let account = world.mirror_account_of("sound", UPLOADS).await;
    assert_eq!(account.failed + account.dropped, 0, "{account:?}");
    assert!(account.completed > 0, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_killed_with_a_thousand_copies_in_flight_comes_back() {
    const COPIES: usize = 1000;
    const CLIENTS: usize = 10;
    let primary = Echo::start().await;
    let gate = Gate::default();
    let waiting = gate.clone();
    // Streams of few connections, because a process may not have so many.
    let mirror = Echo::h2c(move |_, _| Step::echo_after(&waiting)).await;
    let address = mirror.address();
    let setup = Setup::new().backend("primary", &primary).h2c_backend("mirror", &mirror).rule(MIRRORED);
    let world = World::start_with(setup, |settings| {
        settings.mirror.in_flight = COPIES;
        settings.mirror.pause_min = Duration::from_millis(10);
        settings.mirror.pause_max = Duration::from_millis(20);
    })
    .await;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut client = world.client().await;
        clients.spawn(async move {
            for i in 0..COPIES / CLIENTS {
                assert_eq!(client.post("/", format!("{i}")).await.text(), i.to_string());
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("answered while the mirror holds every copy");
    }
    mirror.ended(COPIES).await;
    drop(mirror);
    let account = world.mirror_account(COPIES as u64).await;
    assert_eq!((account.completed, account.failed), (0, COPIES as u64), "{account:?}");

    let mut client = world.client().await;
    for _ in 0..50 {
        assert_eq!(client.get("/gone").await.status, 200);
    }
    let mut sent = COPIES as u64 + 50;
    let account = world.mirror_account(sent).await;
    assert!(account.reasons["dropped paused"] > 0, "{account:?}");

    let back = Echo::h2c_at(address, |_, _| Step::echo()).await;
    while back.count() == 0 {
        assert_eq!(client.get("/back").await.status, 200);
        sent += 1;
        world.mirror_account(sent).await;
    }
    assert!(world.mirror_account(sent).await.completed > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_back_into_the_gateway_is_bounded_and_ends_with_its_cause() {
    const BOUND: usize = 20;
    let primary = Echo::start().await;
    let without = Setup::new().backend("primary", &primary).rule("");
    let mut world = World::start_with(without.clone(), |settings| settings.mirror.in_flight = BOUND).await;
    let looping = Setup::new().backend("primary", &primary).endpoints("mirror", &[world.address()]).rule(MIRRORED);
    world.reload(&looping).await;
    let mut client = world.client().await;
    for i in 0..50 {
        let body = format!("{i}");
        assert_eq!(client.post("/", &body).await.text(), body);
    }
    let in_flight = world.scrape().await.sum("doppel_mirror_in_flight", &[]);
    assert!(in_flight <= BOUND as f64, "{in_flight}");
    world.reload(&without).await;
    let account = world.mirror_account_at_rest().await;
    assert!(account.completed >= 50, "{account:?}");
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_may_take_as_long_as_its_client() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let silent = Echo::scripted(|_, _| Step::never_answer()).await;
    let setup = Setup::mirrored(&primary, &mirror).backend("silent", &silent).document(
        "route:
           name: clock
           listeners: [http]
           hostnames: [clock.test]
           rules: [{backends: [{backend: primary}], filters: [{requestMirror: {backend: silent}}]}]",
    );
    let world = World::start_with(setup, |settings| {
        let limits = &mut settings.mirror;
        limits.write_idle = Duration::from_millis(100);
        limits.response_head = Duration::from_millis(100);
        limits.drain = Duration::from_millis(100);
        limits.idle = Duration::from_millis(100);
    })
    .await;
    // So long as a copy to the silent mirror takes to run out of time, all time-outs have passed.
    let mut clock = world.client().await;
    let mut copies = 0;
    let mut time_passes = async || {
        clock.exchange("GET / HTTP/1.1\r\nHost: clock.test\r\n\r\n").await;
        copies += 1;
        world.mirror_account_of("silent", copies).await;
    };

    let mut client = world.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\n").await;
    time_passes().await;
    for piece in ["abc", "def"] {
        client.send(piece).await;
        time_passes().await;
        time_passes().await;
    }
    assert_eq!(client.exchange("ghi").await.text(), "abcdefghi");
    assert_eq!(mirror.only().await.body.text(), "abcdefghi");
    assert_eq!(world.mirror_account_of("mirror", 1).await.completed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_queued_any_more_once_copies_have_ended() {
    let (primary, mirror) = (Echo::start().await, Echo::scripted(|_, _| vec![Step::Read(1), Step::Stall]).await);
    let setup = Setup::mirrored(&primary, &mirror);
    let world = World::start_with(setup, |settings| settings.mirror.write_idle = Duration::from_millis(300)).await;
    let queued = async || world.scrape().await.sum("doppel_mirror_queue_bytes", &[]);
    // More than the sockets hold, and less than what may wait.
    upload(&mut world.client().await, Pattern::new(12 << 20)).await;
    eventually("bytes to wait", async || (queued().await > 0.0).then_some(())).await;
    let account = world.mirror_account(1).await;
    assert_eq!(account.reasons["failed write_idle"], 1, "{account:?}");
    assert_eq!(queued().await, 0.0);
    assert!(!mirror.receipts().iter().any(Receipt::is_complete));
}
