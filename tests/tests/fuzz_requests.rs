//! Bytes of any kind from a client: the gateway goes on, and the mirror gets what the primary got
//! or a visible abort, never something of its own.

use std::collections::BTreeMap;

use doppel_tests::{Body, Client, Echo, H2Client, Receipt, Setup, World, fuzz, mangled};
use proptest::prelude::*;

/// What mangled requests are made of.
const REQUESTS: &[&str] = &[
    "GET /a?b HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "POST /b HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody",
    "POST /c HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\nT: 1\r\n\r\n",
    "POST /d HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nConnection: X-A, close\r\nX-A: 1\r\n\r\n",
    "POST /e HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
    "POST /f HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HEAD http://a.test/g HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET /h HTTP/1.0\r\nHost: a.test\r\n\r\nGET /i HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET /j HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0",
];

struct Place {
    world: World,
    primary: Echo,
    mirror: Echo,
}

impl Place {
    async fn new() -> Self {
        let (primary, mirror) = (Echo::start().await, Echo::start().await);
        let world = Setup::mirrored(&primary, &mirror).start().await;
        Self { world, primary, mirror }
    }

    /// Sends the bytes and closes; then both protocols must still be served.
    async fn endure(&self, bytes: &[u8]) -> Result<(), TestCaseError> {
        let mut client = Client::connect(self.world.address()).await;
        let _ = client.try_send(bytes).await;
        client.try_finish().await;
        client.ignore_the_rest().await;
        prop_assert_eq!(self.world.client().await.get("/still").await.status, 200);
        prop_assert_eq!(H2Client::connect(self.world.address()).await.get("/still").await.status, 200);

        let account = self.world.mirror_account_at_rest().await;
        let (originals, copies) = (self.primary.receipts(), self.mirror.receipts());
        prop_assert!(copies.len() as u64 <= account.started, "{account:?} and {} copies", copies.len());
        let known = whole(&originals);
        for (copy, count) in whole(&copies) {
            let sent = known.get(&copy).copied().unwrap_or_default();
            prop_assert!(count <= sent, "{count} copies of what came {sent} times: {copy:?}");
        }
        Ok(())
    }
}

type Shape = (String, String, Vec<(String, String)>, (u64, u32));

/// How often each whole request came.
fn whole(receipts: &[Receipt]) -> BTreeMap<Shape, usize> {
    let mut counts = BTreeMap::new();
    for receipt in receipts.iter().filter(|receipt| receipt.is_complete()) {
        let Body { length, checksum, .. } = receipt.body;
        let headers = receipt.headers_without(&["connection", "expect", "te"]);
        *counts.entry((receipt.method(), receipt.target(), headers, (length, checksum))).or_insert(0) += 1;
    }
    counts
}

#[test]
fn whatever_a_client_sends_the_mirror_gets_nothing_of_its_own() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let requests: Vec<String> = REQUESTS.iter().map(|request| (*request).to_owned()).collect();
    fuzz(mangled(requests), |text| runtime.block_on(async { Place::new().await.endure(text.as_bytes()).await }));
}
