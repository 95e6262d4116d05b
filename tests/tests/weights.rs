//! Which backend and endpoint a request goes to.

use std::collections::BTreeMap;

use doppel_tests::{Echo, Setup, World};

/// How often each answer came, of so many requests over one connection.
async fn answers(world: &World, requests: usize) -> BTreeMap<String, usize> {
    let mut client = world.client().await;
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        let answer = client.get("/").await;
        let name = if answer.status == 200 { answer.text() } else { answer.status.to_string() };
        *counts.entry(name).or_default() += 1;
    }
    counts
}

fn assert_share(counts: &BTreeMap<String, usize>, name: &str, expected: usize, tolerance: usize) {
    let found = counts.get(name).copied().unwrap_or_default();
    assert!(found.abs_diff(expected) <= tolerance, "{name}: {found} of about {expected}: {counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_get_their_share_and_none_without_weight() {
    let (a, b, c) = (Echo::named("a").await, Echo::named("b").await, Echo::named("c").await);
    let world = Setup::new()
        .backend("a", &a)
        .backend("b", &b)
        .backend("c", &c)
        .rules("- backends: [{backend: a, weight: 900000}, {backend: b, weight: 100000}, {backend: c, weight: 0}]")
        .start()
        .await;
    let counts = answers(&world, 1000).await;
    assert_share(&counts, "a", 900, 20);
    assert_share(&counts, "b", 100, 20);
    assert_eq!(c.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_backend_answers_500_for_its_share() {
    let a = Echo::named("a").await;
    let world = Setup::new()
        .backend("a", &a)
        .rules(
            "- backends: [{backend: a}, {invalid: Service default/b does not exist}, {backend: nowhere}, {backend: a}]",
        )
        .start()
        .await;
    let counts = answers(&world, 400).await;
    assert_share(&counts, "a", 200, 8);
    assert_share(&counts, "500", 200, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_without_endpoints_answers_503_for_its_share() {
    let a = Echo::named("a").await;
    let world = Setup::new()
        .backend("a", &a)
        .endpoints("empty", &[])
        .rules("- backends: [{backend: a, weight: 3}, {backend: empty}]")
        .start()
        .await;
    let counts = answers(&world, 400).await;
    assert_share(&counts, "a", 300, 8);
    assert_share(&counts, "503", 100, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_are_all_zero_answer_500() {
    let a = Echo::named("a").await;
    let world = Setup::new().backend("a", &a).rules("- backends: [{backend: a, weight: 0}]").start().await;
    assert_eq!(answers(&world, 3).await, BTreeMap::from([("500".to_owned(), 3)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_take_turns() {
    let (a, b) = (Echo::named("a").await, Echo::named("b").await);
    let world = Setup::new().endpoints("primary", &[a.address(), b.address()]).rule("").start().await;
    let mut client = world.client().await;
    let first = client.get("/").await.text();
    for turn in 1..20 {
        assert_eq!(client.get("/").await.text() == first, turn % 2 == 0);
    }
}
