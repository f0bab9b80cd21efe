//! One question to a registry: HEAD and if need be GET, with a challenge answered between them.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Uri};

use super::audience::Audience;
use super::challenge;
use super::error::Error;
use super::exchange::{Ask, Reply};
use super::lookup::Lookup;
use super::manifest::{self, Kind};
use super::manners::{Memory, Visit};
use super::route::Target;
use super::token::{self, GrantKey};
use crate::credentials::Credential;
use crate::image::Digest;

/// How long a manifest may be (distribution specification, "Pushing Manifests").
const MANIFEST_LIMIT: usize = 4 << 20;

const CONTENT_DIGEST: &str = "docker-content-digest";

/// One credential, or none, at one endpoint.
pub(super) struct Attempt<'a> {
    lookup: &'a Lookup<'a>,
    target: &'a Target<'a>,
    visit: &'a Visit,
    credential: Option<&'a Credential>,
    key: GrantKey,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        lookup: &'a Lookup<'a>,
        (target, visit): (&'a Target<'a>, &'a Visit),
        credential: Option<&'a Credential>,
        audience: Audience,
    ) -> Self {
        Self {
            lookup,
            target,
            visit,
            credential,
            key: GrantKey {
                endpoint: target.endpoint.to_string(),
                repository: lookup.image.repository.to_string(),
                audience,
            },
        }
    }

    /// Asks for the digest, and if it is to be verified, for what is there.
    pub(super) async fn run(&self) -> Result<Digest, Error> {
        let Lookup { grants, image, .. } = self.lookup;
        self.visit.excuse(false);
        let mut authorization = grants.get(&self.key);
        let url = self.lookup.url(self.target, &image.tag)?;
        let digest = self.digest(&url, &mut authorization).await?;
        if self.lookup.verify {
            let url = self.lookup.url(self.target, digest.as_str())?;
            let get = self.ask(Method::GET, &url, &mut authorization);
            self.check(&digest, get.await?).await?;
        }
        Ok(digest)
    }

    /// The digest by a HEAD, or if need be by a GET.
    async fn digest(
        &self,
        url: &Uri,
        authorization: &mut Option<HeaderValue>,
    ) -> Result<Digest, Error> {
        let head = self.ask(Method::HEAD, url, authorization).await?;
        match head.status.as_u16() {
            200..=299 => {
                if let Some(digest) = self.digest_of_head(&head.headers)? {
                    return Ok(digest);
                }
            }
            // A registry that does not know HEAD says so in one of these ways; and an honest 401, 403 or 404 has its
            // words in the body that only GET gets.
            400 | 401 | 403 | 404 | 405 | 406 | 501 => {}
            _ => return Err(head.error(self.lookup.subject).await),
        }
        let get = match head.status.as_u16() {
            // Without an answer to its challenge there will be no other words; the one that has been given will do.
            401 if authorization.is_none() && !head.foreign => {
                return Err(head.error(self.lookup.subject).await);
            }
            401 => self.send(Method::GET, url, authorization.as_ref()).await?,
            _ => self.ask(Method::GET, url, authorization).await?,
        };
        if get.status.is_success() {
            self.digest_of_body(get).await
        } else {
            Err(get.error(self.lookup.subject).await)
        }
    }

    /// Checks what the registry has under a digest that it has named.
    async fn check(&self, digest: &Digest, get: Reply) -> Result<(), Error> {
        match get.status.as_u16() {
            200..=299 => {}
            404 | 410 => {
                let why = format!("the registry names {digest}, and does not have it");
                return Err(self.lookup.subject.invalid(why));
            }
            _ => return Err(get.error(self.lookup.subject).await),
        }
        let (_memory, body) = self.read(get).await?;
        let objection = match manifest::check(&body) {
            Ok(()) if digest.matches(&body) => return Ok(()),
            Ok(()) => "the bytes have another digest",
            Err(why) => why,
        };
        let why = format!("what the registry has as {digest} is not that: {objection}");
        Err(self.lookup.subject.invalid(why))
    }

    /// The digest that a HEAD gives, if it can be relied on without reading the manifest.
    fn digest_of_head(&self, headers: &HeaderMap) -> Result<Option<Digest>, Error> {
        match headers
            .get(CONTENT_TYPE)
            .map(|media_type| manifest::kind(media_type.to_str().unwrap_or_default()))
        {
            Some(Kind::Schema1) => Err(self.lookup.subject.invalid(manifest::SCHEMA_1)),
            Some(Kind::Other) => Ok(None),
            Some(Kind::Manifest) | None => Ok(header_digest(headers)),
        }
    }

    /// The digest of the bytes that a GET gives, which must be a manifest.
    async fn digest_of_body(&self, get: Reply) -> Result<Digest, Error> {
        let media_type = get
            .headers
            .get(CONTENT_TYPE)
            .and_then(|media_type| media_type.to_str().ok());
        if media_type.map(manifest::kind) == Some(Kind::Schema1) {
            return Err(self.lookup.subject.invalid(manifest::SCHEMA_1));
        }
        let promised = header_digest(&get.headers);
        let (_memory, body) = self.read(get).await?;
        manifest::check(&body).map_err(|why| self.lookup.subject.invalid(why))?;
        match promised {
            Some(digest) if !digest.matches(&body) => Err(self
                .lookup
                .subject
                .invalid("the digest in the header is not that of the manifest")),
            Some(digest) => Ok(digest),
            None => Ok(Digest::of(&body)),
        }
    }

    /// Reads a manifest, once there is memory for it.
    async fn read(&self, get: Reply) -> Result<(Memory<'a>, Bytes), Error> {
        let length = get.announced().unwrap_or(MANIFEST_LIMIT);
        let memory = self
            .visit
            .memory(self.lookup.manners, length.min(MANIFEST_LIMIT));
        let memory = memory.await;
        let body = get.body(self.lookup.subject, MANIFEST_LIMIT).await?;
        Ok((memory, body))
    }

    /// Asks, and if the endpoint challenges, answers once and asks again. A challenge from where a redirect led is not
    /// answered: credentials are for the endpoint.
    async fn ask(
        &self,
        method: Method,
        url: &Uri,
        authorization: &mut Option<HeaderValue>,
    ) -> Result<Reply, Error> {
        let Lookup {
            subject,
            grants,
            image,
            ..
        } = self.lookup;
        let reply = self
            .send(method.clone(), url, authorization.as_ref())
            .await?;
        if reply.status != 401 || reply.foreign {
            return Ok(reply);
        }
        grants.forget(&self.key);
        let Some(challenge) = challenge::choose(&reply.headers) else {
            return Ok(reply);
        };
        // Frees the connection for the next question.
        let refusal = reply.error(subject).await;
        let repository = &image.repository;
        let grant = token::answer(
            self.target.wire,
            subject,
            url,
            repository,
            challenge,
            self.credential,
        )
        .await;
        self.visit.excuse(grant.is_err());
        let Some(grant) = grant? else {
            return Err(refusal);
        };
        *authorization = Some(grant.header.clone());
        let reply = self.send(method, url, authorization.as_ref()).await?;
        if reply.status != 401 {
            grants.remember(&self.key, grant);
        }
        Ok(reply)
    }

    async fn send(
        &self,
        method: Method,
        url: &Uri,
        authorization: Option<&HeaderValue>,
    ) -> Result<Reply, Error> {
        let ask = Ask {
            method,
            url: url.clone(),
            accept: manifest::ACCEPT,
            authorization,
            form: None,
            whom: "the registry",
        };
        let Lookup {
            subject,
            metrics,
            route,
            ..
        } = self.lookup;
        let reply = self.target.wire.ask(subject, ask).await?;
        if !reply.foreign {
            metrics.rate_limit(route.label, &reply.headers);
        }
        Ok(reply)
    }
}

fn header_digest(headers: &HeaderMap) -> Option<Digest> {
    Digest::parse(headers.get(CONTENT_DIGEST)?.to_str().ok()?).ok()
}
