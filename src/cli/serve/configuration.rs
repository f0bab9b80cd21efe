//! The configuration that is in effect, and how the next one takes its place: whole, between two reviews.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::admission::Admission;
use crate::cluster::Cluster;
use crate::config::{self, Cache, Configuration, Registry};
use crate::credentials::{FileError, Files, Keyring, Providers};
use crate::mutation::Settings;
use crate::pipeline::Pipeline;
use crate::registry::Resolver;
use crate::reload::{Reload, Snapshot};
use crate::workload::Kinds;

/// What answers reviews at the moment.
pub(super) type InEffect = Arc<ArcSwap<Admission>>;

/// What answers reviews without a configuration file, by the defaults.
pub(super) fn by_default(cluster: Arc<dyn Cluster>) -> anyhow::Result<InEffect> {
    let resolver = Resolver::new(&[], &Cache::default())?;
    let pipeline = Pipeline::new(Settings::default(), resolver, Keyring::default(), cluster);
    let admission = Admission::new(Kinds::default(), pipeline);
    Ok(Arc::new(ArcSwap::from_pointee(admission)))
}

/// The configuration file.
pub(super) struct ConfigurationFile {
    file: PathBuf,
    in_effect: InEffect,
    source: Source,
}

/// A configuration, and what the files that it names held when it was read. The default is what [`by_default`] is made
/// of.
#[derive(Default)]
pub(super) struct Source {
    configuration: Configuration,
    registry_files: Snapshot,
    documents: Snapshot,
    providers: Snapshot,
}

impl ConfigurationFile {
    /// The file that decides from now on what `in_effect`, as [`by_default`] made it, is.
    pub(super) fn new(file: PathBuf, in_effect: InEffect) -> Self {
        Self {
            file,
            in_effect,
            source: Source::default(),
        }
    }

    /// What answers reviews by this source, and which files were passed over for it. What it has in common with the
    /// current one is kept, with its state.
    fn admission(&self, source: &Source) -> anyhow::Result<(Admission, Vec<FileError>)> {
        let Configuration {
            settings,
            kinds,
            credentials,
            ..
        } = &source.configuration;
        let current = self.in_effect.load();
        let resolver = current.pipeline().resolver();
        let resolver = if source.resolves_like(&self.source) {
            resolver.clone()
        } else {
            let metrics = resolver.providers().metrics().clone();
            let providers = Providers::load(credentials.providers.as_ref(), metrics)?;
            let metrics = resolver.metrics().clone();
            Resolver::with_providers(&source.configuration, providers, metrics)?
        };
        let Files { keyring, skipped } = Files::read(&credentials.docker_config)?;
        for remark in keyring.pattern_remarks(credentials.patterns) {
            tracing::warn!("{remark}");
        }
        let pipeline = current
            .pipeline()
            .successor(settings.clone(), resolver, keyring)
            .with_credentials(credentials.clone());
        Ok((Admission::new(kinds.clone(), pipeline), skipped))
    }
}

impl Reload for ConfigurationFile {
    type Fresh = (Source, Admission, Vec<FileError>);
    const WHAT: &'static str = "configuration";

    fn read(&self) -> (Vec<PathBuf>, anyhow::Result<Self::Fresh>) {
        let mut files = vec![self.file.clone()];
        let configuration = match config::load(&self.file) {
            Ok(configuration) => configuration,
            Err(error) => {
                files.extend(named(&self.source.configuration));
                return (files, Err(error.into()));
            }
        };
        files.extend(named(&configuration));
        let source = Source::new(configuration);
        let admission = self.admission(&source);
        if admission.is_err() {
            files.extend(named(&self.source.configuration));
        }
        let fresh = admission.map(|(admission, skipped)| (source, admission, skipped));
        (files, fresh)
    }

    /// While there is a mistake in the file, the files that it named before are followed all the same: the credentials in
    /// them may be renewed at any time.
    fn instead(&self) -> Option<Self::Fresh> {
        let source = Source::new(self.source.configuration.clone());
        if source.changes(&self.source).is_empty() {
            return None;
        }
        let (admission, skipped) = self.admission(&source).ok()?;
        Some((source, admission, skipped))
    }

    fn apply(&mut self, (source, admission, skipped): Self::Fresh) -> String {
        for error in skipped {
            let error = format!("{:#}", anyhow::Error::new(error));
            tracing::warn!(error, "passed over, as by a kubelet");
        }
        let changes = source.changes(&self.source);
        for danger in source.configuration.dangers() {
            tracing::warn!("{danger}");
        }
        self.source = source;
        self.in_effect.store(Arc::new(admission));
        if changes.is_empty() {
            return "nothing that counts".to_owned();
        }
        changes.join(", ")
    }
}

impl Source {
    fn new(configuration: Configuration) -> Self {
        Self {
            registry_files: Snapshot::of(registry_files(&configuration)),
            documents: Snapshot::of(documents(&configuration)),
            providers: Snapshot::of(providers(&configuration)),
            configuration,
        }
    }

    fn resolves_like(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.configuration, &other.configuration);
        ours.registries == theirs.registries
            && ours.network == theirs.network
            && ours.settings.pin.verify == theirs.settings.pin.verify
            && ours.cache == theirs.cache
            && self.registry_files == other.registry_files
            && ours.credentials.providers == theirs.credentials.providers
            && self.providers == other.providers
    }

    /// The top-level keys of the file that mean something else than in `other`, if only by the files that they name.
    fn changes(&self, other: &Self) -> Vec<&'static str> {
        let mut changes = self.configuration.changes(&other.configuration);
        for (key, changed) in [
            ("registries", self.registry_files != other.registry_files),
            ("credentials", self.documents != other.documents),
            ("credentials", self.providers != other.providers),
        ] {
            if changed && !changes.contains(&key) {
                changes.push(key);
            }
        }
        changes
    }
}

/// All files that a configuration names.
fn named(configuration: &Configuration) -> impl Iterator<Item = PathBuf> {
    let registries = registry_files(configuration).cloned();
    let credentials = documents(configuration).into_iter();
    registries
        .chain(credentials)
        .chain(providers(configuration))
}

/// The files that a configuration names for connections to registries.
fn registry_files(configuration: &Configuration) -> impl Iterator<Item = &PathBuf> {
    configuration.registries.iter().flat_map(Registry::files)
}

/// The docker configuration files that a configuration names, or may find in the folders that it names.
fn documents(configuration: &Configuration) -> Vec<PathBuf> {
    Files::paths(&configuration.credentials.docker_config)
}

/// The files of credential providers that a configuration names.
fn providers(configuration: &Configuration) -> Vec<PathBuf> {
    let providers = configuration.credentials.providers.as_ref();
    providers.map(Providers::files).unwrap_or_default()
}
