//! What the check of the mirror contract is worth: it finds nothing where nothing is wrong, and finds
//! every tee out that is wrong on purpose.

use bytes::Bytes;
use doppel_tests::{Call, Case, Ending, Flaw, Invariant, Pattern, Peer, Reply, Step};

/// In pieces that reach the tee one by one, because the primary waits for each.
fn pieces() -> Call {
    Call::in_pieces("POST", "/", Pattern::new(300_000).chunks())
}

async fn check(case: Case, flaw: Flaw, expected: Invariant) {
    let broken = case.of(flaw).broken().await;
    assert!(broken.contains(&expected), "{flaw:?} breaks {broken:?}");
}

fn sound() -> Case {
    Case::new().mirror(Peer::echo())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tee_without_a_flaw_passes() {
    let broken_off = pieces().ending(Ending::Close);
    let calls = [Call::get("/"), pieces(), broken_off, Call::with_length("POST", "/", "body")];
    assert_eq!(sound().calls(calls).of(Flaw::None).broken().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_body_is_found() {
    check(sound().calls([pieces()]), Flaw::DropsAChunk, Invariant::Identical).await;
    check(sound().calls([pieces()]), Flaw::DoublesAChunk, Invariant::Identical).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_copy_that_looks_whole_is_found() {
    let broken_off = pieces().ending(Ending::Reset);
    check(sound().calls([broken_off.clone()]), Flaw::EndsTheCutOffInOrder, Invariant::VisiblyAborted).await;
    check(sound().calls([broken_off]), Flaw::BooksTheAbortedAsCompleted, Invariant::Balanced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_request_is_found() {
    check(sound(), Flaw::ChangesTheCopy, Invariant::Identical).await;
    check(sound(), Flaw::ChangesTheRequest, Invariant::SameRequests).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_copy_is_found() {
    check(sound(), Flaw::CopiesTwice, Invariant::OneCopy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_the_mirror_is_found() {
    let silent = Case::new().calls([Call::get("/")]).mirror(Peer::http1(|_, _| Step::never_answer()));
    check(silent, Flaw::HoldsTheConnection, Invariant::NoDelay).await;
    // More than what the sockets of the mirror hold.
    let body: Bytes = Pattern::new(16 << 20).bytes().into();
    let stuck = Case::new().calls([Call::with_length("POST", "/", body)]).mirror(Peer::NeverReads);
    let stuck = stuck.primary(Peer::http1(|_, _| vec![Step::ReadAll, Step::Reply(Reply::status(204))]));
    check(stuck, Flaw::HandsOnBackPressure, Invariant::NoDelay).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_fails_with_the_mirror_is_found() {
    check(Case::new().mirror(Peer::Refuses), Flaw::FailsWithTheMirror, Invariant::SameAnswers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_in_no_book_is_found() {
    check(sound(), Flaw::ForgetsACopy, Invariant::Balanced).await;
}

#[cfg_attr(not(target_os = "linux"), ignore = "reads /proc")]
#[tokio::test(flavor = "multi_thread")]
async fn what_a_copy_leaves_behind_is_found() {
    check(sound(), Flaw::KeepsConnections, Invariant::NothingLeft).await;
    check(sound(), Flaw::KeepsTasks, Invariant::NothingLeft).await;
}
