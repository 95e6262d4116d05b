//! The universal invariants, as a pure function over what was seen: no sockets, no time.

use std::fmt;

use super::evidence::{Evidence, Run};
use crate::{Body, Call, Framing, MARK, MirrorAccount, Outcome, Receipt};

/// What holds of every case, whatever the mirror does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// The client's answers are those of a gateway without a mirror.
    SameAnswers,
    /// So is what the primary gets.
    SameRequests,
    /// Neither a call nor the next one on its connection waits for a mirror.
    NoDelay,
    /// A call is copied once at most, whatever the attempts at the primary.
    OneCopy,
    /// A copy is what the primary was sent, or a true beginning of it.
    Identical,
    /// A copy that is not whole does not look whole.
    VisiblyAborted,
    /// Every request is in the books, once.
    Balanced,
    /// Nothing stays behind: no bytes, copies, descriptors or tasks.
    NothingLeft,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub invariant: Invariant,
    /// Which call, which mirror, and what was seen of it.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not {:?}: {}", self.invariant, self.what)
    }
}

/// Everything that is not as the contract has it.
pub fn violations(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Found::default();
    unchanged(evidence, &mut found);
    for mirror in &evidence.mirrors {
        for copy in mirror.copies.iter().flatten() {
            faithful(evidence, copy, &mirror.name, &mut found);
        }
        for number in 0..evidence.calls.len() {
            let copies = mirror.copies.iter().flatten().filter(|copy| number_of(copy) == Some(number)).count();
            found.unless(copies <= 1, Invariant::OneCopy, || format!("{} got {copies} of call {number}", mirror.name));
        }
        balanced(&mirror.account, mirror.copies.as_deref(), evidence.mirrored.routed, &mirror.name, &mut found);
    }
    let left = &evidence.left;
    found.unless(left.is_nothing(), Invariant::NothingLeft, || format!("{left:?}"));
    found.0
}

fn unchanged(evidence: &Evidence, found: &mut Found) {
    let Evidence { calls, alone, mirrored, allowance, .. } = evidence;
    for (number, (expected, seen)) in alone.outcomes.iter().zip(&mirrored.outcomes).enumerate() {
        found.unless(is_same_answer(expected, seen), Invariant::SameAnswers, || {
            format!("call {number} got {} instead of {}", shown(seen), shown(expected))
        });
    }
    for (number, call) in calls.iter().enumerate() {
        let (expected, seen) = (alone.originals_of(number), mirrored.originals_of(number));
        // What a client breaks off may not have reached anybody yet.
        found.unless(expected.len() == seen.len() || !call.is_whole(), Invariant::SameRequests, || {
            format!("the primary got call {number} {} times instead of {}", seen.len(), expected.len())
        });
        for (expected, seen) in expected.iter().zip(&seen) {
            found.unless(is_same_request(expected, seen), Invariant::SameRequests, || {
                format!("the primary got call {number} as {seen:?} instead of {expected:?}")
            });
        }
    }
    found.unless(mirrored.elapsed <= alone.elapsed + *allowance, Invariant::NoDelay, || {
        format!("the calls took {:?} instead of {:?}", mirrored.elapsed, alone.elapsed)
    });
}

/// How much of an answer arrives that breaks off is chance, with and without mirrors.
fn is_same_answer(expected: &Outcome, seen: &Outcome) -> bool {
    if !expected.is_cut_off || !seen.is_cut_off {
        return expected == seen;
    }
    let is_beginning = begins_with(&expected.body, &seen.body) || begins_with(&seen.body, &expected.body);
    is_beginning && (expected.status, &expected.headers) == (seen.status, &seen.headers)
}

fn is_same_request(expected: &Receipt, seen: &Receipt) -> bool {
    let same_bytes = match (expected.is_complete(), seen.is_complete()) {
        (true, true) => expected.body == seen.body && expected.trailers == seen.trailers,
        (false, false) => begins_with(&expected.body, &seen.body) || begins_with(&seen.body, &expected.body),
        _ => false,
    };
    expected.head == seen.head && expected.framing == seen.framing && same_bytes
}

