//! One look-up: endpoints in order, credentials in order, HEAD and if need be GET.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Uri};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use super::audience::{Audience, Audiences};
use super::cache::Key;
use super::connect::{Origin, Wire};
use super::error::{Error, Subject};
use super::exchange::{Ask, Reply};
use super::manifest::{self, Kind};
use super::manners::{Manners, Retries, Withheld};
use super::metrics::Metrics;
use super::route::{Route, Target};
use super::token::{self, GrantKey, Grants};
use super::{Image, challenge};
use crate::credentials::{Credential, CredentialKind, Providers};
use crate::image::Digest;

/// How long a manifest may be (distribution specification, "Pushing Manifests").
const MANIFEST_LIMIT: usize = 4 << 20;

const CONTENT_DIGEST: &str = "docker-content-digest";

/// What all attempts of one look-up share.
pub(super) struct Lookup<'a> {
    pub(super) image: &'a Image<'a>,
    pub(super) route: &'a Route<'a>,
    pub(super) grants: &'a Grants,
    pub(super) audiences: &'a Audiences,
    pub(super) manners: &'a Manners,
    pub(super) metrics: &'a Metrics,
    pub(super) subject: &'a Subject,
    /// Whether a digest is asked for, too.
    pub(super) verify: bool,
    pub(super) providers: &'a Providers,
    /// When credential providers have to have answered.
    pub(super) providers_until: Instant,
    /// What they have answered to this look-up.
    pub(super) provided: OnceCell<Vec<Credential>>,
}

