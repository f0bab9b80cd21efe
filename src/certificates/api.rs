//! Requests to the API server, and what goes wrong with them.
//!
//! Not by way of `kube::Api`, which logs what it cannot decode, values of Secrets included.

use std::time::Duration;

use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use secrecy::zeroize::Zeroizing;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::clock::Clock;
use crate::cluster::{Broken, message, read_body, told};
use crate::server;

/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Who writes, in the managed fields of objects.
const MANAGER: &str = "fieldManager=surepull";

/// Why an object could not be read or written. Never quotes one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server cannot be asked, or does not answer.
    #[error("the API server does not answer about {0}: {1}")]
    NoAnswer(String, String),
    /// The API server refuses.
    #[error("the API server does not accept {method} of {path}: {status} {message}")]
    Refused {
        /// The HTTP method.
        method: Method,
        /// The object.
        path: String,
        /// The HTTP status.
        status: u16,
        /// Its own words, for the refusals that name who may not do what.
        message: String,
    },
    /// Somebody else wrote in between.
    #[error("somebody else has changed {0} in between")]
    Conflict(String),
    /// An answer that is no such object.
    #[error("what the API server answers about {0} makes no sense")]
    Nonsense(String),
    /// No certificate can be made.
    #[error(transparent)]
    Certificate(#[from] server::Error),
}

/// The way to the API server.
pub(super) struct Api {
    client: Client,
    pub(super) clock: Clock,
}

impl Api {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            clock: Clock::default(),
        }
    }

    /// The object at this path, if there is one.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Error> {
        let request = Request::get(path).body(Vec::new());
        match self.ask(Method::GET, path, request).await {
            Ok(body) => {
                // The error would quote the text.
                let object = serde_json::from_slice(&body);
                object.map(Some).map_err(|_| Error::Nonsense(path.into()))
            }
            Err(Error::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an object in a collection.
    pub(super) async fn create(&self, collection: &str, object: &Value) -> Result<(), Error> {
        let url = format!("{collection}?{MANAGER}");
        let request = Request::post(&url).header("content-type", "application/json");
        self.write(Method::POST, collection, request, object).await
    }

    /// Replaces an object, which names the version that it replaces.
    pub(super) async fn replace(&self, path: &str, object: &Value) -> Result<(), Error> {
        let url = format!("{path}?{MANAGER}");
        let request = Request::put(&url).header("content-type", "application/json");
        self.write(Method::PUT, path, request, object).await
    }

    /// Changes an object by a strategic merge patch, which names the version that it changes.
    pub(super) async fn patch(&self, path: &str, change: &Value) -> Result<(), Error> {
        let url = format!("{path}?{MANAGER}");
        let kind = "application/strategic-merge-patch+json";
        let request = Request::patch(&url).header("content-type", kind);
        self.write(Method::PATCH, path, request, change).await
    }

    async fn write(
        &self,
        method: Method,
        path: &str,
        request: http::request::Builder,
        object: &Value,
    ) -> Result<(), Error> {
        let request = request.body(object.to_string().into_bytes());
        self.ask(method, path, request).await.map(drop)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        request: http::Result<Request<Vec<u8>>>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let no_answer = |why: String| Error::NoAnswer(path.to_owned(), why);
        let request = request.map_err(|error| no_answer(error.to_string()))?;
        let answer = async {
            let response = self.client.send(request.map(Body::from)).await;
            let response = response.map_err(|error| told(&error))?;
            self.clock.set(response.headers());
            let status = response.status().as_u16();
            let body = read_body(response).await.map_err(|broken| match broken {
                Broken::Off(why) => why,
                Broken::TooLong => "the answer is too long".to_owned(),
            })?;
            Ok((status, body))
        };
        let answer = timeout(LIMIT, answer).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let (status, body) = answer.map_err(no_answer)?;
        match status {
            200..=299 => Ok(body),
            409 => Err(Error::Conflict(path.to_owned())),
            status => Err(Error::Refused {
                method,
                path: path.to_owned(),
                status,
                // Others may quote what was sent.
                message: matches!(status, 401 | 403)
                    .then(|| message(&body))
                    .unwrap_or_default(),
            }),
        }
    }
}
