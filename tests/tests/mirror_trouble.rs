//! A mirror in trouble, of every kind. Calls of every kind go on as if there were no mirror, those
//! that follow on the same connection too; see [`Case`].

use std::time::Duration;

use doppel_tests::{Call, Case, H2Habits, Pattern, Peer, Receipt, Reply, Report, Script, Step};

/// How many copies the usual calls make, each with the one that follows.
const COPIES: u64 = 16;

async fn unharmed_by(mirror: Peer) -> Report {
    Case::new().mirror(mirror).check().await
}

/// By a mirror that does this with every copy, over either protocol.
async fn unharmed_by_script(script: fn() -> Script, check: impl Fn(&Report)) {
    for mirror in [Peer::http1(move |_, _| script()), Peer::http2(move |_, _| script())] {
        let report = unharmed_by(mirror).await;
        assert_eq!(report.account().eligible(), COPIES);
        check(&report);
    }
}

fn none_completed(report: &Report) {
    assert_eq!(report.account().completed, 0, "{:?}", report.account());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_without_trouble() {
    for mirror in [Peer::echo(), Peer::h2_echo()] {
        let case = Case::new().mirror(mirror);
        case.clone().check().await.all_completed();
        case.primary(Peer::h2_echo()).check().await.all_completed();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_refuses() {
    let report = unharmed_by(Peer::Refuses).await;
    none_completed(&report);
    assert!(report.account().reasons["failed connect"] > 0, "{:?}", report.account());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_cannot_be_reached() {
    let report = unharmed_by(Peer::Unreachable).await;
    none_completed(&report);
    assert!(report.account().reasons.contains_key("failed connect_timeout"), "{:?}", report.account());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_never_reads() {
    none_completed(&unharmed_by(Peer::NeverReads).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_never_reads_an_upload() {
    // More than the sockets and what may wait for one copy.
    let upload = Call::with_length("POST", "/", Pattern::new(24 << 20).bytes());
    let counting = Peer::http1(|_, _| vec![Step::ReadAll, Step::Reply(Reply::status(204))]);
    let case = Case::new().calls([upload]).primary(counting).mirror(Peer::NeverReads);
    let report = case.tuned(|settings| settings.mirror.copy_bytes = 1 << 20).check().await;
    assert_eq!(report.account().reasons["aborted queue_full"], 2, "{:?}", report.account());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_reads_slowly() {
    let sips = || vec![Step::Sip(1024, Duration::from_millis(2)), Step::Reply(Reply::status(200))];
    // It takes its time, but never too long for one piece.
    unharmed_by_script(sips, Report::all_completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_never_answers() {
    unharmed_by_script(Step::never_answer, |report| {
        assert_eq!(report.account().reasons["failed answer_timeout"], COPIES, "{:?}", report.account());
        assert!(report.copies().iter().all(Receipt::is_complete));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_never_answers_is_not_asked_again_on_the_same_connection() {
    let report = unharmed_by(Peer::http1(|_, _| Step::never_answer())).await;
    let connections: std::collections::BTreeSet<usize> = report.copies().iter().map(|copy| copy.connection).collect();
    assert_eq!(connections.len() as u64, COPIES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_resets_after_the_head() {
    unharmed_by_script(|| vec![Step::Reset], none_completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_resets_within_the_body() {
    unharmed_by_script(|| vec![Step::Read(3), Step::Reset], none_completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_resets_after_the_body() {
    unharmed_by_script(|| vec![Step::ReadAll, Step::Reset], none_completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_closes_within_the_body() {
    none_completed(&unharmed_by(Peer::http1(|_, _| vec![Step::Read(3), Step::Close])).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_takes_the_head_and_nothing_else() {
    unharmed_by_script(|| vec![Step::Stall], none_completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_speaks_another_protocol() {
    let mistaken = Peer::Mistaken(std::sync::Arc::new(|_, _| Step::echo()));
    none_completed(&unharmed_by(mistaken).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_takes_one_stream_at_a_time() {
    let habits = H2Habits { streams: Some(1), ..H2Habits::default() };
    // A second copy in the meantime has a connection of its own.
    unharmed_by(Peer::Http2(habits, std::sync::Arc::new(|_, _| Step::echo()))).await.all_completed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_takes_no_stream() {
    let habits = H2Habits { streams: Some(0), ..H2Habits::default() };
    none_completed(&unharmed_by(Peer::Http2(habits, std::sync::Arc::new(|_, _| Step::echo()))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_whose_window_never_opens() {
    let habits = H2Habits { window: Some(0), ..H2Habits::default() };
    let report = unharmed_by(Peer::Http2(habits, std::sync::Arc::new(|_, _| vec![Step::Stall]))).await;
    none_completed(&report);
    assert!(report.account().reasons["failed write_idle"] > 0, "{:?}", report.account());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_refuses_streams() {
    none_completed(&unharmed_by(Peer::http2(|_, _| vec![Step::Refuse])).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_goes_away_with_every_answer() {
    let leaving = Peer::http2(|_, _| vec![Step::GoAway, Step::ReadAll, Step::Reply(Reply::status(200))]);
    // What is under way on the connection ends, what follows has another. A copy that set out before
    // the GOAWAY came, and was written after it, was never looked at.
    let report = unharmed_by(leaving).await;
    let account = report.account();
    let stale = account.reasons.get("failed stale").copied().unwrap_or_default();
    assert_eq!((account.completed + stale, account.aborted), (COPIES, 0), "{account:?}");
    assert!(account.completed > COPIES / 2, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_mirrors_trouble_is_not_the_others() {
    for trouble in [Peer::NeverReads, Peer::Refuses, Peer::Unreachable, Peer::http1(|_, _| Step::never_answer())] {
        let report = Case::new().mirror(trouble).mirror(Peer::echo()).mirror(Peer::h2_echo()).check().await;
        for sound in &report.mirrors[1..] {
            assert_eq!(sound.account.completed, COPIES, "{}: {:?}", sound.name, sound.account);
        }
    }
}
