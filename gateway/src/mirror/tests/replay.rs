//! A body that is sent to the primary more than once, and to the mirror once.

use proptest::prelude::*;

use super::*;

/// One attempt at the primary: in which pieces it is sent the body, up to where it breaks off.
#[derive(Clone, Debug)]
struct Attempt {
    pieces: Vec<usize>,
    /// The end is told after the pieces.
    ended: bool,
}

/// What must become of the copy, by the plainest of means.
fn expected(body: &[u8], with_length: bool, attempts: &[Attempt]) -> (Vec<u8>, &'static str) {
    let (mut sent, mut started) = (0, false);
    for attempt in attempts {
        let reached = attempt.pieces.iter().sum::<usize>();
        if attempt.ended && reached < sent {
            return (body[..sent].to_vec(), "aborted replay");
        }
        started = started || reached > 0;
        sent = sent.max(reached);
        if attempt.ended {
            let whole = !with_length || sent == body.len();
            return (body[..sent].to_vec(), if whole { "completed 2xx" } else { "aborted length" });
        }
    }
    (body[..sent].to_vec(), "aborted unfinished")
}

/// The copy as the mirror gets it, without its chunks' framing, and whether it is whole.
async fn receive(mut connection: Connection, with_length: Option<usize>) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while !connection.read.windows(4).any(|window| window == b"\r\n\r\n") {
        // An abort may come between connecting and sending.
        if !connection.read_some().await {
            return (body, false);
        }
    }
    connection.head().await;
    loop {
        if let Some(length) = with_length {
            while connection.read.len() < length && connection.read_some().await {}
            body.append(&mut connection.read);
            break;
        }
        while !connection.read.windows(2).any(|window| window == b"\r\n") {
            if !connection.read_some().await {
                return (body, false);
            }
        }
        let line = connection.read_until("\r\n").await;
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        body.extend(connection.read_exact(size).await);
        assert_eq!(connection.read_until("\r\n").await, "\r\n");
        if size == 0 {
            break;
        }
    }
    let whole = with_length.is_none_or(|length| body.len() == length);
    if whole {
        connection.ok().await;
    }
    // Nothing may follow.
    assert_eq!(connection.rest().await, b"");
    (body, whole)
}

async fn check(length: usize, with_length: bool, attempts: Vec<Attempt>, yields: Vec<bool>) {
    let body = bytes(length);
    let (expected, books) = expected(&body, with_length, &attempts);
    // The connection is closed soon after, which shows that nothing follows.
    let limits = Limits { idle: Duration::from_millis(1), ..Limits::default() };
    let (world, mirror) = (World::new(limits), Mirror::new().await);
    let head = if with_length { post(length) } else { chunked() };
    let mut tee = world.copy(mirror.endpoint, &head);
    let mut yields = yields.into_iter().cycle();
    for Attempt { pieces, ended } in attempts {
        tee.attempt();
        let mut at = 0;
        for (i, piece) in pieces.iter().enumerate() {
            let end = ended && i + 1 == pieces.len();
            tee.body(Some(&body.slice(at..at + piece)), end);
            at += piece;
            if yields.next().unwrap_or(false) {
                tokio::task::yield_now().await;
            }
        }
        if ended && pieces.is_empty() {
            tee.body(None, false);
        }
    }
    drop(tee);
    // A copy that is whole ends the moment its answer comes; one that is not may never have begun.
    let receiving = tokio::spawn(async move {
        let connection = mirror.listener.accept().await.unwrap().0;
        receive(Connection { stream: connection, read: Vec::new() }, with_length.then_some(length)).await
    });
    world.books(&[(books, 1)]).await;
    drop(world);
    if books != "completed 2xx" {
        // Whatever came is a true beginning, and shown as broken off.
        if receiving.is_finished() {
            let (got, whole) = receiving.await.unwrap();
            assert!(expected.starts_with(&got) && (with_length || !whole));
        } else {
            receiving.abort();
        }
        return;
    }
    let (got, whole) = soon(receiving).await.unwrap();
    assert!(got == expected && whole);
}

fn attempts(length: usize) -> impl Strategy<Value = Vec<Attempt>> {
    let attempt = (prop::collection::vec(0..length / 2 + 2, 0..6), any::<bool>(), any::<bool>()).prop_map(
        move |(mut pieces, whole, ended)| {
            let mut left = length;
            for piece in &mut pieces {
                *piece = left.min(*piece);
                left -= *piece;
            }
            if whole {
                pieces.push(left);
            }
            Attempt { pieces, ended }
        },
    );
    prop::collection::vec(attempt, 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_attempts_the_copy_is_whole_or_broken_off(
        (length, attempts) in prop_oneof![0..9usize, 9..5_000usize].prop_flat_map(|n| (Just(n), attempts(n))),
        with_length: bool,
        yields in prop::collection::vec(any::<bool>(), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(length, with_length, attempts, yields));
    }
}

#[tokio::test]
async fn a_replay_in_other_pieces_is_not_sent_twice() {
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    let mut tee = world.copy(mirror.endpoint, &post(6));
    for pieces in [&["ab", "c"][..], &["abcd"], &["a", "bcdef"], &["abcdef"]] {
        tee.attempt();
        let mut left = 6;
        for piece in pieces {
            left -= piece.len();
            tee.body(Some(&Bytes::from_static(piece.as_bytes())), left == 0);
        }
    }
    let mut connection = mirror.accept().await;
    connection.head().await;
    assert_eq!(connection.read_exact(6).await, b"abcdef");
    connection.ok().await;
    world.books(&[("completed 2xx", 1)]).await;
}

#[tokio::test]
async fn a_replay_that_ends_before_what_was_sent_aborts_the_copy() {
    let (world, mirror) = (World::new(Limits::default()), Mirror::new().await);
    let mut tee = world.copy(mirror.endpoint, &chunked());
    tee.body(Some(&Bytes::from_static(b"abc")), false);
    let mut connection = mirror.accept().await;
    connection.read_until("abc").await;
    tee.attempt();
    tee.body(Some(&Bytes::from_static(b"ab")), true);
    assert_eq!(connection.rest().await, b"\r\n");
    world.books(&[("aborted replay", 1)]).await;
}