impl Lookup<'_> {
    /// Asks the endpoints in order, the next one whatever goes wrong at one, as containerd does (`core/remotes/docker`).
    /// What the last one says counts: it is the origin.
    pub(super) async fn run(&self, credentials: &[Credential]) -> Result<Digest, Error> {
        if !is_name(self.image) {
            return Err(self.subject.refused("it is not the name of an image"));
        }
        let mut last = self.subject.unreachable("there is no endpoint");
        for target in &self.route.targets {
            match self.ask_endpoint(target, credentials).await {
                Ok(digest) => return Ok(digest),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Asks one endpoint, when there is room, and if it is fit to be asked.
    async fn ask_endpoint(
        &self,
        target: &Target<'_>,
        credentials: &[Credential],
    ) -> Result<Digest, Error> {
        let origin = Origin::of(&self.url(target, &self.image.tag)?);
        let origin =
            origin.ok_or_else(|| self.subject.refused("it does not name a registry's host"))?;
        let host = self.manners.host(&origin, self.route.at_once);
        let visit = host.enter().await;
        let visit = visit.map_err(|withheld| self.withheld(withheld))?;
        let answer = self.try_credentials(target, &origin, credentials).await;
        visit.end(&answer);
        answer
    }

    /// Tries every credential in turn, whatever the error, as the kubelet does (`kuberuntime_image.go`); without any,
    /// once without.
    async fn try_credentials(
        &self,
        target: &Target<'_>,
        origin: &Origin,
        credentials: &[Credential],
    ) -> Result<Digest, Error> {
        let anonymous = credentials.is_empty().then_some(None);
        let mut telling: Option<Error> = None;
        let mut retries = Retries::new();
        for (position, credential) in credentials.iter().map(Some).chain(anonymous).enumerate() {
            for one in self.expanded(position, credential).await {
                let one = one.filter(|one| !one.is_anonymous());
                let answer = self.try_credential(target, origin, one, &mut retries).await;
                let error = match answer {
                    Ok(digest) => {
                        let key = Key::new(self.image, self.audiences.of(credentials));
                        self.grants.remember_position(key, position);
                        return Ok(digest);
                    }
                    Err(error) if error.may_depend_on_credential() => error,
                    Err(error) => return Err(error),
                };
                // The first that is more than a refused credential says most: that an account finds nothing, for one.
                let says_more = !error.is_about_authorization();
                match &telling {
                    Some(first) if !(first.is_about_authorization() && says_more) => {}
                    _ => telling = Some(error),
                }
            }
        }
        Err(telling.unwrap_or_else(|| self.subject.unreachable("nothing was tried")))
    }

    /// What is tried for a credential: itself, or those that the providers have. Where they have none and nothing comes
    /// before them, the kubelet tries without.
    async fn expanded<'c>(
        &'c self,
        position: usize,
        credential: Option<&'c Credential>,
    ) -> Vec<Option<&'c Credential>> {
        match credential.map(|credential| &credential.kind) {
            Some(CredentialKind::Providers) => {
                let provided = self.provided.get_or_init(|| self.ask_providers()).await;
                let without = (provided.is_empty() && position == 0).then_some(None);
                provided.iter().map(Some).chain(without).collect()
            }
            _ => vec![credential],
        }
    }

    /// What the credential providers have for the image.
    async fn ask_providers(&self) -> Vec<Credential> {
        let Image {
            registry,
            repository,
            ..
        } = self.image;
        let name = format!("{registry}/{repository}");
        self.providers
            .credentials(&name, self.providers_until)
            .await
    }

    /// Tries one credential, or none, where it has not been told to wait; and again where the failure may pass.
    async fn try_credential(
        &self,
        target: &Target<'_>,
        origin: &Origin,
        credential: Option<&Credential>,
        retries: &mut Retries,
    ) -> Result<Digest, Error> {
        let credentials = credential.map_or(&[][..], std::slice::from_ref);
        let audience = self.audiences.of(credentials);
        let free = self.manners.may_ask(origin, audience);
        free.map_err(|withheld| self.withheld(withheld))?;
        loop {
            let answer = self.attempt(target, credential, audience).await;
            self.manners.note(origin, audience, &answer);
            let pause = answer.as_ref().err().and_then(|error| retries.pause(error));
            let Some(pause) = pause else {
                return answer;
            };
            sleep(pause).await;
        }
    }

    fn withheld(&self, why: Withheld) -> Error {
        self.metrics.withheld(self.route.label, why.reason());
        self.subject.withheld(why.class(), why.to_string())
    }

    async fn attempt(
        &self,
        target: &Target<'_>,
        credential: Option<&Credential>,
        audience: Audience,
    ) -> Result<Digest, Error> {
        let endpoint = &*target.endpoint;
        let attempt = Attempt {
            lookup: self,
            wire: target.wire,
            credential,
            key: GrantKey {
                endpoint: endpoint.to_owned(),
                repository: self.image.repository.to_string(),
                audience,
            },
        };
        let mut authorization = self.grants.get(&attempt.key);
        let url = self.url(target, &self.image.tag)?;
        let digest = self.digest(&attempt, &url, &mut authorization).await?;
        if self.verify {
            let url = self.url(target, digest.as_str())?;
            let get = attempt.ask(Method::GET, &url, &mut authorization);
            self.check(&digest, get.await?).await?;
        }
        Ok(digest)
    }

    /// The digest by a HEAD, or if need be by a GET.
    async fn digest(
        &self,
        attempt: &Attempt<'_>,
        url: &Uri,
        authorization: &mut Option<HeaderValue>,
    ) -> Result<Digest, Error> {
        let head = attempt.ask(Method::HEAD, url, authorization).await?;
        match head.status.as_u16() {
            200..=299 => {
                if let Some(digest) = self.digest_of_head(&head.headers)? {
                    return Ok(digest);
                }
            }
            // A registry that does not know HEAD says so in one of these ways; and an honest 404 has its words in the
            // body that only GET gets.
            400 | 404 | 405 | 406 | 501 => {}
            _ => return Err(head.error(self.subject).await),
        }
        let get = attempt.ask(Method::GET, url, authorization).await?;
        if get.status.is_success() {
            self.digest_of_body(get).await
        } else {
            Err(get.error(self.subject).await)
        }
    }

    /// Checks what the registry has under a digest that it has named.
    async fn check(&self, digest: &Digest, get: Reply) -> Result<(), Error> {
        match get.status.as_u16() {
            200..=299 => {}
            404 | 410 => {
                let why = format!("the registry names {digest}, and does not have it");
                return Err(self.subject.invalid(why));
            }
            _ => return Err(get.error(self.subject).await),
        }
        let body = get.body(self.subject, MANIFEST_LIMIT).await?;
        let objection = match manifest::check(&body) {
            Ok(()) if digest.matches(&body) => return Ok(()),
            Ok(()) => "the bytes have another digest",
            Err(why) => why,
        };
        let why = format!("what the registry has as {digest} is not that: {objection}");
        Err(self.subject.invalid(why))
    }

    /// The URL of a manifest. A mirror is told for which registry, as by containerd (`ns`).
    fn url(&self, target: &Target<'_>, reference: &str) -> Result<Uri, Error> {
        let (endpoint, repository) = (&target.endpoint, &self.image.repository);
        let mut url = format!("{endpoint}/v2/{repository}/manifests/{reference}");
        if target.is_mirror {
            url.push_str("?ns=");
            token::encode(&mut url, self.image.registry.as_bytes());
        }
        url.parse()
            .map_err(|_| self.subject.refused("it does not name a registry's host"))
    }

    /// The digest that a HEAD gives, if it can be relied on without reading the manifest.
    fn digest_of_head(&self, headers: &HeaderMap) -> Result<Option<Digest>, Error> {
        match headers
            .get(CONTENT_TYPE)
            .map(|media_type| manifest::kind(media_type.to_str().unwrap_or_default()))
        {
            Some(Kind::Schema1) => Err(self.subject.invalid(manifest::SCHEMA_1)),
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
            return Err(self.subject.invalid(manifest::SCHEMA_1));
        }
        let promised = header_digest(&get.headers);
        let length = get.announced().unwrap_or(MANIFEST_LIMIT);
        let _memory = self.manners.memory(length.min(MANIFEST_LIMIT)).await;
        let body = get.body(self.subject, MANIFEST_LIMIT).await?;
        manifest::check(&body).map_err(|why| self.subject.invalid(why))?;
        match promised {
            Some(digest) if !digest.matches(&body) => Err(self
                .subject
                .invalid("the digest in the header is not that of the manifest")),
            Some(digest) => Ok(digest),
            None => Ok(Digest::of(&body)),
        }
    }
}

