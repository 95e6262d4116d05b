//! Connections of HTTP/1.1 that wait for the next request.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, sleep};

/// Keeps connections without a task for each: whether the other end is still there is looked at when
/// a connection is taken, and now and then as long as there are any.
///
/// Pingora's pool starts a task with a timer whenever a connection is put back and waits for its end
/// when the connection is taken, which is a tenth of what a small request costs.
pub(crate) struct Http1Pool<S> {
    idle: Arc<Mutex<Idle<S>>>,
    most: usize,
    time: Duration,
}

/// What a connection is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) endpoint: SocketAddr,
    /// The bond's number; 0 without TLS.
    pub(crate) bond: u64,
}

struct Idle<S> {
    /// The one that was used last is at the end, and used first.
    by_key: HashMap<Key, Vec<Waiting<S>>, RandomState>,
    count: usize,
    is_swept: bool,
}

struct Waiting<S> {
    stream: S,
    since: Instant,
}

impl<S: AsyncRead + Unpin + Send + 'static> Http1Pool<S> {
    /// Keeps up to `most` connections, each for no longer than `time`.
    pub(crate) fn new(most: usize, time: Duration) -> Self {
        let idle = Idle { by_key: HashMap::default(), count: 0, is_swept: false };
        Self { idle: Arc::new(Mutex::new(idle)), most, time }
    }

    /// A connection that can be written to.
    pub(crate) fn take(&self, key: &Key) -> Option<S> {
        loop {
            let mut waiting = lock(&self.idle).take(key)?;
            if waiting.is_good(self.time) {
                return Some(waiting.stream);
            }
        }
    }

    /// Keeps a connection that has carried a whole request and its whole answer, if there is room. To
    /// be called within a tokio runtime.
    pub(crate) fn put(&self, key: Key, stream: S) {
        let mut idle = lock(&self.idle);
        if idle.count >= self.most {
            return;
        }
        idle.count += 1;
        idle.by_key.entry(key).or_default().push(Waiting { stream, since: Instant::now() });
        if !std::mem::replace(&mut idle.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(&self.idle), self.time));
        }
    }
}

impl<S: AsyncRead + Unpin> Idle<S> {
    fn take(&mut self, key: &Key) -> Option<Waiting<S>> {
        let waiting = self.by_key.get_mut(key)?.pop()?;
        self.count -= 1;
        Some(waiting)
    }

    /// Gives up what is good for nothing any more, and tells whether something is left.
    fn sweep(&mut self, time: Duration) -> (Vec<Waiting<S>>, bool) {
        let mut gone = Vec::new();
        self.by_key.retain(|_, waiting| {
            gone.extend(waiting.extract_if(.., |waiting| !waiting.is_good(time)));
            !waiting.is_empty()
        });
        self.count -= gone.len();
        self.is_swept = self.count > 0;
        (gone, self.is_swept)
    }
}

impl<S: AsyncRead + Unpin> Waiting<S> {
    /// Whether the other end has neither closed the connection nor said what nobody asked for, and is
    /// not about to.
    fn is_good(&mut self, time: Duration) -> bool {
        let mut byte = [0];
        let mut context = Context::from_waker(Waker::noop());
        self.since.elapsed() < time
            && Pin::new(&mut self.stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
    }
}

/// Looks after connections until there are none.
async fn sweep<S: AsyncRead + Unpin>(idle: Weak<Mutex<Idle<S>>>, time: Duration) {
    loop {
        sleep(time / SWEEPS).await;
        let Some(idle) = idle.upgrade() else { return };
        let (gone, is_more_left) = lock(&idle).sweep(time);
        // Closing takes its time, in which nobody should wait for the others.
        drop(gone);
        if !is_more_left {
            return;
        }
    }
}

fn lock<S>(idle: &Mutex<Idle<S>>) -> MutexGuard<'_, Idle<S>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often a connection is looked at in the time for which it is kept.
const SWEEPS: u32 = 4;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const TIME: Duration = Duration::from_secs(4);

    /// Connections to one endpoint.
    struct Line {
        listener: TcpListener,
        key: Key,
    }

    impl Line {
        async fn new() -> Self {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let key = Key { endpoint: listener.local_addr().unwrap(), bond: 0 };
            Self { listener, key }
        }

        /// Our end and the other.
        async fn open(&self) -> (TcpStream, TcpStream) {
            let (ours, theirs) = tokio::join!(TcpStream::connect(self.key.endpoint), self.listener.accept());
            (ours.unwrap(), theirs.unwrap().0)
        }
    }

    fn port(stream: &TcpStream) -> u16 {
        stream.local_addr().unwrap().port()
    }

    fn count(pool: &Http1Pool<TcpStream>) -> usize {
        lock(&pool.idle).count
    }

    #[tokio::test]
    async fn the_connection_that_was_used_last_is_used_first_and_only_for_its_key() {
        let (pool, line) = (Http1Pool::new(9, TIME), Line::new().await);
        let ((first, _a), (second, _b)) = (line.open().await, line.open().await);
        let ports = [port(&first), port(&second)];
        pool.put(line.key, first);
        pool.put(line.key, second);
        assert!(pool.take(&Key { bond: 1, ..line.key }).is_none());
        assert_eq!(
            [pool.take(&line.key), pool.take(&line.key)].map(|taken| port(&taken.unwrap())),
            [ports[1], ports[0]]
        );
        assert!(pool.take(&line.key).is_none());
        assert_eq!(count(&pool), 0);
    }

    #[tokio::test]
    async fn only_so_many_are_kept() {
        let (pool, line) = (Http1Pool::new(1, TIME), Line::new().await);
        let ((first, _a), (second, _b)) = (line.open().await, line.open().await);
        pool.put(line.key, first);
        pool.put(line.key, second);
        assert_eq!(count(&pool), 1);
    }

    #[tokio::test]
    async fn one_that_was_closed_or_that_speaks_unasked_is_not_used() {
        let (pool, line) = (Http1Pool::new(9, TIME), Line::new().await);
        let (closed, theirs) = line.open().await;
        drop(theirs);
        let (speaking, mut theirs) = line.open().await;
        theirs.write_all(b"HTTP/1.1 408 \r\n\r\n").await.unwrap();
        for stream in [closed, speaking] {
            stream.readable().await.unwrap();
            pool.put(line.key, stream);
        }
        assert!(pool.take(&line.key).is_none());
        assert_eq!(count(&pool), 0);
    }

    #[tokio::test]
    async fn those_that_wait_too_long_or_were_closed_are_given_up_by_themselves() {
        let (pool, line) = (Http1Pool::new(9, TIME), Line::new().await);
        let ((kept, _theirs), (closed, theirs)) = (line.open().await, line.open().await);
        drop(theirs);
        closed.readable().await.unwrap();
        tokio::time::pause();
        pool.put(line.key, kept);
        pool.put(line.key, closed);
        sleep(TIME / SWEEPS + Duration::from_millis(1)).await;
        assert_eq!(count(&pool), 1);
        sleep(TIME).await;
        assert_eq!(count(&pool), 0);
        assert!(!lock(&pool.idle).is_swept);
    }
}
