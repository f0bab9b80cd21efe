//! One object on its way into the cluster, and whether surepull has any business with it.

use std::borrow::Cow;

use crate::workload::{Class, Object, Operation, Presence, Scope, scope};

use super::Settings;

/// An object, what is done to it, and what is stored of it.
#[derive(Debug)]
pub struct Review<'a> {
    /// What an update may change.
    pub class: Class,
    /// What is done.
    pub operation: Operation,
    /// The subresource that it is done to; empty for the object itself.
    pub subresource: Cow<'a, str>,
    /// The namespace of the request.
    pub namespace: Cow<'a, str>,
    /// The object as it would be stored.
    pub object: Object<'a>,
    /// The object as it is stored, on an update.
    pub old: Option<Object<'a>>,
}

/// Why an object is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// The operation changes nothing that concerns image pulls, or may not change it.
    OutOfScope,
    /// The namespace is excluded by the configuration.
    Namespace,
    /// The object is being deleted; only finalizers matter now.
    Deleting,
    /// A controller made it and compares it with what it made: a changed `ReplicaSet` makes its Deployment create
    /// another, without end (`pkg/controller/deployment/sync.go`). Pods are not compared.
    Controlled,
    /// It mirrors a static Pod, which the kubelet runs from a file (`pkg/kubelet/pod/pod_manager.go`).
    Mirror,
    /// Its metadata is not of the form that the API server takes, so nothing could be recorded in it.
    Unfit,
}

impl Review<'_> {
    /// What may be changed, or why nothing is.
    pub fn scope(&self, settings: &Settings) -> Result<Scope, Skipped> {
        let scope =
            scope(self.class, &self.subresource, self.operation).ok_or(Skipped::OutOfScope)?;
        let meta = &self.object.meta;
        if [meta.presence, meta.annotations.presence].contains(&Presence::Unfit) {
            Err(Skipped::Unfit)
        } else if settings
            .excluded_namespaces
            .iter()
            .any(|excluded| *excluded == self.namespace)
        {
            Err(Skipped::Namespace)
        } else if meta.deleting {
            Err(Skipped::Deleting)
        } else if meta.controlled && self.class != Class::Pod {
            Err(Skipped::Controlled)
        } else if meta.annotations.mirror {
            Err(Skipped::Mirror)
        } else {
            Ok(scope)
        }
    }
}