/// One credential, or none, at one endpoint.
struct Attempt<'a> {
    lookup: &'a Lookup<'a>,
    wire: &'a Wire,
    credential: Option<&'a Credential>,
    key: GrantKey,
}

impl Attempt<'_> {
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
            self.wire,
            subject,
            url,
            repository,
            challenge,
            self.credential,
        )
        .await?;
        let Some(grant) = grant else {
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
        let reply = self.wire.ask(subject, ask).await?;
        if !reply.foreign {
            metrics.rate_limit(route.label, &reply.headers);
        }
        Ok(reply)
    }
}

fn header_digest(headers: &HeaderMap) -> Option<Digest> {
    Digest::parse(headers.get(CONTENT_DIGEST)?.to_str().ok()?).ok()
}

/// Whether a name can go into a URL as it is. References are parsed long before; this is the last line of defence
/// against a path that leads elsewhere.
fn is_name(image: &Image) -> bool {
    let segment = |text: &str| {
        !text.is_empty()
            && !text.bytes().all(|byte| byte == b'.')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    let host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    !image.registry.is_empty()
        && image.registry.bytes().all(host)
        && image.repository.split('/').all(segment)
        && segment(&image.tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_become_urls() {
        let image = |registry: &str, repository: &str, tag: &str| Image {
            registry: registry.to_owned().into(),
            repository: repository.to_owned().into(),
            tag: tag.to_owned().into(),
        };
        for (registry, repository, tag) in [
            ("r.io:5000", "a/b_c/d-e", "1.2"),
            ("[::1]:5000", "a", "_x"),
            ("localhost", "a.b", "V1"),
        ] {
            assert!(
                is_name(&image(registry, repository, tag)),
                "{registry} {repository} {tag}"
            );
        }
        for (registry, repository, tag) in [
            ("", "a", "1"),
            ("r.io/x", "a", "1"),
            ("user@r.io", "a", "1"),
            ("r.io", "", "1"),
            ("r.io", "a//b", "1"),
            ("r.io", "a/../b", "1"),
            ("r.io", "a?b", "1"),
            ("r.io", "a%2e", "1"),
            ("r.io", "a", ""),
            ("r.io", "a", ".."),
            ("r.io", "a", "1/2"),
            ("r.io", "a", "1#2"),
            ("r.io", "a b", "1"),
        ] {
            assert!(
                !is_name(&image(registry, repository, tag)),
                "{registry} {repository} {tag}"
            );
        }
    }
}
