use std::sync::LazyLock;

use bytes::Bytes;

use crate::Body;

/// A body of any length that is made as it is sent. Its period is a prime, so that a piece lost,
/// doubled or swapped changes the checksum.
#[derive(Clone, Copy)]
pub struct Pattern {
    pub length: u64,
}

impl Pattern {
    pub fn new(length: u64) -> Self {
        Self { length }
    }

    /// The body in pieces that all share one memory.
    pub fn chunks(self) -> impl Iterator<Item = Bytes> {
        let mut sent = 0;
        std::iter::from_fn(move || {
            let start = (sent % PERIOD as u64) as usize;
            let length = (self.length - sent).min(CHUNK as u64) as usize;
            sent += length as u64;
            (length > 0).then(|| BLOCK.slice(start..start + length))
        })
    }

    pub fn bytes(self) -> Vec<u8> {
        self.chunks().flatten().collect()
    }

    /// The body as its receivers should remember it.
    pub fn body(self) -> Body {
        let mut body = Body::default();
        self.chunks().for_each(|chunk| body.push(&chunk));
        body
    }
}

const PERIOD: usize = 1_000_003;
const CHUNK: usize = 64 << 10;

/// A period, and as much again as a piece that begins in it may need.
static BLOCK: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    let mut block: Vec<u8> = (0..PERIOD).map(|_| random()).collect();
    block.extend_from_within(..CHUNK);
    block.into()
});
