//! Pull secrets that the configuration names and that do not help, with the command that mends it.

use std::sync::Arc;

use super::additions::matches;
use crate::cluster::Unreadable;
use crate::config::Patterns;
use crate::credentials::Keyring;
use crate::registry::Image;

/// What is known of a pull secret that the configuration names.
pub(super) struct Extra {
    /// The namespace of the Pods.
    pub(super) namespace: String,
    /// The name.
    pub(super) name: String,
    /// What is in it, or why the kubelet has no use for it.
    pub(super) keyring: Result<Arc<Keyring>, Unreadable>,
}

impl Extra {
    /// What the user can do to have an image pulled with it, if it has no entry for the image.
    pub(super) fn remedy(&self, image: &Image<'_>, patterns: Patterns) -> Option<String> {
        let Self {
            namespace, name, ..
        } = self;
        let Image {
            registry,
            repository,
            ..
        } = image;
        let why = match &self.keyring {
            Ok(keyring) if matches(keyring, &format!("{registry}/{repository}"), patterns) => {
                return None;
            }
            Ok(_) => format!(
                "it has no entry for {registry}/{repository}; add one to those that it has, in config.json, and"
            ),
            Err(Unreadable::NotFound) => {
                return Some(format!(
                    "surepull: Pods of namespace {namespace} would get pull secret {name:?} for {registry}, but there is none; create it: \
                     kubectl create secret docker-registry {name} -n {namespace} --docker-server={registry} --docker-username=USER --docker-password=PASSWORD"
                ));
            }
            Err(why) => format!("{why};"),
        };
        Some(format!(
            "surepull: Pods of namespace {namespace} do not get pull secret {name:?}: {why} replace it: \
             kubectl create secret generic {name} -n {namespace} --type=kubernetes.io/dockerconfigjson --from-file=.dockerconfigjson=config.json --dry-run=client -o yaml | kubectl replace --force -f -"
        ))
    }
}