fn faithful(evidence: &Evidence, copy: &Receipt, mirror: &str, found: &mut Found) {
    let Some((number, call)) = number_of(copy).and_then(|number| Some((number, evidence.calls.get(number)?))) else {
        return found.add(Invariant::Identical, format!("{mirror} got what nobody sent: {copy:?}"));
    };
    let originals = evidence.mirrored.originals_of(number);
    // Of what was sent in raw bytes, the primary knows the body.
    let sent = call.body().or_else(|| originals.first().map(|original| original.body.clone())).unwrap_or_default();
    let is_all = copy.body == sent;
    if copy.is_complete() {
        found.unless(call.is_whole() && is_all, Invariant::VisiblyAborted, || {
            format!(
                "call {number} looks whole to {mirror} after {} bytes of {}",
                copy.body.length,
                promised(call, &sent)
            )
        });
    }
    found.unless(begins_with(&sent, &copy.body), Invariant::Identical, || {
        format!("{mirror} got other bytes of call {number}: {} of {}", copy.body.length, sent.length)
    });
    if let Some(original) = originals.first() {
        found.unless(is_same_head(original, copy), Invariant::Identical, || {
            format!(
                "{mirror} got call {number} as {:?} and the primary as {:?}",
                copy.head.text(),
                original.head.text()
            )
        });
        if copy.is_complete() && original.is_complete() {
            found.unless(copy.trailers == original.trailers, Invariant::Identical, || {
                format!("{mirror} got other trailers of call {number}: {:?}", copy.trailers)
            });
        }
    }
}

/// Line for line where both speak the same protocol. Where the headers stand that are removed and
/// added again for the primary is not part of the promise; between protocols, neither is framing.
fn is_same_head(original: &Receipt, copy: &Receipt) -> bool {
    let speaks_http2 = |receipt: &Receipt| matches!(receipt.framing, Framing::Http2(_));
    if speaks_http2(original) != speaks_http2(copy) {
        let of_hop = ["connection", "transfer-encoding", "content-length", "te", "expect"];
        return (original.method(), original.target()) == (copy.method(), copy.target())
            && original.headers_without(&of_hop) == copy.headers_without(&of_hop);
    }
    let lines = |receipt: &Receipt| {
        let mut headers = receipt.head.headers();
        headers.retain(|(name, _)| !["expect", "connection", "te"].iter().any(|hop| name.eq_ignore_ascii_case(hop)));
        headers.sort();
        (receipt.head.start_line(), headers)
    };
    lines(original) == lines(copy) && original.framing == copy.framing
}

fn balanced(account: &MirrorAccount, copies: Option<&[Receipt]>, routed: u64, mirror: &str, found: &mut Found) {
    let mut check = |holds: bool, what: &str| {
        found.unless(holds, Invariant::Balanced, || format!("{mirror}: {what}: {routed} requests, {account:?}"));
    };
    check(account.eligible() == routed, "eligible = sampled_out + skipped + dropped + started");
    check(account.started == account.ended() + account.in_flight, "started = completed + failed + aborted + in flight");
    let Some(copies) = copies else { return };
    let count = |is: fn(&Receipt) -> bool| copies.iter().filter(|copy| is(copy)).count() as u64;
    check(copies.len() as u64 <= account.started, "each copy was started");
    check(count(Receipt::is_complete) <= account.completed + account.failed, "no whole copy was booked as aborted");
    check(account.completed <= count(|copy| !copy.is_aborted()), "no aborted copy was booked as completed");
}

/// Whether `part` is how `whole` begins, as far as bytes were kept.
fn begins_with(whole: &Body, part: &Body) -> bool {
    let kept = part.bytes.len().min(whole.bytes.len());
    let equal = part.length < whole.length || part.checksum == whole.checksum;
    part.length <= whole.length && whole.bytes[..kept] == part.bytes[..kept] && equal
}

fn number_of(receipt: &Receipt) -> Option<usize> {
    receipt.header(MARK)?.parse().ok()
}

fn promised(call: &Call, sent: &Body) -> String {
    match call.is_whole() {
        true => sent.length.to_string(),
        false => format!("more than the {} that came", sent.length),
    }
}

