//! What a mirror answers matters to nobody, however odd, long or early it is.

use std::time::Duration;

use bytes::Bytes;
use doppel_tests::{Case, Peer, Receipt, Reply, ReplyBody, Report, Script, Step};

const COPIES: u64 = 16;

async fn unharmed_by(script: impl Fn() -> Script + Send + Sync + 'static) -> Report {
    Case::new().mirror(Peer::http1(move |_, _| script())).check().await
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_and_redirects_are_noted_and_not_followed() {
    for (status, class) in [(401, "4xx"), (500, "5xx"), (302, "3xx"), (204, "2xx")] {
        let body = if status == 204 { ReplyBody::None } else { ReplyBody::Length(Bytes::new()) };
        let reply = Reply { body, ..Reply::status(status) }.header("Location", "http://elsewhere.test/");
        let report = unharmed_by(move || vec![Step::ReadAll, Step::Reply(reply.clone())]).await;
        assert_eq!(report.account().reasons[&format!("completed {class}")], COPIES, "{:?}", report.account());
        assert_eq!(report.copies().len() as u64, COPIES);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_body_is_read() {
    // The body is read all the same: the copy is whole, whenever its answer came.
    unharmed_by(|| vec![Step::Reply(Reply::status(202)), Step::ReadAll]).await.all_completed();
    let h2c = Peer::http2(|_, _| vec![Step::Reply(Reply::status(202)), Step::ReadAll]);
    Case::new().mirror(h2c).check().await.all_completed();
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_end_of_the_connection() {
    unharmed_by(|| vec![Step::Reply(Reply::status(413)), Step::Close]).await;
    unharmed_by(|| vec![Step::Read(3), Step::Reply(Reply::status(413)), Step::Reset]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_interim_answers() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    unharmed_by(move || vec![Step::write(interim), Step::ReadAll, Step::Reply(Reply::status(200))])
        .await
        .all_completed();
}

/// Each answer is read in part, and its connection never used again.
async fn read_in_part(head: &'static str, flood: Step) {
    let report = unharmed_by(move || vec![Step::ReadAll, Step::write(head), flood.clone()]).await;
    let copies = report.copies();
    assert!(copies.iter().all(Receipt::is_complete), "{copies:#?}");
    let connections: std::collections::BTreeSet<usize> = copies.iter().map(|copy| copy.connection).collect();
    assert_eq!(connections.len(), copies.len());
}

fn flood(piece: &str) -> Step {
    Step::Flood(Bytes::from(piece.repeat(100)))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_gigabytes() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n";
    read_in_part(head, flood("0123456789abcdef0123456789abcdef0123456789abcdef")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_end() {
    read_in_part("HTTP/1.1 200 OK\r\n\r\n", flood("0123456789abcdef0123456789abcdef0123456789abcdef")).await;
    read_in_part("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", flood("1\r\nx\r\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_nothing_but_interim_answers() {
    read_in_part("", flood("HTTP/1.1 100 Continue\r\n\r\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_nothing_but_a_header() {
    let x64 = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    read_in_part("HTTP/1.1 200 OK\r\nX-Long: ", flood(x64)).await;
    read_in_part("HTTP/1.1 200 OK\r\n", flood("X-Many: 1\r\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn byte_by_byte() {
    let drip = Step::Drip(Duration::from_millis(10));
    read_in_part("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", drip.clone()).await;
    read_in_part("HTTP/1.1 200 OK\r\nX: ", drip).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn that_are_none() {
    let nonsense = [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nX-Nul: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 999999 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nmore than was said",
        "\0\0\0\0\r\n\r\n\r\n\r\n",
    ];
    for answer in nonsense {
        unharmed_by(move || vec![Step::ReadAll, Step::write(answer), Step::Close]).await;
    }
}
