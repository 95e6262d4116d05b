//! Primaries in trouble of every kind: with a mirror, clients get the same answers, and the mirror
//! whole copies or aborted ones; see [`Case`].

use bytes::Bytes;
use doppel_tests::{Call, Case, Ending, Pattern, Peer, Reply, Report, Script, Speech, Step};

/// Both protocols towards the mirror, with calls that the client sends whole.
async fn copied(case: Case) -> Vec<Report> {
    let mut reports = Vec::new();
    for mirror in [Peer::echo(), Peer::h2_echo()] {
        reports.push(case.clone().mirror(mirror).check().await);
    }
    reports
}

#[tokio::test(flavor = "multi_thread")]
async fn that_refuse() {
    for report in copied(Case::new().primary(Peer::Refuses)).await {
        assert!(report.outcomes.iter().all(|outcome| outcome.status == 502), "{:?}", report.outcomes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_break_off() {
    let scripts: [fn() -> Script; 4] = [
        || vec![Step::Reset],
        || vec![Step::ReadAll, Step::Reset],
        || vec![Step::ReadAll, Step::Close],
        || vec![Step::ReadAll, Step::write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"), Step::Close],
    ];
    for script in scripts {
        copied(Case::new().primary(Peer::http1(move |_, _| script()))).await;
    }
    let reset = Peer::http2(|_, _| vec![Step::ReadAll, Step::Reset]);
    copied(Case::new().primary(reset)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn that_do_not_answer_in_time() {
    let silent = Peer::http1(|_, _| Step::never_answer());
    let calls = [Call::with_length("POST", "/", "body")];
    let case = Case::new().calls(calls).primary(silent).fields("timeouts: {request: 200ms}");
    for report in copied(case).await {
        assert!(report.outcomes.iter().all(|outcome| outcome.status == 504), "{:?}", report.outcomes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_answer_while_the_client_still_sends() {
    let early = |status| {
        let reply = move || Reply::status(status).header("Connection", "close");
        Peer::http1(move |_, head| match head.word(1).as_str() {
            "/next" => Step::echo(),
            _ => vec![Step::Read(3), Step::Reply(reply()), Step::Close],
        })
    };
    let body = || Call::with_length("POST", "/", "abc").declared(1_000_000).ending(Ending::Answered);
    let pieces = || Call::in_pieces("POST", "/", ["abc".into()]).ending(Ending::Answered);
    for status in [200, 413, 503] {
        for report in copied(Case::new().calls([body(), pieces()]).primary(early(status))).await {
            // The calls in between are copied; what was broken off is not whole, and says so.
            assert_eq!(report.account().completed, 4, "{:?}", report.account());
            assert_eq!(report.account().aborted, 4, "{:?}", report.account());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_refuse_what_a_client_wants_to_send() {
    let refusing = Peer::http1(|_, head| match head.header("expect") {
        Some(_) => vec![Step::Reply(Reply::status(417).header("Connection", "close")), Step::Close],
        None => Step::echo(),
    });
    let expecting =
        Call::with_length("POST", "/", "").declared(4).header("expect", "100-continue").ending(Ending::Answered);
    let case = Case::new().calls([expecting]).spoken(Speech::Http1).primary(refusing);
    for report in copied(case).await {
        assert_eq!(report.outcomes[0].status, 417);
        assert_eq!((report.account().completed, report.account().aborted), (1, 1), "{:?}", report.account());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_fail_before_they_succeed() {
    let body = |length| Bytes::from(Pattern::new(length).bytes());
    let calls = || {
        vec![
            Call::get("/"),
            Call::with_length("POST", "/", ""),
            Call::with_length("POST", "/", body(10)),
            Call::with_length("POST", "/", body(40_000)),
            Call::in_pieces("POST", "/", [body(10_000), body(20_000)]),
        ]
    };
    let failures: [fn() -> Script; 3] =
        [|| Step::status(503), || vec![Step::ReadAll, Step::Reset], || vec![Step::ReadAll, Step::Close]];
    for failure in failures {
        for attempts in [1, 2] {
            let case = Case::new().calls(calls()).primary(Peer::failing(attempts, failure));
            for report in copied(case.fields("retry: {attempts: 2, codes: [503]}")).await {
                assert!(report.outcomes.iter().all(|outcome| outcome.status == 200), "{:?}", report.outcomes);
                assert_eq!(report.originals.len(), (1 + attempts) * report.outcomes.len());
                // One each, whatever the attempts.
                report.all_completed();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_fail_more_often_than_the_rule_has_patience() {
    let failing = Peer::failing(9, || Step::status(503));
    for report in copied(Case::new().primary(failing).fields("retry: {attempts: 2, codes: [503]}")).await {
        assert!(report.outcomes.iter().all(|outcome| outcome.status == 503), "{:?}", report.outcomes);
        assert_eq!(report.account().completed, report.outcomes.len() as u64, "{:?}", report.account());
    }
}
