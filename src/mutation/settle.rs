//! The second half of a decision: with the answers, the edits and what people are told of them.

use std::sync::Arc;

use crate::image::{Digest, Reference};
use crate::workload::{List, Presence, Text};

use super::draft::{Image, Planned, pod};
use super::edit::{Change, Edit, Field, place};
use super::notes::{annotation_value, warnings};
use super::pull_secrets::{added, additions};
use super::{Account, Action, Draft, Mode, Record, When, json_patch};

/// The answers to a draft's questions.
#[derive(Debug, Default)]
pub struct Facts {
    /// A digest for each question, in the order of [`Draft::questions`], or why there is none.
    pub digests: Vec<Result<Digest, Failure>>,
    /// The account, if it was asked for and is known.
    pub account: Option<Arc<Account>>,
    /// Those of [`Draft::conditional_pull_secrets`] that the Pod gets.
    pub matching: Vec<String>,
    /// What else the user has to know: sentences.
    pub remarks: Vec<String>,
}

/// Why there is no digest, and what follows from that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A sentence for the user.
    pub why: String,
    /// What the configuration says of such failures.
    pub action: Action,
}

/// What comes of a review.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome<'r> {
    /// Why the object is refused, if it is: a sentence for the user. In audit mode nothing is.
    pub denied: Option<String>,
    /// What is to be changed, in a fixed order; in audit mode, what would be; nothing of an object that is refused.
    pub edits: Vec<Edit<'r>>,
    /// Whether the edits are made.
    pub mode: Mode,
    /// What the user is told, within the limits of the API server
    /// (`staging/src/k8s.io/apiserver/pkg/endpoints/filters/warning.go`).
    pub warnings: Vec<String>,
    /// What the auditor is told. The keys are parts of qualified names.
    pub audit: Vec<(&'static str, String)>,
}

impl Outcome<'_> {
    /// The patch that makes the edits, if any are made.
    pub fn patch(&self) -> Option<Vec<u8>> {
        // A patch without operations would count as no patch, but cost the API server its application.
        (self.mode == Mode::Enforce && !self.edits.is_empty()).then(|| json_patch(&self.edits))
    }
}

impl<'r> Draft<'r> {
    /// Decides.
    pub fn settle(self, facts: &Facts) -> Outcome<'r> {
        let mut edits = Vec::with_capacity(2 * self.slots.len() + 2);
        let mut record = Keeper::new(&self);
        let mut failures = Failures::default();
        for planned in &self.slots {
            let (image, failure) = image(planned, facts);
            failures.extend(failure);
            record.keep(planned, image.as_ref());
            edits.extend(slot_edits(planned, image));
        }
        edits.extend(self.pull_secrets(facts));
        edits.extend(self.annotation(&record));
        match self.settings.mode {
            Mode::Enforce if !failures.denied.is_empty() => denied(&failures, &facts.remarks),
            Mode::Enforce => enforced(edits, &record.record, &failures, &facts.remarks),
            Mode::Audit => audited(edits, &failures, &facts.remarks),
        }
    }

    fn pull_secrets(&self, facts: &Facts) -> Option<Edit<'r>> {
        let template = self.review.object.templates.first()?;
        let (list, account) = (&template.spec.pull_secrets, facts.account.as_deref()?);
        let names = list.names()?;
        let mut additions = additions(self.settings.pull_secret_rules(), names, account);
        let missing: Vec<&str> = if self.scope.pull_secrets {
            additions.retain(|secret| {
                secret.when == When::Always || facts.matching.iter().any(|name| name == secret.name)
            });
            additions.iter().map(|secret| secret.name).collect()
        } else {
            let stored = pod(self.review.old.as_ref()?, self.review.class)?;
            added(names, stored.pull_secrets.names()?, &additions)?
        };
        if missing.is_empty() {
            return None;
        }
        let missing = missing.into_iter().map(str::to_owned).collect();
        let change = if matches!(list, List::Names(_)) {
            Change::Append(missing)
        } else {
            Change::AddNames(missing)
        };
        Some(Edit {
            spec: &template.at,
            field: Field::PullSecrets,
            change,
        })
    }

    /// Brings the record in the object's metadata up to date.
    fn annotation(&self, keeper: &Keeper<'_>) -> Option<Edit<'r>> {
        if !self.scope.metadata || keeper.record == keeper.present {
            return None;
        }
        let meta = &self.review.object.meta;
        let text = || keeper.record.text();
        let change = match (meta.presence, meta.annotations.presence) {
            (Presence::Absent | Presence::Null, _) => Change::AddToNewMaps(text()),
            (_, Presence::Absent | Presence::Null) => Change::AddToNewMap(text()),
            _ if keeper.record.is_empty() => Change::Remove,
            _ if meta.annotations.pinned == Text::Absent => Change::Add(text()),
            _ => Change::Replace(text()),
        };
        Some(Edit {
            spec: "",
            field: Field::Annotation,
            change,
        })
    }
}

