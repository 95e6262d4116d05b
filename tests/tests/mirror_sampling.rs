//! Which share of the requests is copied, and to how many mirrors.

use std::collections::BTreeSet;

use doppel_tests::{Echo, Setup, Step, World};

/// A route with a mirror for each fraction: `mirror0`, `mirror1` …
async fn world(fractions: &[&str]) -> (World, Echo, Vec<Echo>) {
    let primary = Echo::start().await;
    let mut setup = Setup::new().backend("primary", &primary);
    let (mut mirrors, mut filters) = (Vec::new(), Vec::new());
    for (i, fraction) in fractions.iter().enumerate() {
        let mirror = Echo::start().await;
        setup = setup.backend(&format!("mirror{i}"), &mirror);
        filters.push(format!("{{requestMirror: {{backend: mirror{i}, fraction: {fraction}}}}}"));
        mirrors.push(mirror);
    }
    let world = setup.rule(&format!("filters: [{}]", filters.join(", "))).start().await;
    (world, primary, mirrors)
}

/// Sends so many requests, of all kinds in turn, each with a path of its own.
async fn send(world: &World, requests: usize) {
    let (mut client, mut h2) = (world.client().await, world.h2_client().await);
    for i in 0..requests {
        let path = format!("/{i}");
        let status = match i % 3 {
            0 => client.get(&path).await.status,
            1 => client.post(&path, "body").await.status,
            _ => h2.get(&path).await.status,
        };
        assert_eq!(status, 200);
    }
}

fn targets(mirror: &Echo) -> BTreeSet<String> {
    mirror.receipts().iter().map(|copy| copy.target()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn none_and_all_are_exact() {
    const REQUESTS: u64 = 1000;
    let (world, _primary, mirrors) = world(&["0/100", "100/100", "0/7", "7/7"]).await;
    send(&world, REQUESTS as usize).await;
    for (i, expected) in [0, REQUESTS, 0, REQUESTS].into_iter().enumerate() {
        let account = world.mirror_account_of(&format!("mirror{i}"), REQUESTS).await;
        assert_eq!((account.started, account.sampled_out), (expected, REQUESTS - expected), "mirror{i}: {account:?}");
        assert_eq!(account.completed, expected, "mirror{i}: {account:?}");
        assert_eq!(mirrors[i].count() as u64, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_are_kept_and_nested() {
    const REQUESTS: u64 = 1000;
    let (world, _primary, mirrors) = world(&["50/100", "1/10", "1/3", "100/100"]).await;
    send(&world, REQUESTS as usize).await;
    let mut sets = Vec::new();
    for (i, expected) in [500, 100, 333, 1000].into_iter().enumerate() {
        let account = world.mirror_account_of(&format!("mirror{i}"), REQUESTS).await;
        // Three sigma of independent draws, the worst that any draw may be.
        let sigma = (expected as f64 * (1.0 - expected as f64 / REQUESTS as f64)).sqrt();
        assert!(account.started.abs_diff(expected) as f64 <= 3.0 * sigma, "mirror{i}: {account:?}");
        sets.push(targets(&mirrors[i]));
        assert_eq!(sets[i].len() as u64, account.started);
    }
    assert!(sets[1].is_subset(&sets[2]) && sets[2].is_subset(&sets[0]) && sets[0].is_subset(&sets[3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_kind_of_requests_is_not_favoured() {
    const REQUESTS: usize = 1200;
    let (world, _primary, mirrors) = world(&["1/2"]).await;
    send(&world, REQUESTS).await;
    world.mirror_account(REQUESTS as u64).await;
    // Kinds alternate by three; each must get its half.
    let mut counts = [0_usize; 3];
    for copy in mirrors[0].receipts() {
        let number: usize = copy.target()[1..].parse().expect("paths are numbers");
        counts[number % 3] += 1;
    }
    for count in counts {
        assert!(count.abs_diff(200) <= 30, "{counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_mirror_twice_gets_a_copy_for_each() {
    let (primary, mirror) = (Echo::start().await, Echo::start().await);
    let filters = "filters: [{requestMirror: {backend: mirror}}, {requestMirror: {backend: mirror, fraction: 0/1}}, {requestMirror: {backend: mirror}}]";
    let world = Setup::new().backend("primary", &primary).backend("mirror", &mirror).rule(filters).start().await;
    let mut client = world.client().await;
    for i in 0..10 {
        assert_eq!(client.post(&format!("/{i}"), "body").await.text(), "body");
    }
    let account = world.mirror_account(30).await;
    assert_eq!((account.sampled_out, account.completed), (10, 20), "{account:?}");
    assert_eq!(mirror.count(), 20);
    assert_eq!(targets(&mirror).len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_mirrors_trouble_is_not_the_others() {
    let primary = Echo::start().await;
    let (deaf, well) = (Echo::never_reads().await, Echo::start().await);
    let mute = Echo::scripted(|_, _| Step::never_answer()).await;
    let setup = Setup::new()
        .backend("primary", &primary)
        .backend("deaf", &deaf)
        .backend("mute", &mute)
        .backend("well", &well)
        .rule("filters: [{requestMirror: {backend: deaf}}, {requestMirror: {backend: mute}}, {requestMirror: {backend: well}}]");
    let world = World::start_with(setup, |settings| {
        settings.mirror.write_idle = std::time::Duration::from_millis(500);
        settings.mirror.response_head = std::time::Duration::from_millis(500);
    })
    .await;
    let body = doppel_tests::Pattern::new(1_000_000);
    let mut client = world.client().await;
    for _ in 0..10 {
        assert_eq!(client.post("/", body.bytes()).await.body, body.body());
    }
    let copies = well.ended(10).await;
    assert!(copies.iter().all(|copy| copy.is_complete() && copy.body == body.body()));
    assert_eq!(world.mirror_account_of("well", 10).await.completed, 10);
    for troubled in ["deaf", "mute"] {
        let account = world.mirror_account_of(troubled, 10).await;
        assert_eq!(account.completed, 0, "{troubled}: {account:?}");
    }
}
