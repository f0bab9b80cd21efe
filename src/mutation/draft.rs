//! The first half of a decision: what is to be done with each slot, and what has to be asked for that.

use std::collections::HashMap;

use crate::image::Reference;
use crate::workload::{Class, Object, PodSpec, Reach, Scope, Slot, SlotKind, SlotName, Template};

use super::pin::{self, Decision, Stored};
use super::policy::{self, Rule};
use super::pull_secrets::{self, additions};
use super::{
    Account, AccountQuestion, PullSecret, Puller, Record, Review, Settings, Skipped, Targets, When,
    always,
};

/// Which digest has this image?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question<'r> {
    /// The image, parsed, with the text as written.
    pub image: Reference<'r>,
    /// An answer of some minutes ago is too old: the user has just changed the tag, or asked for a restart.
    pub fresh: bool,
    /// Who will pull it, by position in [`Draft::pullers`]: the answer may depend on the credentials.
    pub puller: usize,
}

/// Below this, looking at each one is cheaper than hashing.
const FEW: usize = 16;

/// A decision that waits for facts.
#[derive(Debug)]
pub struct Draft<'r> {
    pub(super) review: &'r Review<'r>,
    pub(super) settings: &'r Settings,
    pub(super) scope: Scope,
    pub(super) slots: Vec<Planned<'r>>,
    pub(super) recorded: Record,
    questions: Vec<Question<'r>>,
    pullers: Vec<Puller<'r>>,
    account: Option<AccountQuestion<'r>>,
}

/// What is to be done with one slot.
#[derive(Debug)]
pub(super) struct Planned<'r> {
    pub(super) template: &'r Template<'r>,
    pub(super) slot: &'r Slot<'r>,
    pub(super) policy: Option<&'static str>,
    pub(super) image: Image<'r>,
}

/// What is to be done with an image.
#[derive(Clone, Copy, Debug)]
pub(super) enum Image<'r> {
    /// Nothing.
    Leave,
    /// It becomes this text.
    Set(&'r str),
    /// The answer to this question decides; without one it becomes the text, if there is one. The image as written
    /// comes last.
    Ask(usize, Option<&'r str>, Reference<'r>),
}

/// Drafts the decision about an object, or says why it is left alone.
pub fn draft<'r>(review: &'r Review<'r>, settings: &'r Settings) -> Result<Draft<'r>, Skipped> {
    let scope = review.scope(settings)?;
    let old = review.old.as_ref();
    let recorded = old
        .and_then(|old| old.meta.annotations.pinned.get())
        .map(Record::parse)
        .unwrap_or_default();
    let mut drafter = Drafter {
        scope,
        settings,
        review,
        questions: Vec::new(),
        pullers: Vec::new(),
        puller: None,
    };
    let slots = drafter.slots(&recorded);
    let (questions, pullers) = (drafter.questions, drafter.pullers);
    Ok(Draft {
        review,
        settings,
        scope,
        slots,
        recorded,
        questions,
        pullers,
        account: account(review, scope, settings),
    })
}

impl<'r> Draft<'r> {
    /// The images to be looked up, each once.
    pub fn questions(&self) -> &[Question<'r>] {
        &self.questions
    }

    /// Who will pull the images that are asked for.
    pub fn pullers(&self) -> &[Puller<'r>] {
        &self.pullers
    }

    /// The account to be looked up.
    pub fn account(&self) -> Option<AccountQuestion<'r>> {
        self.account
    }

    /// The pull secrets that a new Pod of this account gets if they hold an entry for one of its images.
    pub fn conditional_pull_secrets<'f>(&'f self, account: &'f Account) -> Vec<PullSecret<'f>> {
        let rules = self.settings.pull_secret_rules();
        if !self.scope.pull_secrets || !rules.are_conditional() {
            return Vec::new();
        }
        let spec = pod(&self.review.object, self.review.class);
        let Some(names) = spec.and_then(|spec| spec.pull_secrets.names()) else {
            return Vec::new();
        };
        let mut additions = additions(rules, names, account);
        additions.retain(|secret| secret.when != When::Always);
        additions
    }

    /// The repositories of all images of the Pod, whatever becomes of them.
    pub fn repositories(&self) -> impl Iterator<Item = String> {
        let spec = pod(&self.review.object, self.review.class);
        let slots = spec.into_iter().flat_map(|spec| &spec.slots);
        let images = slots.filter_map(|slot| Reference::parse(&slot.image).ok());
        images.map(|image| image.repository())
    }
}

/// The account whose pull secrets the Pod may get.
fn account<'r>(
    review: &'r Review<'r>,
    scope: Scope,
    settings: &Settings,
) -> Option<AccountQuestion<'r>> {
    let spec = pod(&review.object, review.class)?;
    let names = spec.pull_secrets.names()?;
    let stored = match &review.old {
        Some(old) if scope.metadata => Some(pod(old, review.class)?.pull_secrets.names()?),
        _ if scope.pull_secrets => None,
        _ => return None,
    };
    let question = AccountQuestion {
        namespace: &review.namespace,
        name: spec.account(),
    };
    pull_secrets::asks(settings.pull_secret_rules(), names, stored).then_some(question)
}

