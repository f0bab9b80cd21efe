//! One look-up: endpoints in order, credentials in order, HEAD and if need be GET.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Uri};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::cache::{Audiences, Key};
use super::connect::Wire;
use super::error::{Error, Subject};
use super::exchange::{Ask, Reply};
use super::manifest::{self, Kind};
use super::route::Route;
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
    pub(super) subject: &'a Subject,
    pub(super) providers: &'a Providers,
    /// When credential providers have to have answered.
    pub(super) providers_until: Instant,
    /// What they have answered to this look-up.
    pub(super) provided: OnceCell<Vec<Credential>>,
}

impl Lookup<'_> {
    /// Asks the endpoints in order: the next one only where one is unavailable.
    pub(super) async fn run(&self, credentials: &[Credential]) -> Result<Digest, Error> {
        if !is_name(self.image) {
            return Err(self.subject.refused("it is not the name of an image"));
        }
        let mut first_error = None;
        for endpoint in self.route.endpoints.iter() {
            match self.ask_endpoint(endpoint, credentials).await {
                Err(error) if error.is_unavailability() => drop(first_error.get_or_insert(error)),
                answer => return answer,
            }
        }
        Err(first_error.unwrap_or_else(|| self.subject.unreachable("there is no endpoint")))
    }

    /// Tries every credential in turn, whatever the error, as the kubelet does (`kuberuntime_image.go`); without any,
    /// once without.
    async fn ask_endpoint(
        &self,
        endpoint: &str,
        credentials: &[Credential],
    ) -> Result<Digest, Error> {
        let anonymous = credentials.is_empty().then_some(None);
        let mut telling = None;
        for (position, credential) in credentials.iter().map(Some).chain(anonymous).enumerate() {
            for one in self.expanded(position, credential).await {
                let answer = self.attempt_or_note(endpoint, one, &mut telling).await;
                if let Some(Ok(_)) = answer {
                    let key = Key::new(self.image, self.audiences.of(credentials));
                    self.grants.remember_position(key, position);
                }
                if let Some(answer) = answer {
                    return answer;
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

    /// The answer to an attempt, unless another credential may give a better one; then the error is noted, if it tells
    /// more than that which has been noted.
    async fn attempt_or_note(
        &self,
        endpoint: &str,
        credential: Option<&Credential>,
        telling: &mut Option<Error>,
    ) -> Option<Result<Digest, Error>> {
        let credential = credential.filter(|one| !one.is_anonymous());
        let error = match self.attempt(endpoint, credential).await {
            Err(error) if error.may_depend_on_credential() => error,
            answer => return Some(answer),
        };
        // The first that is more than a refused credential says most: that an account finds nothing, for one.
        let says_more = !error.is_about_authorization();
        match telling {
            Some(first) if !(first.is_about_authorization() && says_more) => {}
            _ => *telling = Some(error),
        }
        None
    }

    async fn attempt(
        &self,
        endpoint: &str,
        credential: Option<&Credential>,
    ) -> Result<Digest, Error> {
        let attempt = Attempt {
            lookup: self,
            wire: self.route.wire,
            url: self.url(endpoint)?,
            credential,
            key: GrantKey {
                endpoint: endpoint.to_owned(),
                repository: self.image.repository.to_string(),
                audience: self
                    .audiences
                    .of(credential.map_or(&[], std::slice::from_ref)),
            },
        };
        let mut authorization = self.grants.get(&attempt.key);
        let head = attempt.ask(Method::HEAD, &mut authorization).await?;
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
        let get = attempt.ask(Method::GET, &mut authorization).await?;
        if get.status.is_success() {
            self.digest_of_body(get).await
        } else {
            Err(get.error(self.subject).await)
        }
    }

    fn url(&self, endpoint: &str) -> Result<Uri, Error> {
        let Image {
            repository, tag, ..
        } = self.image;
        let url = format!("{endpoint}/v2/{repository}/manifests/{tag}");
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
    url: Uri,
    credential: Option<&'a Credential>,
    key: GrantKey,
}

impl Attempt<'_> {
    /// Asks, and if the endpoint challenges, answers once and asks again. A challenge from where a redirect led is not
    /// answered: credentials are for the endpoint.
    async fn ask(
        &self,
        method: Method,
        authorization: &mut Option<HeaderValue>,
    ) -> Result<Reply, Error> {
        let Lookup {
            subject,
            grants,
            image,
            ..
        } = self.lookup;
        let reply = self.send(method.clone(), authorization.as_ref()).await?;
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
            &self.url,
            repository,
            challenge,
            self.credential,
        )
        .await?;
        let Some(grant) = grant else {
            return Err(refusal);
        };
        *authorization = Some(grant.header.clone());
        let reply = self.send(method, authorization.as_ref()).await?;
        if reply.status != 401 {
            grants.remember(&self.key, grant);
        }
        Ok(reply)
    }

    async fn send(
        &self,
        method: Method,
        authorization: Option<&HeaderValue>,
    ) -> Result<Reply, Error> {
        let ask = Ask {
            method,
            url: self.url.clone(),
            accept: manifest::ACCEPT,
            authorization,
            form: None,
            whom: "the registry",
        };
        self.wire.ask(self.lookup.subject, ask).await
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
