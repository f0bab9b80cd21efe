//! One connection from its handshake to its end.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tower_service::Service;

use super::listen::Door;
use super::pace::{Pace, Paced};

/// Room for a request's header.
const HEADER_BYTES: usize = 32 * 1024;
/// How long a connection that nobody uses may take to say good-bye.
const GOOD_BYE: Duration = Duration::from_secs(1);

/// Serves a connection until it ends, is overdue, or `closing` asks it to finish its request.
pub(super) async fn serve(door: &Door, stream: TcpStream, closing: watch::Receiver<()>) {
    let Some(tls) = &door.tls else {
        return speak(door, stream, closing).await;
    };
    let handshake = timeout(door.limits.handshake, tls.accept(stream));
    match handshake.await {
        Ok(Ok(stream)) => speak(door, stream, closing).await,
        Ok(Err(error)) => {
            door.handshake_failures.inc();
            if is_alert(&error) {
                // Such as a caller that has another CA bundle: somebody has to mend it.
                tracing::warn!(%error, "a TLS handshake failed");
            } else {
                tracing::debug!(%error, "a TLS handshake broke off");
            }
        }
        Err(_) => {
            door.handshake_failures.inc();
            tracing::debug!("a TLS handshake took too long");
        }
    }
}

/// Whether the other side said why it does not want us.
fn is_alert(error: &io::Error) -> bool {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|error| matches!(error, rustls::Error::AlertReceived(_)))
}

async fn speak<S>(door: &Door, stream: S, mut closing: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pace = Arc::new(Pace::new(door.limits.header, door.limits.idle));
    let stream = TokioIo::new(Paced::new(stream, pace.clone()));
    let router = &door.router;
    let answer = service_fn(|request: http::Request<Incoming>| {
        pace.busy();
        let answer = router.clone().call(request);
        let pace = &pace;
        async move {
            let answer = answer.await;
            pace.idle();
            answer
        }
    });
    let connection = http1::Builder::new()
        .max_header_size(HEADER_BYTES)
        .serve_connection(stream, answer);
    let mut connection = pin!(connection);
    let mut overdue = pin!(pace.overdue());
    let mut closed = false;
    loop {
        tokio::select! {
            biased;
            end = connection.as_mut() => {
                if let Err(error) = end {
                    tracing::debug!(%error, "a connection broke off");
                }
                return;
            }
            () = overdue.as_mut() => {
                if pace.is_idle() {
                    connection.as_mut().graceful_shutdown();
                    let _ = timeout(GOOD_BYE, connection).await;
                } else {
                    tracing::debug!("a request's header took too long");
                }
                return;
            }
            _ = closing.changed(), if !closed => {
                closed = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
