//! The body of a review: one piece of memory, within its bounds of size and time.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::time::timeout;

/// What is set aside at most on the mere word of a `Content-Length`.
const TRUSTED_LENGTH: usize = 1024 * 1024;

/// A body that cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is larger than allowed.
    TooLarge,
    /// It does not come.
    TooSlow,
    /// It breaks off, or breaks the rules of HTTP.
    Broken,
}

/// Reads all of a body; the time limit begins once the body makes us wait.
pub(super) async fn read(body: Body, most: usize, patience: Duration) -> Result<Bytes, Unreadable> {
    let mut reading = pin!(collect(body, most));
    // Most bodies are there with their header: no timer for them.
    let at_once = poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await;
    match at_once {
        Poll::Ready(read) => read,
        Poll::Pending => timeout(patience, reading)
            .await
            .unwrap_or(Err(Unreadable::TooSlow)),
    }
}

async fn collect(mut body: Body, most: usize) -> Result<Bytes, Unreadable> {
    let declared = body.size_hint().lower();
    let declared = usize::try_from(declared).unwrap_or(usize::MAX);
    if declared > most {
        return Err(Unreadable::TooLarge);
    }
    let first = next(&mut body).await?.unwrap_or_default();
    if first.len() > most {
        return Err(Unreadable::TooLarge);
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = next(&mut body).await? else {
        return Ok(first);
    };
    let expected = declared.min(TRUSTED_LENGTH).max(first.len() + second.len());
    let mut all = BytesMut::with_capacity(expected);
    all.extend_from_slice(&first);
    drop(first);
    let mut piece = Some(second);
    while let Some(more) = piece {
        if all.len() + more.len() > most {
            return Err(Unreadable::TooLarge);
        }
        all.extend_from_slice(&more);
        piece = next(&mut body).await?;
    }
    Ok(all.freeze())
}

/// The next piece that has bytes.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Unreadable> {
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| Unreadable::Broken)?.into_data() {
            Ok(data) if !data.is_empty() => return Ok(Some(data)),
            // Nothing, or trailers, which say nothing here.
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use futures_util::stream::{self, StreamExt};

    use super::*;

    const PATIENCE: Duration = Duration::from_mins(1);

    fn chunks(chunks: &[&'static str]) -> Body {
        let chunks: Vec<_> = chunks
            .iter()
            .map(|chunk| Ok::<_, std::io::Error>(*chunk))
            .collect();
        Body::from_stream(stream::iter(chunks))
    }

    #[tokio::test]
    async fn one_piece_is_not_copied() {
        let sent = Bytes::from_static(b"{\"kind\":\"AdmissionReview\"}");
        let read = read(Body::from(sent.clone()), 100, PATIENCE).await;
        let read = read.expect("small");
        assert_eq!(read, sent);
        assert_eq!(read.as_ptr(), sent.as_ptr());
    }

    #[tokio::test]
    async fn pieces_become_one() {
        let read = async |body| read(body, 6, PATIENCE).await;
        assert_eq!(
            read(chunks(&["ab", "", "c", "def"])).await,
            Ok("abcdef".into())
        );
        assert_eq!(read(chunks(&["abcdef"])).await, Ok("abcdef".into()));
        assert_eq!(read(Body::empty()).await, Ok(Bytes::new()));
        assert_eq!(read(chunks(&[])).await, Ok(Bytes::new()));
    }

    #[tokio::test]
    async fn too_large_is_refused_declared_or_not() {
        let read = async |body| read(body, 6, PATIENCE).await;
        assert_eq!(read(Body::from("abcdefg")).await, Err(Unreadable::TooLarge));
        assert_eq!(read(chunks(&["abcdefg"])).await, Err(Unreadable::TooLarge));
        assert_eq!(
            read(chunks(&["abc", "def", "g"])).await,
            Err(Unreadable::TooLarge)
        );
    }

    #[tokio::test]
    async fn what_breaks_off_is_broken() {
        let error = std::io::Error::other("reset");
        let pieces = stream::iter([Ok("ab"), Err(error)]);
        assert_eq!(
            read(Body::from_stream(pieces), 6, PATIENCE).await,
            Err(Unreadable::Broken)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_is_too_slow() {
        let pieces = stream::iter([Ok::<_, std::io::Error>("ab")]).chain(stream::pending());
        assert_eq!(
            read(Body::from_stream(pieces), 6, PATIENCE).await,
            Err(Unreadable::TooSlow)
        );
    }
}
