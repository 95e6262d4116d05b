//! How much memory a mirror may cost. The only test of its process, so that what it measures is
//! its own.

use doppel_tests::{Echo, Pattern, Setup, World};

/// Megabytes in memory, of the whole process: gateway, primary, mirror and client.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells of processes");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it tells the most ever resident");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kilobytes") / 1024
}

#[cfg_attr(not(target_os = "linux"), ignore = "reads /proc")]
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_never_reads_costs_no_more_than_its_budget() {
    const UPLOADS: usize = 4;
    const BUDGET: u64 = 16;
    // Buffers of the connections, the bodies that the primary keeps, and what the allocator keeps.
    const MARGIN: u64 = 48;
    let (primary, mirror) = (Echo::start().await, Echo::never_reads().await);
    let upload = Pattern::new(256 << 20);
    let setup = Setup::mirrored(&primary, &mirror);
    let world = World::start_with(setup, |settings| {
        let limits = &mut settings.mirror;
        limits.copy_bytes = 8 << 20;
        limits.mirror_bytes = 12 << 20;
        limits.process_bytes = (BUDGET << 20) as usize;
    })
    .await;
    // Once without measuring, so that everything is there that stays.
    world.client().await.post("/", Pattern::new(1 << 20).bytes()).await;
    let expected = upload.body();
    let before = resident();

    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..UPLOADS {
        let mut client = world.client().await;
        clients.spawn(async move {
            client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", upload.length)).await;
            for chunk in upload.chunks() {
                client.send(chunk).await;
            }
            assert_eq!(client.answer().await.status, 200);
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("the upload succeeds");
    }

    let grown = resident() - before;
    assert!(grown <= BUDGET + MARGIN, "{grown} MiB more than the {before} MiB before");
    let whole = |receipt: &doppel_tests::Receipt| receipt.body.checksum == expected.checksum && receipt.is_complete();
    assert_eq!(primary.receipts().iter().filter(|receipt| whole(receipt)).count(), UPLOADS);
    let account = world.mirror_account(1 + UPLOADS as u64).await;
    assert_eq!(account.completed, 0, "{account:?}");
    assert_eq!(world.scrape().await.sum("doppel_mirror_queue_bytes", &[]), 0.0);
}