/// The spec of a Pod.
pub(super) fn pod<'o, 'a>(object: &'o Object<'a>, class: Class) -> Option<&'o PodSpec<'a>> {
    object
        .templates
        .first()
        .filter(|_| class == Class::Pod)
        .map(|template| &template.spec)
}

struct Drafter<'r> {
    scope: Scope,
    settings: &'r Settings,
    review: &'r Review<'r>,
    questions: Vec<Question<'r>>,
    pullers: Vec<Puller<'r>>,
    /// The position of the puller of the template at hand, once it has a question.
    puller: Option<usize>,
}

/// The stored state of one template.
struct Before<'r> {
    template: &'r Template<'r>,
    slots: HashMap<(SlotKind, SlotName<'r>), &'r Slot<'r>>,
}

impl<'r> Drafter<'r> {
    fn slots(&mut self, recorded: &Record) -> Vec<Planned<'r>> {
        let old: HashMap<&str, &'r Template<'r>> = self
            .review
            .old
            .iter()
            .flat_map(|old| &old.templates)
            .map(|template| (template.path(), template))
            .collect();
        let mut slots = Vec::new();
        for template in &self.review.object.templates {
            let before = old.get(template.path()).map(|template| Before {
                template,
                slots: template.spec.by_name(),
            });
            self.puller = None;
            slots.extend(
                template
                    .spec
                    .slots
                    .iter()
                    .filter_map(|slot| self.slot(template, slot, before.as_ref(), recorded)),
            );
        }
        slots
    }

    fn slot(
        &mut self,
        template: &'r Template<'r>,
        slot: &'r Slot<'r>,
        before: Option<&Before<'r>>,
        recorded: &Record,
    ) -> Option<Planned<'r>> {
        let (class, settings) = (self.review.class, self.settings);
        let old =
            before.and_then(|before| before.slots.get(&(slot.kind, slot.identity())).copied());
        // Of a subresource only what is new may be touched.
        if !self.scope.metadata && (self.scope.image(slot.kind) == Reach::None || old.is_some()) {
            return None;
        }
        let stored = before.zip(old).map(|(before, old)| Stored {
            image: &old.image,
            written: if recorded.is_empty() {
                None
            } else {
                recorded.written(&Record::key(template, slot), &old.image)
            },
            restarted: before.template.annotations.restarted_at
                != template.annotations.restarted_at,
        });
        let same_image = stored.is_some_and(|stored| {
            stored.image == slot.image || stored.written == Some(&*slot.image)
        });
        let rule = Rule {
            always: always::applies(class, settings),
            fill: settings.pull_policy && (class != Class::Custom || policy::is_settled(slot)),
            reach: self.scope.policy(slot.kind),
        };
        let policy = policy::policy(slot, old, same_image, rule);
        let effective = policy.or(slot.policy.get()).unwrap_or_default();
        let skip = is_target(class, settings.pin.targets).then_some(&settings.pin.skip);
        let image = match pin::decide(slot, stored, self.scope.image(slot.kind), effective, skip) {
            Decision::Leave => Image::Leave,
            Decision::Carry(text) => Image::Set(text),
            Decision::Ask {
                image,
                fresh,
                fallback,
            } => Image::Ask(self.ask(template, image, fresh), fallback, image),
        };
        Some(Planned {
            template,
            slot,
            policy,
            image,
        })
    }

    /// The position of the question. The first few are asked once each; a spec with more images than that may ask
    /// twice for one, and costs the registry nothing more, because look-ups are shared.
    fn ask(&mut self, template: &'r Template<'r>, image: Reference<'r>, fresh: bool) -> usize {
        let puller = self.puller.unwrap_or_else(|| {
            let puller = puller(self.review, self.settings, template);
            position_of(puller, &mut self.pullers)
        });
        self.puller = Some(puller);
        let question = Question {
            image,
            fresh,
            puller,
        };
        position_of(question, &mut self.questions)
    }
}

/// The position of this one among the first few that are known, or at the end, where it is now.
fn position_of<T: PartialEq>(one: T, known: &mut Vec<T>) -> usize {
    let position = known.iter().take(FEW).position(|known| *known == one);
    position.unwrap_or_else(|| {
        known.push(one);
        known.len() - 1
    })
}

/// Who pulls the images of this template.
fn puller<'r>(
    review: &'r Review<'r>,
    settings: &'r Settings,
    template: &'r Template<'r>,
) -> Puller<'r> {
    let namespace = &*review.namespace;
    let spec = &template.spec;
    let names = |spec: &'r PodSpec<'r>| spec.pull_secrets.names().unwrap_or_default();
    let rules = settings.pull_secret_rules();
    let old = review.old.as_ref().and_then(|old| pod(old, review.class));
    match (review.class, old) {
        // An object of no namespace says nothing of where its Pods will be.
        _ if namespace.is_empty() => Puller::stored(namespace, &[]),
        (Class::Pod, Some(old)) => Puller::stored(namespace, names(old)),
        (Class::Pod, None) => Puller::created(namespace, names(spec), spec.account(), rules),
        _ => Puller::template(namespace, names(spec), spec.account(), rules),
    }
}

/// Whether objects of this class get digests.
fn is_target(class: Class, targets: Targets) -> bool {
    match targets {
        Targets::None => false,
        Targets::All => true,
        Targets::Pods => class == Class::Pod,
        Targets::Templates => class != Class::Pod,
    }
}