fn shown(outcome: &Outcome) -> String {
    format!("{} {:?}, {} bytes, trailers {:?}", outcome.status, outcome.headers, outcome.body.length, outcome.trailers)
        + if outcome.is_cut_off { ", cut off" } else { "" }
}

impl Run {
    fn originals_of(&self, number: usize) -> Vec<&Receipt> {
        self.originals.iter().filter(|original| number_of(original) == Some(number)).collect()
    }
}

#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, invariant: Invariant, what: String) {
        self.0.push(Violation { invariant, what });
    }

    fn unless(&mut self, holds: bool, invariant: Invariant, what: impl FnOnce() -> String) {
        if !holds {
            self.add(invariant, what());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use super::super::evidence::Left;
    use super::*;
    use crate::{End, Head};

    const BODY: &[u8] = b"one, two, three";

    fn receipt(number: usize, body: &[u8]) -> Receipt {
        let head = format!("POST / HTTP/1.1\r\n{MARK}: {number}\r\nTransfer-Encoding: chunked\r\n\r\n");
        Receipt {
            connection: 0,
            head: Head { bytes: head.into_bytes() },
            framing: Framing::Chunked,
            body: body.into(),
            trailers: Vec::new(),
            end: End::Complete,
        }
    }

    /// Two calls that a gateway without fault answered and copied: one that came to its end, one
    /// that its client broke off.
    fn sound() -> Evidence {
        let whole = Call::in_pieces("POST", "/", [BODY.into()]);
        let broken_off = whole.clone().ending(crate::Ending::Reset);
        let aborted = Receipt { end: End::Aborted(ErrorKind::ConnectionReset), ..receipt(1, BODY) };
        let run = Run {
            outcomes: vec![Outcome { status: 200, ..Outcome::default() }, Outcome::default()],
            originals: vec![receipt(0, BODY), aborted.clone()],
            routed: 2,
            elapsed: Duration::from_millis(10),
        };
        Evidence {
            calls: vec![whole, broken_off],
            alone: run.clone(),
            mirrored: run,
            allowance: Duration::from_millis(100),
            mirrors: vec![super::super::evidence::Mirror {
                name: "mirror".to_owned(),
                copies: Some(vec![receipt(0, BODY), aborted]),
                account: MirrorAccount { started: 2, completed: 1, aborted: 1, ..MirrorAccount::default() },
            }],
            left: Left::default(),
        }
    }

    /// What the checker says of sound evidence with one fault in it.
    #[track_caller]
    fn check(fault: impl FnOnce(&mut Evidence), expected: &[Invariant]) {
        let mut evidence = sound();
        fault(&mut evidence);
        let mut found: Vec<Invariant> = violations(&evidence).iter().map(|violation| violation.invariant).collect();
        found.dedup();
        assert_eq!(found, expected);
    }

    fn copy(evidence: &mut Evidence, number: usize) -> &mut Receipt {
        &mut evidence.mirrors[0].copies.as_mut().expect("this mirror remembers")[number]
    }

    #[test]
    fn a_gateway_without_fault_passes() {
        check(|_| {}, &[]);
        check(|evidence| evidence.mirrored.elapsed += Duration::from_millis(99), &[]);
    }

    #[test]
    fn an_early_abort_is_no_fault_but_it_is_to_be_booked() {
        let abort = |evidence: &mut Evidence| {
            copy(evidence, 0).body = b"one".into();
            copy(evidence, 0).end = End::Aborted(ErrorKind::UnexpectedEof);
        };
        check(abort, &[Invariant::Balanced]);
        let booked = |evidence: &mut Evidence| {
            abort(evidence);
            evidence.mirrors[0].account = MirrorAccount { started: 2, aborted: 2, ..MirrorAccount::default() };
        };
        check(booked, &[]);
    }

    #[test]
    fn a_dropped_chunk_is_seen() {
        let expected = [Invariant::VisiblyAborted, Invariant::Identical];
        check(|evidence| copy(evidence, 0).body = b"one, three".into(), &expected);
    }

    #[test]
    fn a_doubled_chunk_is_seen() {
        let expected = [Invariant::VisiblyAborted, Invariant::Identical];
        check(|evidence| copy(evidence, 0).body = b"one, two, two, three".into(), &expected);
    }

    #[test]
    fn a_chunk_that_is_missing_from_an_aborted_copy_is_seen() {
        check(|evidence| copy(evidence, 1).body = b"two".into(), &[Invariant::Identical]);
    }

    #[test]
    fn a_clean_end_of_a_truncated_copy_is_seen() {
        check(|evidence| copy(evidence, 0).body = b"one, two".into(), &[Invariant::VisiblyAborted]);
    }

    #[test]
    fn a_clean_end_of_what_the_client_broke_off_is_seen() {
        let fault = |evidence: &mut Evidence| copy(evidence, 1).end = End::Complete;
        check(fault, &[Invariant::VisiblyAborted, Invariant::Balanced]);
    }

    #[test]
    fn another_head_is_seen() {
        let shadow = |head: &mut Head| head.bytes = head.text().replace(" / ", " /shadow ").into_bytes();
        check(|evidence| shadow(&mut copy(evidence, 0).head), &[Invariant::Identical]);
        check(|evidence| copy(evidence, 0).framing = Framing::Length(15), &[Invariant::Identical]);
        check(|evidence| copy(evidence, 0).trailers.push(("a".into(), "b".into())), &[Invariant::Identical]);
    }

    #[test]
    fn a_second_copy_is_seen() {
        let fault = |evidence: &mut Evidence| {
            let second = copy(evidence, 0).clone();
            evidence.mirrors[0].copies.as_mut().expect("this mirror remembers").push(second);
            evidence.mirrors[0].account =
                MirrorAccount { started: 3, completed: 2, aborted: 1, ..MirrorAccount::default() };
        };
        check(fault, &[Invariant::OneCopy, Invariant::Balanced]);
    }

    #[test]
    fn a_copy_of_nothing_is_seen() {
        check(|evidence| copy(evidence, 1).head.bytes = b"GET / HTTP/1.1\r\n\r\n".to_vec(), &[Invariant::Identical]);
    }

    #[test]
    fn another_answer_is_seen() {
        check(|evidence| evidence.mirrored.outcomes[0].status = 502, &[Invariant::SameAnswers]);
        check(|evidence| evidence.mirrored.outcomes[0].is_cut_off = true, &[Invariant::SameAnswers]);
        check(|evidence| evidence.mirrored.outcomes[0].body = b"x".into(), &[Invariant::SameAnswers]);
    }

    #[test]
    fn another_request_at_the_primary_is_seen() {
        let fault = |evidence: &mut Evidence| {
            evidence.mirrored.originals[0].framing = Framing::Length(15);
            copy(evidence, 0).framing = Framing::Length(15);
        };
        check(fault, &[Invariant::SameRequests]);
        check(|evidence| drop(evidence.mirrored.originals.remove(0)), &[Invariant::SameRequests]);
        let cut = |evidence: &mut Evidence| evidence.mirrored.originals[0].end = End::Aborted(ErrorKind::UnexpectedEof);
        check(cut, &[Invariant::SameRequests]);
    }

    #[test]
    fn a_delay_is_seen() {
        check(|evidence| evidence.mirrored.elapsed += Duration::from_millis(101), &[Invariant::NoDelay]);
    }

    #[test]
    fn books_that_do_not_balance_are_seen() {
        for fault in [
            |account: &mut MirrorAccount| account.started -= 1,
            |account: &mut MirrorAccount| account.completed -= 1,
            |account: &mut MirrorAccount| account.aborted += 1,
            |account: &mut MirrorAccount| account.skipped += 1,
            |account: &mut MirrorAccount| *account = MirrorAccount::default(),
            |account: &mut MirrorAccount| (account.completed, account.aborted) = (2, 0),
        ] {
            check(|evidence| fault(&mut evidence.mirrors[0].account), &[Invariant::Balanced]);
        }
    }

    #[test]
    fn what_stays_behind_is_seen() {
        for left in [
            Left { in_flight: 1, ..Left::default() },
            Left { queue_bytes: 1, ..Left::default() },
            Left { sockets: 1, ..Left::default() },
            Left { tasks: 1, ..Left::default() },
        ] {
            check(|evidence| evidence.left = left, &[Invariant::NothingLeft]);
        }
    }
}