/// Sentences about the images that could not be pinned, by what follows from that.
#[derive(Default)]
struct Failures {
    allowed: Vec<String>,
    warned: Vec<String>,
    denied: Vec<String>,
}

impl Failures {
    /// All sentences, as the auditor reads them.
    fn note(&self) -> Option<String> {
        let all = [&self.denied, &self.warned, &self.allowed];
        let all = all.into_iter().flatten();
        annotation_value(all.map(|failure| format!("surepull: {failure}")))
    }

    /// What the user is warned of: these failures, and remarks.
    fn warnings<'f>(&'f self, remarks: &'f [String]) -> impl Iterator<Item = String> + 'f {
        let warned = self.warned.iter();
        let warned = warned.map(|failure| format!("surepull: {failure}"));
        warned.chain(remarks.iter().cloned())
    }
}

impl Extend<Failure> for Failures {
    fn extend<T: IntoIterator<Item = Failure>>(&mut self, failures: T) {
        for Failure { why, action } in failures {
            match action {
                Action::Allow => self.allowed.push(why),
                Action::Warn => self.warned.push(why),
                Action::Deny => self.denied.push(why),
            }
        }
    }
}

/// Nothing is changed, because the object is refused.
fn denied<'r>(failures: &Failures, remarks: &[String]) -> Outcome<'r> {
    let sentences = failures.denied.iter();
    Outcome {
        denied: annotation_value(sentences.map(|failure| format!("surepull: {failure}"))),
        warnings: warnings(&failures.warnings(remarks).collect::<Vec<_>>()),
        audit: failures
            .note()
            .map(|value| ("unpinned", value))
            .into_iter()
            .collect(),
        ..Outcome::default()
    }
}

/// The edits are made; the auditor hears what is pinned and what could not be, the user what is to be warned of.
fn enforced<'r>(
    edits: Vec<Edit<'r>>,
    record: &Record,
    failures: &Failures,
    remarks: &[String],
) -> Outcome<'r> {
    let mut audit = Vec::new();
    if !edits.is_empty() {
        let pinned = record
            .digests()
            .map(|(slot, digest)| [slot, "=", digest].concat());
        audit.extend(annotation_value(pinned).map(|value| ("pinned", value)));
    }
    audit.extend(failures.note().map(|value| ("unpinned", value)));
    Outcome {
        edits,
        warnings: warnings(&failures.warnings(remarks).collect::<Vec<_>>()),
        audit,
        ..Outcome::default()
    }
}

/// Neither is an edit made nor the object refused; everybody hears what would have been.
fn audited<'r>(edits: Vec<Edit<'r>>, failures: &Failures, remarks: &[String]) -> Outcome<'r> {
    let told = edits.iter().filter(|edit| edit.field != Field::Annotation);
    let changes: Vec<String> = told.map(|edit| format!("surepull would {edit}")).collect();
    let denials = failures.denied.iter();
    let denials = denials.map(|failure| format!("surepull would deny: {failure}"));
    let mut notes: Vec<String> = denials.collect();
    let would_deny = annotation_value(&notes).map(|value| ("would-deny", value));
    let would_change = annotation_value(&changes).map(|value| ("would-change", value));
    let unpinned = failures.note().map(|value| ("unpinned", value));
    notes.extend(changes);
    notes.extend(failures.warnings(remarks));
    Outcome {
        edits,
        mode: Mode::Audit,
        warnings: warnings(&notes),
        audit: [would_deny, would_change, unpinned]
            .into_iter()
            .flatten()
            .collect(),
        denied: None,
    }
}

