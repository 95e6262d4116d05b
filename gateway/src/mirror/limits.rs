use std::time::Duration;

/// Every number that bounds what mirroring may cost. All are per gateway process.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Body bytes that may wait for one copy. A mirror reads a loopback upload with delays of some
    /// milliseconds, in which the primary may well read megabytes: with 256 KiB nearly every large
    /// copy to a healthy mirror was cut off.
    pub copy_bytes: usize,
    /// Body bytes that may wait for all copies to one mirror, so that one mirror's trouble leaves
    /// room for the others.
    pub mirror_bytes: usize,
    /// Body bytes that may wait for all copies.
    pub process_bytes: usize,
    /// Copies to one mirror at the same time; over HTTP/2, each stream counts.
    pub in_flight: usize,
    /// How long a client may send nothing of its body before its copy has to give way to a new one,
    /// should there be no place for that.
    pub silence: Duration,
    /// Idle connections that are kept, to all mirrors together.
    pub idle_connections: usize,
    /// How long an idle connection is kept: shorter than what servers wait before they close it (5 s
    /// in Node.js, more elsewhere), so that a copy hardly ever meets a connection that is closing.
    pub idle: Duration,
    /// To get a connection: TCP, and the settings of HTTP/2.
    pub connect: Duration,
    /// How long the mirror may take no byte while there is one to send.
    pub write_idle: Duration,
    /// From the end of the request's body to the head of the answer.
    pub response_head: Duration,
    /// How much of an answer is read, so that the connection can be used again, beyond twice the
    /// bytes of the request's body. A mirror that answers as it reads, such as an echo, is to be
    /// listened to as long as it reads: closing a connection that holds an unread answer may take
    /// from the mirror what it has not read of the request.
    pub drain_bytes: usize,
    /// How long an answer is read after its head.
    pub drain: Duration,
    /// Failed connects in a row after which an endpoint of a mirror is paused.
    pub failures: u32,
    /// How long an endpoint is paused at first; each failed probe doubles it.
    pub pause_min: Duration,
    /// How long an endpoint is paused at most before it is probed again.
    pub pause_max: Duration,
    /// How often one mirror's trouble is worth a warning.
    pub warn: Duration,
}

impl Limits {
    /// How much is read of the answer to a request of which so many bytes of body were sent.
    pub(super) fn answer_bytes(&self, sent: u64) -> u64 {
        2 * sent + self.drain_bytes as u64
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            copy_bytes: 16 << 20,
            mirror_bytes: 32 << 20,
            process_bytes: 64 << 20,
            in_flight: 256,
            silence: Duration::from_secs(10),
            idle_connections: 1024,
            idle: Duration::from_secs(4),
            connect: Duration::from_secs(1),
            write_idle: Duration::from_secs(5),
            response_head: Duration::from_secs(10),
            drain_bytes: 64 << 10,
            drain: Duration::from_secs(5),
            failures: 5,
            pause_min: Duration::from_secs(1),
            pause_max: Duration::from_secs(30),
            warn: Duration::from_secs(30),
        }
    }
}
