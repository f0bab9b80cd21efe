//! The kinds that hold pod specs.

use super::presets::Preset;
use super::shape::{Leaf, PathError, Shape};

/// The built-in kinds: API group, kind, where the pod template is, class. No other built-in kind of Kubernetes 1.37
/// embeds a pod template (`pkg/apis/*/v1/zz_generated.defaults.go`). A Pod is a template at the root.
const BUILT_IN: [(&str, &str, &str, Class); 9] = [
    ("", "Pod", "", Class::Pod),
    ("", "PodTemplate", "/template", Class::Template),
    (
        "",
        "ReplicationController",
        "/spec/template",
        Class::Template,
    ),
    ("apps", "ReplicaSet", "/spec/template", Class::Template),
    ("apps", "Deployment", "/spec/template", Class::Template),
    ("apps", "StatefulSet", "/spec/template", Class::Template),
    ("apps", "DaemonSet", "/spec/template", Class::Template),
    ("batch", "Job", "/spec/template", Class::Job),
    (
        "batch",
        "CronJob",
        "/spec/jobTemplate/spec/template",
        Class::Template,
    ),
];

/// What the API server lets an update of a kind change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A Pod: its images and little else.
    Pod,
    /// A Job: nothing of its template.
    Job,
    /// A built-in kind whose template may change.
    Template,
    /// A custom resource, whose template may change, and gets no defaults from the API server.
    Custom,
}

/// One kind of object that holds pod specs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    group: String,
    kind: String,
    /// What an update may change.
    pub class: Class,
    /// Where its pod specs are.
    pub shape: Shape,
}

/// A custom resource that cannot be added to the kinds.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The kind is there already, built in or added before.
    #[error("{kind} of group {group:?} is known already; name each kind once, with all its paths")]
    Known {
        /// The API group.
        group: String,
        /// The kind.
        kind: String,
    },
    /// It has no path.
    #[error(
        "{kind} of group {group:?} has no templates, podSpecs or containers; give at least one path"
    )]
    Pathless {
        /// The API group.
        group: String,
        /// The kind.
        kind: String,
    },
    /// A path is no good.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// All kinds that are looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kinds(Vec<Workload>);

/// The built-in kinds.
impl Default for Kinds {
    fn default() -> Self {
        let workload = |(group, kind, path, class): (&str, &str, &str, Class)| Workload {
            group: group.to_owned(),
            kind: kind.to_owned(),
            class,
            shape: Shape::path(path, Leaf::Template).expect("the table holds JSON pointers"),
        };
        Self(BUILT_IN.into_iter().map(workload).collect())
    }
}

impl Kinds {
    /// The workload of this group and kind, if it is one. The version does not matter: the paths are the same in all.
    pub fn find(&self, group: &str, kind: &str) -> Option<&Workload> {
        self.0
            .iter()
            .find(|workload| workload.kind == kind && workload.group == group)
    }

    /// Adds the custom resources of a project, but for those that are there already.
    pub fn add_preset(&mut self, preset: Preset) {
        for resource in preset.resources() {
            if self.find(resource.group, resource.kind).is_none() {
                let paths = resource.paths.iter().map(|(path, leaf)| (&**path, *leaf));
                let added = self.add(resource.group, resource.kind, paths);
                debug_assert!(added.is_ok(), "{resource:?}: {added:?}");
            }
        }
    }

    /// Adds a custom resource with the JSON pointers of its pod templates, pod specs and single containers.
    pub fn add<'p>(
        &mut self,
        group: &str,
        kind: &str,
        paths: impl IntoIterator<Item = (&'p str, Leaf)>,
    ) -> Result<(), Conflict> {
        let (group, kind) = (group.to_owned(), kind.to_owned());
        if self.find(&group, &kind).is_some() {
            return Err(Conflict::Known { group, kind });
        }
        let mut shape: Option<Shape> = None;
        for (path, leaf) in paths {
            match &mut shape {
                None if path.is_empty() => return Err(PathError::NoPointer(path.to_owned()).into()),
                None => shape = Some(Shape::path(path, leaf)?),
                Some(shape) => shape.add(path, leaf)?,
            }
        }
        let Some(shape) = shape else {
            return Err(Conflict::Pathless { group, kind });
        };
        self.0.push(Workload {
            group,
            kind,
            class: Class::Custom,
            shape,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_group_and_kind() {
        let kinds = Kinds::default();
        assert_eq!(
            kinds.find("batch", "Job").map(|workload| workload.class),
            Some(Class::Job)
        );
        assert!(kinds.find("", "Deployment").is_none());
        assert!(kinds.find("apps", "ControllerRevision").is_none());
    }

    #[test]
    fn custom_resources_are_added_once_and_with_paths() {
        let mut kinds = Kinds::default();
        kinds
            .add(
                "argoproj.io",
                "Rollout",
                [("/spec/template", Leaf::Template)],
            )
            .unwrap();
        assert_eq!(
            kinds
                .find("argoproj.io", "Rollout")
                .map(|workload| workload.class),
            Some(Class::Custom)
        );
        let again = kinds.add(
            "argoproj.io",
            "Rollout",
            [("/spec/template", Leaf::Template)],
        );
        assert!(matches!(again, Err(Conflict::Known { .. })));
        assert!(matches!(
            kinds.add("apps", "Deployment", [("/x", Leaf::Spec)]),
            Err(Conflict::Known { .. })
        ));
        assert!(matches!(
            kinds.add("a", "B", []),
            Err(Conflict::Pathless { .. })
        ));
        assert!(matches!(
            kinds.add("a", "B", [("", Leaf::Spec)]),
            Err(Conflict::Path(_))
        ));
    }
}