/// A new image text, and the digest in it if it is a new one.
struct NewImage<'f> {
    text: String,
    digest: Option<&'f Digest>,
}

/// The new image of a slot, if it gets one, and what follows if it should have got one.
fn image<'f>(planned: &Planned<'_>, facts: &'f Facts) -> (Option<NewImage<'f>>, Option<Failure>) {
    let keep = |text: &str| NewImage {
        text: text.to_owned(),
        digest: None,
    };
    match planned.image {
        Image::Leave => (None, None),
        Image::Set(text) => (Some(keep(text)), None),
        Image::Ask(question, fallback, written) => match facts.digests.get(question) {
            Some(Ok(digest)) => (
                Some(NewImage {
                    text: written.pinned(digest),
                    digest: Some(digest),
                }),
                None,
            ),
            answer => {
                let failure = answer.and_then(|answer| answer.as_ref().err());
                (
                    fallback.map(keep),
                    Some(unpinned(planned, written, fallback, failure)),
                )
            }
        },
    }
}

/// What follows where an image gets no digest. One that keeps the digest it has is certain, and nothing to refuse.
fn unpinned(
    planned: &Planned<'_>,
    image: Reference<'_>,
    fallback: Option<&str>,
    failure: Option<&Failure>,
) -> Failure {
    let slot = planned.slot;
    let name = slot.name.as_deref().unwrap_or_default();
    let slot = place(slot.kind, slot.index, name, &planned.template.at);
    let (why, action) = failure.map_or(("no answer", Action::Warn), |failure| {
        (&failure.why, failure.action)
    });
    let (state, action) = match (fallback, action) {
        (Some(_), Action::Deny) => ("keeps the digest it has", Action::Warn),
        (Some(_), action) => ("keeps the digest it has", action),
        (None, action) => ("is not pinned", action),
    };
    Failure {
        why: format!("{slot}: image {image} {state}: {why}"),
        action,
    }
}

fn slot_edits<'r>(
    planned: &Planned<'r>,
    image: Option<NewImage<'_>>,
) -> impl Iterator<Item = Edit<'r>> {
    let slot = planned.slot;
    let name = slot.name.as_deref().unwrap_or_default();
    let edit = |field, change| Edit {
        spec: &planned.template.at,
        field,
        change,
    };
    let image = image.filter(|image| image.text != slot.image);
    let image = image.map(|image| {
        edit(
            Field::Image(slot.kind, slot.index, name),
            Change::Replace(image.text),
        )
    });
    let policy = planned.policy.map(|policy| {
        let absent = slot.policy == Text::Absent;
        let policy = policy.to_owned();
        let change = if absent {
            Change::Add(policy)
        } else {
            Change::Replace(policy)
        };
        edit(Field::Policy(slot.kind, slot.index, name), change)
    });
    image.into_iter().chain(policy)
}

/// Collects what is recorded of the object as it will be stored.
struct Keeper<'d> {
    record: Record,
    present: Record,
    stored: &'d Record,
}

impl<'d> Keeper<'d> {
    fn new(draft: &'d Draft<'_>) -> Self {
        let annotation = draft
            .review
            .object
            .meta
            .annotations
            .pinned
            .get()
            .unwrap_or_default();
        Self {
            record: Record::default(),
            present: Record::parse(annotation),
            stored: &draft.recorded,
        }
    }

    fn keep(&mut self, planned: &Planned<'_>, image: Option<&NewImage<'_>>) {
        let digest = image.and_then(|image| image.digest);
        if digest.is_none() && self.present.is_empty() && self.stored.is_empty() {
            return;
        }
        let key = Record::key(planned.template, planned.slot);
        let now = image.map_or(&*planned.slot.image, |image| &image.text);
        match (digest, planned.image) {
            (Some(digest), Image::Ask(_, _, written)) => {
                self.record.note(key, written.text(), digest);
            }
            _ if self.record.keep(&key, self.stored, now) => {}
            // What was recorded earlier in the same request, before the webhook was invoked again.
            _ => _ = self.record.keep(&key, &self.present, now),
        }
    }
}
