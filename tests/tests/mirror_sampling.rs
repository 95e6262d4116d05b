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
async fn none_and_all_are_exact_and_what_is_between_is_kept() {
    const REQUESTS: u64 = 10_000;
    const EXACT: [(&str, u64); 4] = [("0/100", 0), ("0/7", 0), ("100/100", REQUESTS), ("7/7", REQUESTS)];
    const ABOUT: [(&str, u64); 4] = [("1/10000", 1), ("1/100", 100), ("3333/10000", 3333), ("1/3", 3333)];
    let fractions: Vec<&str> = EXACT.iter().chain(&ABOUT).map(|(fraction, _)| *fraction).collect();
    let (world, _primary, mirrors) = world(&fractions).await;
    send(&world, REQUESTS as usize).await;
    for (i, (fraction, expected)) in EXACT.iter().chain(&ABOUT).enumerate() {
        let account = world.mirror_account_of(&format!("mirror{i}"), REQUESTS).await;
        // Three sigma of independent draws, the worst that any draw may be.
        let share = *expected as f64 / REQUESTS as f64;
        let sigma = (*expected as f64 * (1.0 - share)).sqrt();
        assert!(account.started.abs_diff(*expected) as f64 <= 3.0 * sigma, "{fraction}: {account:?}");
        assert_eq!((account.completed, account.failed, account.aborted), (account.started, 0, 0), "{fraction}");
        assert_eq!(mirrors[i].count() as u64, account.started, "{fraction}");
    }
    // The smaller share of the same requests.
    let sets: Vec<BTreeSet<String>> = mirrors[4..].iter().map(targets).collect();
    assert!(sets.is_sorted_by(|smaller, larger| smaller.is_subset(larger)));
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
