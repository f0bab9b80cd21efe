//! Time limits of a connection, kept with one timer for its whole life.
//!
//! hyper's own header limit also ends idle connections, and sets up a timer for each request. Here a request costs
//! two stores: the phase changes, and the timer, when it fires, looks whether the phase is really overdue.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

/// A request's header is on its way (or a new connection's first one is awaited).
const HEADER: u8 = 0;
/// A request is being answered; limits are the handler's.
const BUSY: u8 = 1;
/// Between two requests.
const IDLE: u8 = 2;

/// Where a connection is, and since when. Only the connection's own task looks and writes.
#[derive(Debug)]
pub(super) struct Pace {
    born: Instant,
    phase: AtomicU8,
    since: AtomicU64,
    header: Duration,
    idle: Duration,
}

impl Pace {
    /// A new connection, whose first header is awaited.
    pub(super) fn new(header: Duration, idle: Duration) -> Self {
        Self {
            born: Instant::now(),
            phase: AtomicU8::new(HEADER),
            since: AtomicU64::new(0),
            header,
            idle,
        }
    }

    fn enter(&self, phase: u8) {
        let since = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since.store(since, Relaxed);
        self.phase.store(phase, Relaxed);
    }

    /// A header has come.
    pub(super) fn busy(&self) {
        self.phase.store(BUSY, Relaxed);
    }

    /// An answer is ready to be sent.
    pub(super) fn idle(&self) {
        self.enter(IDLE);
    }

    /// Whether the connection is between two requests.
    pub(super) fn is_idle(&self) -> bool {
        self.phase.load(Relaxed) == IDLE
    }

    fn due(&self) -> Option<Instant> {
        let limit = match self.phase.load(Relaxed) {
            HEADER => self.header,
            IDLE => self.idle,
            _ => return None,
        };
        Some(self.born + Duration::from_millis(self.since.load(Relaxed)) + limit)
    }

    /// Done when the phase has lasted too long. To be polled in the connection's task, after the connection.
    pub(super) async fn overdue(&self) {
        let mut timer = pin!(sleep_until(self.born + self.header));
        poll_fn(|context| {
            loop {
                // While busy nobody waits here: the answer wakes this task.
                let Some(due) = self.due() else {
                    return Poll::Pending;
                };
                if timer.deadline() > due {
                    timer.as_mut().reset(due);
                }
                ready!(timer.as_mut().poll(context));
                if Instant::now() >= due {
                    return Poll::Ready(());
                }
                timer.as_mut().reset(due);
            }
        })
        .await;
    }
}

/// A stream that tells its pace when the first byte of a next request comes.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    pace: Arc<Pace>,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, pace: Arc<Pace>) -> Self {
        Self { stream, pace }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before && self.pace.is_idle() {
            self.pace.enter(HEADER);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    const HEADER_LIMIT: Duration = Duration::from_secs(10);
    const IDLE_LIMIT: Duration = Duration::from_secs(100);

    async fn is_overdue(pace: &Pace) -> bool {
        timeout(Duration::ZERO, pace.overdue()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_own_limit() {
        let pace = Pace::new(HEADER_LIMIT, IDLE_LIMIT);
        advance(Duration::from_secs(9)).await;
        assert!(!is_overdue(&pace).await);
        advance(Duration::from_secs(2)).await;
        assert!(is_overdue(&pace).await);
        pace.busy();
        advance(Duration::from_secs(1000)).await;
        assert!(!is_overdue(&pace).await);
        pace.idle();
        advance(Duration::from_secs(99)).await;
        assert!(!is_overdue(&pace).await);
        pace.enter(HEADER);
        advance(Duration::from_secs(9)).await;
        assert!(!is_overdue(&pace).await);
        advance(Duration::from_secs(2)).await;
        assert!(is_overdue(&pace).await);
    }

    #[tokio::test(start_paused = true)]
    async fn one_timer_follows_the_phases() {
        let pace = Pace::new(HEADER_LIMIT, IDLE_LIMIT);
        let begun = Instant::now();
        pace.busy();
        pace.idle();
        pace.overdue().await;
        assert!(begun.elapsed() >= IDLE_LIMIT);
    }

    #[tokio::test]
    async fn a_byte_after_a_pause_begins_a_header() {
        let pace = Arc::new(Pace::new(HEADER_LIMIT, IDLE_LIMIT));
        pace.idle();
        let mut stream = Paced::new(&b"POST"[..], pace.clone());
        let mut buffer = [0; 4];
        tokio::io::AsyncReadExt::read(&mut stream, &mut buffer)
            .await
            .expect("bytes");
        assert!(!pace.is_idle());
    }
}
