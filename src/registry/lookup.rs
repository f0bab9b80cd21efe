//! One look-up: endpoints in order, and at each credentials in order.

use http::Uri;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use super::Image;
use super::attempt::Attempt;
use super::audience::Audiences;
use super::cache::Key;
use super::connect::Origin;
use super::error::{Error, Subject};
use super::manners::{Manners, Retries, Visit, Withheld};
use super::metrics::Metrics;
use super::route::{Route, Target};
use super::token::{self, Grants};
use crate::credentials::{Credential, CredentialKind, Providers};
use crate::image::Digest;

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

/// Where credentials are tried.
struct Place<'a> {
    target: &'a Target<'a>,
    origin: &'a Origin,
    visit: &'a Visit,
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
        let place = Place {
            target,
            origin: &origin,
            visit: &visit,
        };
        let answer = self.try_credentials(&place, credentials).await;
        visit.end(&self.image.repository, &answer);
        answer
    }

    /// Tries every credential in turn, whatever the error, as the kubelet does (`kuberuntime_image.go`); without any,
    /// once without.
    async fn try_credentials(
        &self,
        place: &Place<'_>,
        credentials: &[Credential],
    ) -> Result<Digest, Error> {
        let anonymous = credentials.is_empty().then_some(None);
        let mut telling: Option<Error> = None;
        let mut retries = Retries::new();
        for (position, credential) in credentials.iter().map(Some).chain(anonymous).enumerate() {
            for one in self.expanded(position, credential).await {
                let one = one.filter(|one| !one.is_anonymous());
                let answer = self.try_credential(place, one, &mut retries).await;
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
        place: &Place<'_>,
        credential: Option<&Credential>,
        retries: &mut Retries,
    ) -> Result<Digest, Error> {
        let Place {
            target,
            origin,
            visit,
        } = *place;
        let repository = &self.image.repository;
        let credentials = credential.map_or(&[][..], std::slice::from_ref);
        let audience = self.audiences.of(credentials);
        let free = self.manners.may_ask(origin, audience, repository);
        free.map_err(|withheld| self.withheld(withheld))?;
        loop {
            let attempt = Attempt::new(self, (target, visit), credential, audience);
            let answer = attempt.run().await;
            self.manners.note(origin, audience, repository, &answer);
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

    /// The URL of a manifest. A mirror is told for which registry, as by containerd (`ns`).
    pub(super) fn url(&self, target: &Target<'_>, reference: &str) -> Result<Uri, Error> {
        let (endpoint, repository) = (&target.endpoint, &self.image.repository);
        let mut url = format!("{endpoint}/v2/{repository}/manifests/{reference}");
        if target.is_mirror {
            url.push_str("?ns=");
            token::encode(&mut url, self.image.registry.as_bytes());
        }
        url.parse()
            .map_err(|_| self.subject.refused("it does not name a registry's host"))
    }
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
