//! Clients of every kind, with a mirror that gets a copy of what they send; see [`Case`].

use bytes::Bytes;
use doppel_tests::{Call, Case, Ending, Head, Pattern, Peer, Report, Script, Speech, Step};

const LENGTH: u64 = 200_000;

/// Towards which the same must hold.
fn mirrors() -> [Peer; 2] {
    [Peer::echo(), Peer::h2_echo()]
}

async fn copied(calls: impl Fn() -> Vec<Call>) -> Vec<Report> {
    let mut reports = Vec::new();
    for mirror in mirrors() {
        let report = Case::new().calls(calls()).mirror(mirror).check().await;
        report.all_completed();
        reports.push(report);
    }
    reports
}

fn broken_off() -> Vec<Call> {
    let mut calls = Vec::new();
    for sent in [0, 1, 64 << 10, LENGTH - 1] {
        for ending in [Ending::Reset, Ending::Close] {
            let body: Bytes = Pattern::new(sent).bytes().into();
            calls.push(Call::in_pieces("POST", "/", [body.clone()]).ending(ending));
            calls.push(Call::with_length("POST", "/", body).declared(LENGTH).ending(ending));
        }
    }
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn who_break_off_an_upload() {
    for mirror in mirrors() {
        for primary in mirrors() {
            let calls = broken_off();
            let whole = 2 * calls.len() as u64;
            let report = Case::new().calls(calls).primary(primary).mirror(mirror.clone()).check().await;
            let account = report.account();
            // The calls in between; what was broken off at its first byte may never have been a request.
            assert_eq!((account.completed, account.failed), (whole, 0), "{account:?}");
            assert_eq!(account.aborted, account.reasons["aborted client"], "{account:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_any_method_and_any_body() {
    let without = ["GET", "HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH", "PROPFIND"];
    let with = ["GET", "OPTIONS", "DELETE", "POST", "PUT", "PATCH", "PROPFIND"];
    copied(|| {
        let bodiless = without.iter().map(|method| Call::bodiless(method, "/"));
        let bodies = with.iter().flat_map(|method| {
            let pieces = ["bo".into(), "dy".into()];
            [
                Call::with_length(method, "/", "body"),
                Call::with_length(method, "/", ""),
                Call::in_pieces(method, "/", pieces),
                Call::in_pieces(method, "/", []),
            ]
        });
        bodiless.chain(bodies).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_odd_targets() {
    let long = format!("/{}", "x".repeat(60_000));
    let targets = ["/%2e%2e/a", "//double", "/a?", "/a?x=%zz&&y", "/;p=1", "/a/./b/../c", "/~!$&'()*+,=:@", &long];
    for report in copied(|| targets.iter().map(|target| Call::get(target)).collect()).await {
        let copied: Vec<String> = report.copies().iter().map(|copy| copy.target()).collect();
        assert!(targets.iter().all(|target| copied.iter().any(|copy| copy == target)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_many_and_repeated_headers() {
    copied(|| {
        let many = (0..100).fold(Call::get("/"), |call, i| call.header(&format!("x-{i}"), "value"));
        let repeated = Call::get("/").header("x-a", "1").header("x-b", "2").header("x-a", "3").header("x-a", "");
        let credentials = Call::get("/").header("cookie", "a=b").header("authorization", "Bearer x");
        vec![many, repeated, credentials.header("x-forwarded-for", "10.0.0.1")]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_bytes_that_are_no_text() {
    copied(|| {
        vec![
            Call::raw("GET /case HTTP/1.1\r\nhOST: A.test:8000\r\nx-Odd: 1\r\nX-ODD: 2\r\n\r\n"),
            Call::raw("OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n"),
            Call::raw(b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Bytes: \xff\xfe\r\n\r\n"),
            Call::raw(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\n\x00\xff\r\n"),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_trailers() {
    let calls = || vec![Call::in_pieces("POST", "/", ["bo".into(), "dy".into()]).trailer("x-check", "1")];
    copied(calls).await;
    Case::new().calls(calls()).primary(Peer::h2_echo()).mirror(Peer::h2_echo()).check().await.all_completed();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_expect_to_be_told_to_continue() {
    fn continues(_: usize, head: &Head) -> Script {
        let interim = Step::write("HTTP/1.1 100 Continue\r\n\r\n");
        head.header("expect").map(|_| interim).into_iter().chain(Step::echo()).collect()
    }
    let calls = || vec![Call::with_length("POST", "/", "body").header("expect", "100-continue")];
    for mirror in mirrors() {
        let case = Case::new().calls(calls()).spoken(Speech::Http1).mirror(mirror);
        let report = case.clone().primary(Peer::http1(continues)).check().await;
        report.all_completed();
        assert!(report.copies().iter().all(|copy| copy.header("expect").is_none()));
        assert_eq!(report.outcomes[0].interim, [100]);
        case.primary(Peer::h2_echo()).check().await.all_completed();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_try_to_smuggle() {
    let host = "Host: a.test\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let calls = [
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 4\r\n{chunked}\r\n0\r\n\r\n{smuggled}"),
        format!("POST / HTTP/1.1\r\n{host}{chunked}Content-Length: 50\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 0\r\nContent-Length: 41\r\n\r\n{smuggled}"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 4, 4\r\n\r\nbody"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: +4\r\n\r\nbody"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 4x\r\n\r\nbody"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}X: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}{chunked}\r\n-1\r\nbody\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}{chunked}\r\n4;x=\"y\r\nz\"\r\nbody\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}{chunked}\r\n4\r\nbodyX\r\n0\r\n\r\n"),
        format!("POST / HTTP/1.0\r\n{host}{chunked}\r\n0\r\n\r\n{smuggled}"),
        format!("GET / HTTP/1.1\r\n{host}X-Nul: a\0b\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}X-Bare: a\nX-Line: b\r\n\r\n"),
        "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "GET http://b.test/absolute HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(),
    ];
    for call in calls {
        // Each on connections of its own: what one leaves behind is not the next one's.
        let case = Case::new().calls([Call::raw(call.clone())]).spoken(Speech::Http1);
        let report = case.clone().mirror(Peer::echo()).mirror(Peer::h2_echo()).check().await;
        for copy in report.mirrors.iter().flat_map(|mirror| mirror.copies.iter().flatten()) {
            assert_ne!(copy.target(), "/smuggled", "{call:?}");
        }
    }
}
