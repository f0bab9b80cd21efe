//! One GET by name. Objects are never listed here, and what is read is bounded, and zeroized.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use moka::sync::Cache;
use secrecy::zeroize::{Zeroize, Zeroizing};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::access::told;
use super::object_name::ObjectName;
use super::{Metrics, Unreadable};
use crate::mutation::clean;

/// How long a question may take, its place in the queue included. Who waits for it may give up earlier.
const LIMIT: Duration = Duration::from_secs(10);
/// How many questions may be under way at a time.
const AT_ONCE: usize = 64;
/// How long an object may be. What etcd takes is at most 1.5 MiB, of which base64 makes 2 MiB.
const BODY_LIMIT: usize = 4 << 20;
/// How long the same complaint is not repeated in the log.
const QUIET: Duration = Duration::from_mins(10);

/// Reads single objects.
pub(super) struct Reader {
    client: Client,
    metrics: Metrics,
    places: Semaphore,
    complaints: Cache<(&'static str, String), ()>,
}

impl Reader {
    pub(super) fn new(client: Client, metrics: Metrics) -> Self {
        let complaints = Cache::builder().max_capacity(1000).time_to_live(QUIET);
        Self {
            client,
            metrics,
            places: Semaphore::new(AT_ONCE),
            complaints: complaints.build(),
        }
    }

    /// The JSON of the object of this name.
    pub(super) async fn get(
        &self,
        resource: &'static str,
        ObjectName { namespace, name }: &ObjectName,
    ) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        let url = format!("/api/v1/namespaces/{namespace}/{resource}/{name}");
        let answer = timeout(LIMIT, self.ask(&url))
            .await
            .unwrap_or_else(|_| Err((Unreadable::NoAnswer, "no answer in time".to_owned())));
        let result = match &answer {
            Ok(_) => "found",
            Err((Unreadable::NotFound, _)) => "notFound",
            Err((Unreadable::Forbidden | Unreadable::Unauthenticated, _)) => "forbidden",
            Err(_) => "failed",
        };
        self.metrics.requested(resource, result);
        answer.map_err(|(why, detail)| {
            if why != Unreadable::NotFound {
                self.complain(resource, namespace, &detail);
            }
            why
        })
    }

    /// Asks; an error comes with what is said of it in the log.
    ///
    /// Not by way of `kube::Api`, which logs what it cannot read, values of Secrets included.
    async fn ask(&self, url: &str) -> Result<Zeroizing<Vec<u8>>, (Unreadable, String)> {
        let request = Request::get(url).header("accept", "application/json");
        let request = request
            .body(Body::empty())
            .map_err(|error| (Unreadable::NotFound, error.to_string()))?;
        let _place = self.places.acquire().await;
        let response = self.client.send(request).await;
        let response = response.map_err(|error| (Unreadable::NoAnswer, told(&error)))?;
        let status = response.status();
        let body = read_body(response).await.map_err(|broken| match broken {
            Broken::Off(why) => (Unreadable::NoAnswer, why),
            Broken::TooLong => (Unreadable::Nonsense, "the answer is too long".to_owned()),
        })?;
        let why = match status.as_u16() {
            200 => return Ok(body),
            401 => Unreadable::Unauthenticated,
            403 => Unreadable::Forbidden,
            404 => Unreadable::NotFound,
            status => Unreadable::Status(status),
        };
        Err((why, format!("{status}: {}", message(&body))))
    }

    /// Says in the log what the operator has to look after, once in a while for each namespace.
    fn complain(&self, resource: &'static str, namespace: &str, why: &str) {
        let complaint = (resource, namespace.to_owned());
        if self.complaints.entry(complaint).or_insert(()).is_fresh() {
            tracing::warn!(resource, namespace, why, "the API server does not show it");
        }
    }
}

/// Why the body of a response is not there.
pub(crate) enum Broken {
    /// It breaks off: why.
    Off(String),
    /// It is longer than any object.
    TooLong,
}

/// The body of a response. What has passed through the connection's own buffers is out of reach.
pub(crate) async fn read_body(response: Response<Body>) -> Result<Zeroizing<Vec<u8>>, Broken> {
    let mut frames = Vec::new();
    let mut length = 0;
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Broken::Off(told(&error)))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        frames.push(data);
        if length > BODY_LIMIT {
            return Err(Broken::TooLong);
        }
    }
    // Of the full length from the beginning, so that no shorter one is left behind.
    let mut whole = Zeroizing::new(Vec::with_capacity(length));
    for frame in frames {
        whole.extend_from_slice(&frame);
        wipe(frame);
    }
    Ok(whole)
}

/// Zeroizes the bytes, if nobody shares them.
fn wipe(bytes: Bytes) {
    if let Ok(mut bytes) = bytes.try_into_mut() {
        bytes.zeroize();
    }
}

/// The API server's own words, which name who may not do what.
pub(crate) fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Status {
        #[serde(default)]
        message: String,
    }
    let status: Result<Status, _> = serde_json::from_slice(body);
    status.map_or_else(|_| String::new(), |status| clean(&status.message, 500))
}
