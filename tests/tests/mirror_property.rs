//! The mirror contract, whatever comes together: calls in any pieces, broken off anywhere, over
//! either protocol on all sides, with budgets of any size and mirrors that read, stall, reset and
//! answer as they like.

use bytes::Bytes;
use doppel_tests::{Call, Case, Ending, H2Habits, Head, MARK, Pattern, Peer, Reply, Script, Speech, Step, fuzz};
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;

/// What a mirror does with one copy.
#[derive(Clone, Debug)]
enum Turn {
    Read(u64),
    ReadAll,
    Answer,
    Stall,
    Reset,
}

#[derive(Clone, Debug)]
struct Plan {
    speech: Speech,
    calls: Vec<Call>,
    primary_is_h2c: bool,
    /// By the number of the call, again from the beginning where it has fewer.
    mirror: Vec<Vec<Turn>>,
    mirror_is_h2c: bool,
    window: Option<u32>,
    copy_bytes: usize,
}

fn call() -> impl Strategy<Value = Call> {
    let pieces = vec(prop_oneof![4 => 1..100_u64, 2 => 100..20_000_u64, 1 => 20_000..150_000_u64], 0..6);
    let ending = prop_oneof![3 => Just(Ending::Whole), 1 => Just(Ending::Reset), 1 => Just(Ending::Close)];
    (pieces, any::<bool>(), 1..1000_u64, ending).prop_map(|(lengths, has_length, missing, ending)| {
        let length: u64 = lengths.iter().sum();
        let body = Bytes::from(Pattern::new(length).bytes());
        let mut rest = body;
        let call = Call::in_pieces("POST", "/", lengths.into_iter().map(|length| rest.split_to(length as usize)));
        let missing = if ending == Ending::Whole { 0 } else { missing };
        let call = if has_length { call.declared(length + missing) } else { call };
        call.ending(ending)
    })
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        4 => (0..100_000_u64).prop_map(Turn::Read),
        4 => Just(Turn::ReadAll),
        3 => Just(Turn::Answer),
        1 => Just(Turn::Stall),
        1 => Just(Turn::Reset),
    ];
    prop_oneof![1 => Just(vec![Turn::ReadAll, Turn::Answer]), 2 => vec(turn, 0..4)]
}

fn plan() -> impl Strategy<Value = Plan> {
    let speech = prop_oneof![Just(Speech::Http1), Just(Speech::Http2)];
    let window = prop_oneof![3 => Just(None), 1 => (0..70_000_u32).prop_map(Some)];
    let copy_bytes = prop_oneof![1 => Just(16 << 20), 1 => 200..300_000_usize];
    (speech, vec(call(), 1..5), any::<bool>(), vec(turns(), 1..4), any::<bool>(), window, copy_bytes).prop_map(
        |(speech, calls, primary_is_h2c, mirror, mirror_is_h2c, window, copy_bytes)| Plan {
            speech,
            calls,
            primary_is_h2c,
            mirror,
            mirror_is_h2c,
            window,
            copy_bytes,
        },
    )
}

impl Plan {
    fn case(self) -> Case {
        let Self { speech, calls, primary_is_h2c, mirror, mirror_is_h2c, window, copy_bytes } = self;
        let script = move |_: usize, head: &Head| {
            let number: usize = head.header(MARK).and_then(|number| number.parse().ok()).unwrap_or_default();
            script(&mirror[number % mirror.len()])
        };
        let mirror = match mirror_is_h2c {
            true => Peer::Http2(H2Habits { window, ..H2Habits::default() }, Arc::new(script)),
            false => Peer::http1(script),
        };
        let primary = if primary_is_h2c { Peer::h2_echo() } else { Peer::echo() };
        Case::new()
            .calls(calls)
            .spoken(speech)
            .primary(primary)
            .mirror(mirror)
            .tuned(move |settings| settings.mirror.copy_bytes = copy_bytes)
    }
}

/// An answer is given once, and nothing after it but reading.
fn script(turns: &[Turn]) -> Script {
    let mut script = Vec::new();
    let mut is_answered = false;
    for turn in turns {
        match turn {
            Turn::Read(length) => script.push(Step::Read(*length)),
            Turn::ReadAll => script.push(Step::ReadAll),
            Turn::Answer if is_answered => {}
            Turn::Answer => script.push(Step::Reply(Reply::status(200))),
            Turn::Stall => script.push(Step::Stall),
            Turn::Reset => script.push(Step::Reset),
        }
        is_answered |= matches!(turn, Turn::Answer);
    }
    script
}

#[test]
fn whatever_comes_together_the_contract_holds() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    fuzz(plan(), |plan| {
        let wrong = runtime.block_on(plan.case().violations());
        prop_assert!(wrong.is_empty(), "{wrong:#?}");
        Ok(())
    });
}
