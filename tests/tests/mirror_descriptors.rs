//! What mirrors leave behind in the whole process. The only test of its process, so that what it
//! counts is its own.

use doppel_tests::{Call, Case, Ending, Pattern, Peer, Step, eventually};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux tells of descriptors").count()
}

fn cases() -> Vec<Case> {
    let case = |mirror| Case::new().mirror(mirror);
    let pieces = Call::in_pieces("POST", "/", Pattern::new(200_000).chunks());
    let broken_off = case(Peer::echo()).calls([pieces.clone().ending(Ending::Reset), pieces.ending(Ending::Close)]);
    vec![
        case(Peer::echo()).mirror(Peer::h2_echo()),
        case(Peer::Refuses),
        case(Peer::Unreachable),
        case(Peer::NeverReads),
        case(Peer::http1(|_, _| Step::never_answer())).mirror(Peer::http2(|_, _| Step::never_answer())),
        case(Peer::http1(|_, _| vec![Step::Read(3), Step::Reset])).mirror(Peer::http2(|_, _| vec![Step::Refuse])),
        broken_off,
    ]
}

#[cfg_attr(not(target_os = "linux"), ignore = "reads /proc")]
#[tokio::test(flavor = "multi_thread")]
async fn no_descriptor_stays_open() {
    // Once without counting, so that everything is there that stays.
    Case::new().mirror(Peer::echo()).mirror(Peer::h2_echo()).check().await;
    let count = descriptors();
    for case in cases() {
        case.check().await;
    }
    eventually("all descriptors to be closed", async || (descriptors() <= count).then_some(())).await;
}
